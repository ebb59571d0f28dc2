"""What the study is, what may be set, and what it measures."""

from casestudies.lab.contract import (
    Comparison,
    Metric,
    Parameters,
    Preset,
    Series,
    Study,
    parameter,
)


class QMoeParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        256, "Width of the model", unit="numbers a token", ge=32, le=1024, multiple_of=32
    )
    layers: int = parameter(2, "Blocks of the model", unit="blocks", ge=1, le=12)
    experts: int = parameter(8, "Experts in each block", unit="experts", ge=2, le=64)
    steps: int = parameter(
        450, "Training steps, of 16 windows each", unit="steps", ge=1, le=100_000
    )
    docstrings: bool = parameter(
        True, "Also train and evaluate on the docstrings of NumPy, pandas and Django"
    )
    window: int = parameter(128, "Length of a piece of text", unit="tokens", ge=16, le=1024)
    calibration_windows: int = parameter(
        256, "Pieces of training text that GPTQ is fitted to", unit="windows", ge=1, le=4096
    )
    evaluation_windows: int = parameter(
        256, "Pieces of other text that loss is measured on", unit="windows", ge=2, le=4096
    )
    clip: float = parameter(
        1.2,
        "Each row's grid reaches to this multiple of its least and greatest weight; the more, the"
        " more zeros. The paper's is 1",
        ge=0.4,
        le=2.0,
    )
    damping: float = parameter(
        0.1, "Added to the Hessian's diagonal, as a share of its mean", ge=0.001, le=10.0
    )
    curve: bool = parameter(
        True, "Also compress with narrower and wider grids, to draw loss against size"
    )
    speed_size: int = parameter(
        128,
        "Size in float32 of the matrix that speed is measured on; beyond the processor's caches"
        " codes save time, within them they cost it",
        unit="MiB",
        ge=1,
        le=4096,
    )


STUDY = Study(
    slug="qmoe",
    title="QMoE: experts below one bit per weight",
    summary=(
        "Trains a small mixture of experts on real text, rounds its experts to three values per"
        " row, and stores them in the publication's code and in denser ones; measures what that"
        " costs in quality, how small it gets and how fast it multiplies."
    ),
    publication="frantar2023qmoe",
    strategies=("quantization", "mixture-of-experts", "layer-specific-kernels"),
    parameters=QMoeParameters,
    presets={
        "smoke": Preset(
            0.3,
            {
                "width": 64,
                "layers": 1,
                "experts": 4,
                "steps": 8,
                "docstrings": False,
                "window": 32,
                "calibration_windows": 32,
                "evaluation_windows": 16,
                "curve": False,
                "speed_size": 1,
            },
        ),
        "quick": Preset(4),
        "full": Preset(
            30,
            {
                "layers": 4,
                "steps": 3000,
                "calibration_windows": 512,
                "evaluation_windows": 512,
                "speed_size": 768,
            },
        ),
    },
    metrics=(
        Metric(
            "perplexity",
            "",
            "lower is better",
            "exp of the mean negative log-likelihood of the tokens of documents kept from training",
        ),
        Metric(
            "loss increase",
            "nats",
            "lower is better",
            "mean rise of the negative log-likelihood over the trained model's, window by window"
            " of the same text",
        ),
        Metric(
            "matched loss ratio",
            "x RTN",
            "lower is better",
            "GPTQ's loss increase divided by round-to-nearest's where their entropy is the same;"
            " read between two of GPTQ's grids on a logarithmic scale",
        ),
        Metric(
            "training loss",
            "nats",
            "lower is better",
            "mean negative log-likelihood of the training tokens over the last steps",
        ),
        Metric("zeros", "fraction", "neither", "zeros counted in the experts' rounded weights"),
        Metric(
            "entropy",
            "bits per weight",
            "neither",
            "least size of the experts' weights in any code that looks at one at a time; mean over"
            " the stacks of experts",
        ),
        Metric(
            "payload",
            "bits per weight",
            "lower is better",
            "code words of the experts' weights, without scales, counts and headers",
        ),
        Metric(
            "total",
            "bits per weight",
            "lower is better",
            "all bytes that the experts take as written, divided by the experts' weights",
        ),
        Metric(
            "whole model",
            "bits per parameter",
            "lower is better",
            "the experts as written and all else in bfloat16, divided by all parameters",
        ),
        Metric(
            "compression",
            "x bfloat16",
            "higher is better",
            "16 bits divided by the whole model's bits per parameter",
        ),
        Metric(
            "payload over entropy",
            "x entropy",
            "lower is better",
            "code words of random independent weights, 512 rows of 4096 with 88.5 % zeros, divided"
            " by the least possible",
        ),
        Metric(
            "total at 88.5 % zeros",
            "bits per weight",
            "lower is better",
            "all bytes that the same random weights take as written, divided by their number",
        ),
        Metric(
            "encoding speed",
            "million weights/s",
            "higher is better",
            "of the same random weights on one thread, median of rounds; without building tables",
        ),
        Metric(
            "decoding speed",
            "million weights/s",
            "higher is better",
            "from the code to one byte a weight, as for encoding",
        ),
        Metric(
            "product speed",
            "x dense",
            "higher is better",
            "time of the fastest dense float32 matrix-vector product divided by that of a product"
            " with the weights as stored; random weights with 88.5 % zeros, the size in float32 as"
            " named, one thread, alternating, median of rounds",
        ),
        Metric(
            "experts rounded instead",
            "matrices",
            "lower is better",
            "matrices of experts that GPTQ gave up, for too few tokens or an unsound Hessian",
        ),
        Metric(
            "compression time",
            "s",
            "lower is better",
            "wall clock of calibration and rounding, without training, coding and evaluation",
        ),
        Metric(
            "peak memory",
            "MiB",
            "lower is better",
            "largest resident memory of the process meanwhile; on a GPU, of its allocator",
        ),
    ),
    series=(
        Series("loss increase by size", "total", "bits per weight", "loss increase"),
        Series("loss increase by entropy", "entropy", "bits per weight", "loss increase"),
        Series("loss increase by clip", "clip", "", "loss increase"),
        Series("training loss by step", "step", "steps", "training loss"),
    ),
    baselines={
        "trained": "the model as trained, in float32",
        "experts zeroed": "control: what the model loses without its experts",
        "experts reset": "control: experts with their weights from before training",
        "rtn": "experts rounded to the nearest of three values per row",
        "gptq": "experts rounded column by column, later columns making up for the error",
        "paper": "the publication's code: a fixed dictionary of 65,536 sequences",
        "tunstall-16": "our dictionary of as many sequences, fitted to the share of zeros",
        "tunstall-8": "our dictionary of 256 sequences",
        "rans": "a range code, nearest to the entropy and slowest to read",
        "int8": "one byte a weight",
        "2-bit": "two bits a weight",
        "base-3": "five weights a byte",
        "zstd": "five weights a byte, then Zstandard at its level 19 without access to rows",
    },
    comparisons=(
        Comparison(
            "bits per parameter",
            "total at 88.5 % zeros",
            "paper",
            "Supported if the publication's code stores random weights with 88.5 % zeros, the share"
            " it is built for, in at most 0.8 bits each with all metadata. This is about the code"
            " alone: whether a model has so many zeros, and what they cost it, depends on the"
            " model",
            lambda bits: bits <= 0.8,
        ),
        Comparison(
            "model compression ratio",
            "compression",
            "gptq, paper",
            "Not comparable: nearly all of the trillion parameters are in experts, but a tenth or"
            " more of the small model's are not and stay at 16 bits",
        ),
        Comparison(
            "runtime overhead",
            "product speed",
            "paper",
            "Not comparable: a whole model on several GPUs, where ours is one product on a CPU",
        ),
    ),
    module="casestudies.lab.studies.qmoe.study",
)
