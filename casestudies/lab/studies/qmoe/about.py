"""What the study is, what may be set, and what it measures."""

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
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric
from casestudies.lab.result import Result

# Switch-C: 15 + 15 layers of 2,048 experts, width 2,080, inner width 6,144; 1,571 billion
# parameters in all (Fedus et al., 2021, arXiv 2101.03961, table 9). What is not in experts, 0.04 %,
# stays at 16 bits.
SWITCH_C_EXPERTS = 30 * 2048 * 2 * 2080 * 6144
SWITCH_C_PARAMETERS = 1_571e9
DENSE_BITS = 16
SWITCH_C_MIB = 49  # a matrix of an expert in float32
MOST_OVERHEAD = 5  # percent
# Packages whose docstrings are trained and evaluated on.
DOCUMENTED = ("numpy", "pandas", "django")


class QMoeParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        256,
        "Width of the model",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        2,
        "Blocks of the model",
        unit="blocks",
        ge=1,
        le=12,
        role="workload",
    )
    experts: int = parameter(
        8, "Experts in each block", unit="experts", ge=2, le=64, role="workload"
    )
    steps: int = parameter(
        450, "Training steps, of 16 windows each", unit="steps", ge=1, le=100_000, role="workload"
    )
    docstrings: bool = parameter(
        True,
        "Also train and evaluate on the docstrings of NumPy, pandas and Django",
        role="workload",
    )
    window: int = parameter(
        128, "Length of a piece of text", unit="tokens", ge=16, le=1024, role="workload"
    )
    calibration_windows: int = parameter(
        256,
        "Pieces of training text that GPTQ is fitted to",
        unit="windows",
        ge=1,
        le=4096,
        role="method",
    )
    evaluation_windows: int = parameter(
        256,
        "Pieces of other text that loss is measured on",
        unit="windows",
        ge=2,
        le=4096,
        role="workload",
    )
    clip: float = parameter(
        1.2,
        "Each row's grid reaches to this multiple of its least and greatest weight; the more, the"
        " more zeros. The paper's is 1",
        ge=0.4,
        le=2.0,
        role="method",
    )
    damping: float = parameter(
        0.1,
        "Added to the Hessian's diagonal, as a share of its mean",
        ge=0.001,
        le=10.0,
        role="method",
    )
    curve: bool = parameter(
        True,
        "Also compress with narrower and wider grids, to draw loss against size",
        role="effort",
    )
    speed_size: int = parameter(
        128,
        "Size in float32 of the matrix that speed is measured on; beyond the processor's caches"
        " codes save time, within them they cost it",
        unit="MiB",
        ge=1,
        le=4096,
        role="workload",
    )


def compression_of_switch_c(result: Result) -> Judgement:
    """Claim 0: 20 x smaller than in bfloat16, by the bytes of our experts at the model's shape."""
    bits = result.value("bits per random weight", "paper")
    experts = SWITCH_C_EXPERTS / SWITCH_C_PARAMETERS
    whole = experts * bits + (1 - experts) * DENSE_BITS
    ratio = DENSE_BITS / whole
    return judged(
        Number("bits per expert weight at 88.5 % zeros", bits, "bits"),
        Number("bits per parameter at Switch-C’s shape", whole, "bits"),
        Number("compression ratio", ratio, "x bfloat16", claimed=True),
        supported=ratio >= 19.5,
        agrees=ratio >= 16,
    )


def bits_at_published_zeros(result: Result) -> Judgement:
    """Claim 1: less than a bit per parameter, by the publication's own code."""
    bits = result.value("bits per random weight", "paper")
    found = Number("bits per weight at 88.5 % zeros", bits, "bits", claimed=True)
    return judged(found, supported=bits <= 0.8)


def overhead_on_a_gpu(result: Result) -> Judgement:
    """Claim 2: running from the code takes at most 5 % longer than from bfloat16."""
    if result.environment.device == "cpu":
        return not_run("needs a GPU")
    if result.whole("speed_size") < SWITCH_C_MIB:
        return not_run("this run multiplied experts smaller than Switch-c2048’s")
    overhead = result.value("product overhead", "paper", tokens=1)
    return judged(
        Number("overhead of products from the publication’s code", overhead, "%", claimed=True),
        agrees=overhead <= MOST_OVERHEAD,
    )


def needs(parameters: QMoeParameters) -> Needs:
    """Return the packages whose docstrings are read, and the dense matrix several times over."""
    return Needs(
        memory_gib=2 + 3 * parameters.speed_size / 1024,
        libraries=DOCUMENTED if parameters.docstrings else (),
    )


STUDY = Study(
    slug="qmoe",
    name="QMoE",
    subject="experts below one bit per weight",
    summary=(
        "Trains a small mixture of experts on real text, rounds its experts to three values per"
        " row, and stores them in the publication's code and in denser ones; measures what that"
        " costs in quality, how small it gets and how fast it multiplies."
    ),
    limits=(
        "The model is small and trained for minutes: a tenth of it is not in experts, where the"
        " publication's trillion parameters nearly all are. Most zeros come from rounding"
        " bell-shaped weights, not from long training. Products are timed of one"
        " matrix after another, on a CPU on one thread."
    ),
    publications=("frantar2023qmoe",),
    strategies=("quantization", "mixture-of-experts", "layer-specific-kernels"),
    parameters=QMoeParameters,
    presets={
        SMOKE: Preset(
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
        QUICK: Preset(4),
        # The rules ask for the codes' sizes on random weights, so training is kept short.
        CLAIMS: Preset(1, {"layers": 1, "steps": 50, "docstrings": False, "curve": False}),
        FULL: Preset(
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
    variants=(
        Variant("trained", "the model as trained, in float32", "baseline"),
        Variant("experts zeroed", "what the model loses without its experts", "control"),
        Variant("experts reset", "experts with their weights from before training", "control"),
        Variant("rtn", "experts rounded to the nearest of three values per row", "baseline"),
        Variant("gptq", "experts rounded column by column, later columns making up for the error"),
        Variant("paper", "the publication's code: a fixed dictionary of 65,536 sequences"),
        Variant("tunstall-16", "our dictionary of as many sequences, fitted to the share of zeros"),
        Variant("tunstall-8", "our dictionary of 256 sequences"),
        Variant("rans", "a range code, nearest to the entropy and slowest to read"),
        Variant("int8", "one byte a weight", "baseline"),
        Variant("2-bit", "two bits a weight", "baseline"),
        Variant(
            "zstd",
            "five weights a byte, then Zstandard at its level 19 without access to rows",
            "baseline",
        ),
    ),
    settings=(
        Setting("code", "the code in which the rounded experts are stored"),
        Setting("tokens", "tokens multiplied at once", "tokens", one="token"),
        Setting("size", "size in float32 of the matrix that is multiplied", "MiB"),
    ),
    metrics=(
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the tokens of documents kept from training"
        ),
        metrics.LOSS_INCREASE.measured(
            "mean rise of the negative log-likelihood over the trained model's, window by window"
            " of the same text"
        ),
        Metric(
            "matched loss ratio",
            "x",
            LOWER,
            "quality",
            "computed",
            "GPTQ's loss increase divided by round-to-nearest's where their entropy is the same;"
            " read between two of GPTQ's grids on a logarithmic scale",
            relative_to="RTN",
        ),
        metrics.TRAINING_LOSS,
        metrics.SPARSITY.measured("zeros counted in the experts' rounded weights"),
        Metric(
            "entropy",
            "bits per weight",
            NEITHER,
            "model-size",
            "counted",
            "least size of the experts' weights in any code that looks at one at a time; mean over"
            " the stacks of experts",
        ),
        Metric(
            "payload",
            "bits per weight",
            LOWER,
            "model-size",
            "counted",
            "code words of the experts' weights, without scales, counts and headers",
        ),
        metrics.BITS_PER_WEIGHT.measured(
            "all bytes that the experts take as written, divided by the experts' weights"
        ),
        metrics.BITS_PER_PARAMETER.measured(
            "the experts as written and all else in bfloat16, divided by all parameters"
        ),
        metrics.COMPRESSION.measured("16 bits divided by the whole model's bits per parameter"),
        Metric(
            "payload over entropy",
            "x",
            LOWER,
            "model-size",
            "counted",
            "code words of random independent weights, 512 rows of 4096 with 88.5 % zeros, divided"
            " by the least possible",
            relative_to="entropy",
        ),
        Metric(
            "bits per random weight",
            "bits",
            LOWER,
            "model-size",
            "counted",
            "all bytes that the same random weights take as written, divided by their number",
        ),
        Metric(
            "encoding speed",
            "million weights/s",
            HIGHER,
            "cost",
            "timed",
            "of the same random weights on one thread, median of rounds; without building tables",
        ),
        Metric(
            "decoding speed",
            "million weights/s",
            HIGHER,
            "throughput",
            "timed",
            "from the code to one byte a weight, as for encoding",
        ),
        metrics.PRODUCT_SPEED.measured(
            "time of the fastest dense float32 matrix-vector product divided by that of a product"
            " with the weights as stored; random weights with 88.5 % zeros, the size in float32 as"
            " named, one thread, alternating, median of rounds"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference between the products of a GPU’s kernel in bfloat16 and those of the"
            " decoded weights in float64, as a share of the largest; needs a GPU"
        ),
        Metric(
            "product overhead",
            "%",
            LOWER,
            "latency",
            "timed",
            "time of products with coded experts less that of bfloat16, as a share of the latter;"
            " Switch-c2048’s expert shapes, random weights with 88.5 % zeros, more of them than any"
            " cache holds, median of rounds; needs a GPU and Triton",
            relative_to="bfloat16",
        ),
        metrics.SHARE_OF_COPYING.measured(
            "time in which the GPU copies as many bytes as coded experts, inputs and outputs take,"
            " the code's table left out, of the median time of their products; needs a GPU"
        ),
        Metric(
            "experts rounded instead",
            "matrices",
            LOWER,
            None,
            "counted",
            "matrices of experts that GPTQ gave up, for too few tokens or an unsound Hessian",
        ),
        metrics.COMPRESSION_TIME.measured(
            "wall clock of calibration and rounding, without training, coding and evaluation"
        ),
        metrics.PEAK_MEMORY,
    ),
    series=(
        Series("loss increase by size", "bits per weight", "bits", "loss increase"),
        Series("loss increase by entropy", "entropy", "bits per weight", "loss increase"),
        Series("loss increase by clip", "clip", "", "loss increase"),
        Series("training loss by step", "step", "steps", "training loss"),
    ),
    headline=(Headline("bits per random weight", "paper"), Headline("loss increase", "gptq")),
    charts=(
        StudyChart(
            "curves",
            "Each method and code from coarse to fine grids: the lower left is small and good."
            " GPTQ reaches below one bit at a loss that round-to-nearest has at twice the size.",
            series="loss increase by size",
        ),
        StudyChart(
            "bars",
            "Reading from a code is faster than dense only where the dense matrix is too large for"
            " the processor's caches; one byte a weight is faster than any code.",
            y="product speed",
        ),
        StudyChart(
            "trade",
            "The same rounded experts in four codes: the loss is the method's, the size the"
            " code's.",
            x="bits per weight",
            y="loss increase",
        ),
    ),
    answers=(
        Answer("frantar2023qmoe-0", "2e6289ee5b9f", compression_of_switch_c),
        Answer("frantar2023qmoe-1", "d965be2b3bfa", bits_at_published_zeros),
        Answer("frantar2023qmoe-2", "7f6cf8588bca", overhead_on_a_gpu),
    ),
    accepts=("text",),
    needs=needs,
    isolated=True,
    gpu_only=frozenset({"equality error", "product overhead", "share of copying", "tokens"}),
)
