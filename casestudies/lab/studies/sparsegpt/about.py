"""What the study is, what may be set, and what it measures."""

from typing import Literal

from casestudies.lab.contract import (
    Comparison,
    Metric,
    Parameters,
    Preset,
    Series,
    Study,
    parameter,
)


class SparseGptParameters(Parameters):
    """What a reader may set."""

    pattern: Literal["unstructured", "2:4", "4:8"] = parameter(
        "unstructured", "Zeros anywhere, or exactly n zeros in every m neighbouring weights"
    )
    sparsity: float = parameter(
        0.5, "Share of weights set to zero by an unstructured pattern", ge=0.05, le=0.95
    )
    bits: Literal["none", "8", "4", "3"] = parameter(
        "none", "Also round the weights that stay to this many bits, in the same pass", unit="bits"
    )
    block: int = parameter(
        128,
        "Columns that share one choice of what to prune",
        unit="columns",
        ge=16,
        le=1024,
        multiple_of=16,
    )
    damping: float = parameter(
        0.01, "Added to the Hessian's diagonal, as a share of its mean", ge=0.001, le=1.0
    )
    calibration_windows: int = parameter(
        16, "Pieces of text that the pruning is fitted to", unit="windows", ge=1, le=128
    )
    evaluation_windows: int = parameter(
        16, "Pieces of other text that perplexity is measured on", unit="windows", ge=1, le=128
    )
    window: int = parameter(512, "Length of a piece of text", unit="tokens", ge=32, le=2048)
    layers: int = parameter(
        0, "Prune only the model's first blocks; 0 prunes all", unit="blocks", ge=0, le=1000
    )
    curve: bool = parameter(True, "Also prune at 30 and 70 %, to draw perplexity against sparsity")
    repeats: int = parameter(
        1,
        "SparseGPT is run this often, on weights changed by one millionth, to show its spread",
        unit="runs",
        ge=1,
        le=9,
    )


STUDY = Study(
    slug="sparsegpt",
    title="SparseGPT: pruning a language model in one shot",
    summary=(
        "Sets half of a real language model's weights to zero, without training, and measures"
        " what that costs in quality and buys in speed on this machine."
    ),
    publication="frantar2023sparsegpt",
    strategies=("pruning", "algorithmic-optimization"),
    parameters=SparseGptParameters,
    presets={
        "smoke": Preset(
            0.2,
            {
                "calibration_windows": 2,
                "evaluation_windows": 2,
                "window": 64,
                "layers": 1,
                "curve": False,
            },
        ),
        "quick": Preset(3, {"calibration_windows": 8, "evaluation_windows": 8, "window": 256}),
        "full": Preset(10, {"repeats": 3}),
    },
    metrics=(
        Metric(
            "perplexity",
            "",
            "lower is better",
            "exp of the mean negative log-likelihood of the tokens of text kept from calibration;"
            " SparseGPT's moves by several percent when the weights change by one millionth",
        ),
        Metric(
            "perplexity ratio",
            "x dense",
            "lower is better",
            "perplexity after pruning divided by the dense model's on the same text",
        ),
        Metric("sparsity", "fraction", "neither", "zeros counted in the pruned layers' weights"),
        Metric(
            "reconstruction error",
            "fraction",
            "lower is better",
            "mean over layers of the squared change of a layer's output on its first calibration"
            " inputs, divided by the squared output",
        ),
        Metric(
            "pruning time",
            "s",
            "lower is better",
            "wall clock of calibration and pruning together, without loading and evaluation",
        ),
        Metric(
            "CPU time",
            "s",
            "lower is better",
            "processor seconds of all threads over the same span as the pruning time",
        ),
        Metric(
            "peak memory",
            "MiB",
            "lower is better",
            "largest resident memory of the process while pruning; on a GPU, of its allocator",
        ),
        Metric(
            "speed",
            "x dense",
            "higher is better",
            "time of a dense float32 matrix product divided by the variant's, on the first"
            " block's largest layer, with one token or 512 at once; alternating, median of rounds",
        ),
    ),
    series=(
        Series("perplexity by sparsity", "sparsity", "fraction", "perplexity"),
        Series("reconstruction error by layer", "layer", "", "reconstruction error"),
    ),
    baselines={
        "dense": "the model as it is",
        "magnitude": "the smallest weights of each layer are set to zero",
        "wanda": "small weights with small inputs are set to zero, row by row",
        "sparsegpt": "the publication's method",
    },
    comparisons=(
        Comparison(
            "unstructured sparsity reached",
            "perplexity ratio",
            "sparsegpt",
            "Not comparable: the claim is about models of 175 billion parameters, and small"
            " models lose more when they are pruned",
        ),
        Comparison(
            "pruning time",
            "pruning time",
            "sparsegpt",
            "Not comparable: another model on other hardware",
        ),
        Comparison(
            "weights that can be skipped at inference",
            "sparsity",
            "sparsegpt",
            "Not comparable: a count of weights, which depends on the model's size",
        ),
    ),
    module="casestudies.lab.studies.sparsegpt.study",
)
