"""What the study is, what may be set, and what it measures."""

from typing import Literal

from casestudies.lab import metrics
from casestudies.lab.contract import (
    CLAIMS,
    FULL,
    QUICK,
    SMOKE,
    Answer,
    Headline,
    Judgement,
    Number,
    Parameters,
    Preset,
    Series,
    Setting,
    Study,
    StudyChart,
    Variant,
    judged,
    not_run,
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import Metric
from casestudies.lab.quantize.declared import hours_for_175b
from casestudies.lab.result import Result

# 96 blocks of 12 x 12,288^2 weights: the linear layers of OPT-175B (Zhang et al., 2022, table 1).
OPT_175B_LINEAR_WEIGHTS = 96 * 12 * 12_288**2
ASKED_SPARSITY = 0.6
PRUNING_TIME = "OPT-175B pruning time"
ONE_KERNEL = "sparsegpt, one kernel"
BFLOAT16 = "bfloat16"
IN_HARDWARE = "2:4 in hardware"


class SparseGptParameters(Parameters):
    """What a reader may set."""

    pattern: Literal["unstructured", "2:4", "4:8"] = parameter(
        "unstructured",
        "Zeros anywhere, or exactly n zeros in every m neighbouring weights",
        role="method",
    )
    sparsity: float = parameter(
        0.5,
        "Share of weights set to zero by an unstructured pattern",
        ge=0.05,
        le=0.95,
        role="method",
    )
    bits: Literal["none", "8", "4", "3"] = parameter(
        "none",
        "Also round the weights that stay to this many bits, in the same pass",
        unit="bits",
        role="method",
    )
    block: int = parameter(
        128,
        "Columns that share one choice of what to prune",
        unit="columns",
        ge=16,
        le=1024,
        multiple_of=16,
        role="method",
    )
    damping: float = parameter(
        0.01,
        "Added to the Hessian's diagonal, as a share of its mean",
        ge=0.001,
        le=1.0,
        role="method",
    )
    calibration_windows: int = parameter(
        16,
        "Pieces of text that the pruning is fitted to",
        unit="windows",
        ge=1,
        le=128,
        role="method",
    )
    evaluation_windows: int = parameter(
        16,
        "Pieces of other text that perplexity is measured on",
        unit="windows",
        ge=1,
        le=128,
        role="workload",
    )
    window: int = parameter(
        512, "Length of a piece of text", unit="tokens", ge=32, le=2048, role="workload"
    )
    layers: int = parameter(
        0,
        "Prune only the model's first blocks; 0 prunes all",
        unit="blocks",
        ge=0,
        le=1000,
        role="workload",
    )
    curve: bool = parameter(
        True, "Also prune at 30 and 70 %, to draw perplexity against sparsity", role="effort"
    )
    repeats: int = parameter(
        1,
        "SparseGPT is run this often, on weights changed by one millionth, to show its spread",
        unit="runs",
        ge=1,
        le=9,
        role="effort",
    )
    opt_block: bool = parameter(
        False,
        "On a GPU with 60 GiB, also time one block of OPT-175B's shape",
        role="effort",
    )


def _pruned_as_asked(result: Result) -> bool:
    p = result.parameters
    return (p["pattern"], p["sparsity"], p["bits"]) == ("unstructured", ASKED_SPARSITY, "none")


OTHER_SPARSITY = not_run("this run pruned otherwise; the rule asks for 60 % zeros, anywhere")


def quality_at_60_percent(result: Result) -> Judgement:
    """Claim 0: 60 % of the largest models' weights are pruned at little loss."""
    if not _pruned_as_asked(result):
        return OTHER_SPARSITY
    ours, wanda, magnitude = (
        result.value("perplexity ratio", method) for method in ("sparsegpt", "wanda", "magnitude")
    )
    return judged(
        Number("perplexity ratio, SparseGPT", ours, "x"),
        Number("perplexity ratio, Wanda", wanda, "x"),
        Number("perplexity ratio, magnitude pruning", magnitude, "x"),
        agrees=ours <= magnitude / 2 and ours < wanda,
    )


def weights_of_175b(result: Result) -> Judgement:
    """Claim 2: more than 100 billion weights of OPT-175B can be left out."""
    if not _pruned_as_asked(result):
        return OTHER_SPARSITY
    billions = result.value("sparsity", "sparsegpt") * OPT_175B_LINEAR_WEIGHTS / 1e9
    return judged(
        Number("weights left out at OPT-175B’s shape", billions, "billion weights", claimed=True),
        supported=billions >= 100,
        agrees=billions >= 90,
    )


STUDY = Study(
    slug="sparsegpt",
    name="SparseGPT",
    subject="pruning a language model in one shot",
    summary=(
        "Sets half of a real language model's weights to zero, without training, and measures"
        " what that costs in quality and buys in speed on this machine."
    ),
    limits=(
        "The model has 135 million parameters, and small models lose more when they are pruned"
        " than those of 175 billion that the publication is about. No sparse product on a CPU uses"
        " hardware made for zeros; on a GPU the product of weights 2:4 does."
    ),
    publications=("frantar2023sparsegpt",),
    strategies=("pruning", "algorithmic-optimization"),
    parameters=SparseGptParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "calibration_windows": 2,
                "evaluation_windows": 2,
                "window": 64,
                "layers": 1,
                "curve": False,
            },
        ),
        QUICK: Preset(3, {"calibration_windows": 8, "evaluation_windows": 8, "window": 256}),
        CLAIMS: Preset(
            2,
            {
                "sparsity": ASKED_SPARSITY,
                "calibration_windows": 16,
                "evaluation_windows": 16,
                "window": 256,
                "curve": False,
                "opt_block": True,
            },
        ),
        FULL: Preset(10, {"repeats": 3}),
    },
    variants=(
        Variant("dense", "the model as it is", "baseline"),
        Variant("magnitude", "the smallest weights of each layer are set to zero", "baseline"),
        Variant("wanda", "small weights with small inputs are set to zero, row by row", "baseline"),
        Variant("sparsegpt", "the publication's method"),
        Variant(
            ONE_KERNEL,
            "the same, a block's columns pruned by one kernel of ours, in Triton; on a GPU only",
        ),
        Variant(
            "zeros in a dense product",
            "the pruned weights, multiplied as if they were dense",
            "control",
        ),
        Variant("sparse rows", "the pruned weights in compressed sparse rows (CSR)"),
        Variant(BFLOAT16, "the dense weights in half the bytes", "control"),
        Variant(
            IN_HARDWARE,
            "weights with 2 zeros in every 4, in bfloat16, multiplied by PyTorch's semi-structured"
            " product; on a GPU only",
        ),
    ),
    settings=(
        Setting("tokens", "tokens multiplied at once"),
        Setting("layer", "model, layer and its outputs x inputs"),
    ),
    metrics=(
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the tokens of text kept from calibration;"
            " SparseGPT's moves by several percent when the weights change by one millionth"
        ),
        metrics.PERPLEXITY_RATIO.measured(
            "perplexity after pruning divided by the dense model's on the same text"
        ),
        metrics.SPARSITY.measured("zeros counted in the pruned layers' weights"),
        metrics.RECONSTRUCTION_ERROR.measured(
            "mean over layers of the squared change of a layer's output on its first calibration"
            " inputs, divided by the squared output"
        ),
        metrics.COMPRESSION_TIME.measured(
            "wall clock of calibration and pruning together, without loading and evaluation"
        ),
        metrics.CPU_TIME.measured(
            "processor seconds of all threads over the same span as the compression time"
        ),
        metrics.PEAK_MEMORY,
        metrics.PRODUCT_SPEED.measured(
            "time of a dense float32 matrix product divided by the variant's, on the first"
            " block's largest layer, with one token or 512 at once; alternating, median of rounds"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference as a share of the largest number: of columns of random weights"
            " pruned by one kernel, from float64 on the CPU; of products with weights 2:4, from the"
            " dense float32 product with the same weights"
        ),
        Metric(
            "2:4 speed",
            "x",
            metrics.HIGHER,
            "throughput",
            "timed",
            "time of a dense bfloat16 product divided by that of the semi-structured one, random"
            " weights, at layers of Llama's 1B and 8B shapes, more of them than any cache holds;"
            " alternating, median of rounds",
            relative_to="dense bfloat16",
        ),
        metrics.SHARE_OF_COPYING.measured(
            "time in which the GPU copies as many bytes as those weights, inputs and outputs have,"
            " of the median time of the product of one token; weights 2:4 have 9 bytes for 16"
        ),
        metrics.SHARE_OF_BFLOAT16_RATE.measured(
            "time in which the GPU does as many operations in a large bfloat16 product, of the"
            " median time of those products of 512 tokens and more; of weights 2:4 what is zero is"
            " no operation, so that twice a dense product’s speed is as large a share"
        ),
        Metric(
            PRUNING_TIME,
            "h",
            metrics.LOWER,
            "cost",
            "timed",
            "96 times the time of calibrating and pruning one block of OPT-175B's shape with"
            " random weights in bfloat16, Hessians in float32, on 128 windows of 2,048 tokens",
        ),
    ),
    series=(
        Series("perplexity by sparsity", "sparsity", "fraction", "perplexity"),
        Series("reconstruction error by layer", "layer", "", "reconstruction error"),
    ),
    headline=(Headline("perplexity ratio", "sparsegpt"), Headline("sparsity", "sparsegpt")),
    charts=(
        StudyChart(
            "trade",
            "How far SparseGPT lies below the simpler methods, and how much longer it takes.",
            x="compression time",
            y="perplexity ratio",
        ),
        StudyChart(
            "curves",
            "The methods agree at 30 % zeros and part beyond 50 %: that is where it pays to move"
            " the weights that stay.",
            series="perplexity by sparsity",
        ),
        StudyChart(
            "bars",
            "Half of the weights are zero, yet a product is not twice as fast: a sparse one is"
            " slower than a dense one, while half the bytes help many tokens at once.",
            y="product speed",
        ),
    ),
    answers=(
        Answer("frantar2023sparsegpt-0", "96d6cf41fad0", quality_at_60_percent),
        Answer("frantar2023sparsegpt-1", "30df2de6ddb7", hours_for_175b(PRUNING_TIME, "sparsegpt")),
        Answer("frantar2023sparsegpt-2", "f010aa2d95e6", weights_of_175b),
    ),
    accepts=("model", "text"),
    # The bundled model in float32 twice, its activations, and PyTorch itself.
    needs=lambda parameters: Needs(memory_gib=2),
    isolated=True,
    gpu_only=frozenset(
        {
            ONE_KERNEL,
            IN_HARDWARE,
            "layer",
            "2:4 speed",
            "share of copying",
            "share of bfloat16 rate",
            "equality error",
        }
    ),
)
