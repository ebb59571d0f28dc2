"""What the study is, what may be set, and what it measures."""

from casestudies.lab import metrics
from casestudies.lab.contract import (
    FULL,
    QUICK,
    SMOKE,
    Headline,
    Parameters,
    Preset,
    Series,
    Setting,
    Study,
    StudyChart,
    Variant,
    parameter,
)
from casestudies.lab.machine import Needs
from casestudies.lab.metrics import LOWER, Metric

WEIGHTS, BOTH = "weights", "weights and activations"
BY_LAYER, BY_TOKEN = "one a layer", "one a token"

INT4_NEAREST, INT4_CLIPPED, OLIVE, EIGHT_BITS = "int4", "int4 clipped", "OliVe", "int8"
CLIPPED, VICTIMS, OTHERS = "outliers clipped", "victims zero", "others zero"

CURVE = "rounding error by outliers' size"


class OutlierCodesParameters(Parameters):
    """What a reader may set."""

    group: int = parameter(
        0,
        "Neighbouring weights of a row that share a scale; 0 for whole rows",
        unit="weights",
        ge=0,
        le=1024,
        multiple_of=16,
        role="method",
    )
    blocks: int = parameter(
        12,
        "Round only the model's first blocks; 0 rounds all. The bundled model's largest activation"
        " is in the twelfth of thirty",
        unit="blocks",
        ge=0,
        le=1000,
        role="workload",
    )
    window: int = parameter(
        128, "Length of a piece of text", unit="tokens", ge=16, le=2048, role="workload"
    )
    calibration_windows: int = parameter(
        2,
        "Pieces of text that the scales of activations are found on",
        unit="windows",
        ge=1,
        le=16,
        role="method",
    )
    evaluation_windows: int = parameter(
        6,
        "Pieces of other text that the loss is measured on, one by one",
        unit="windows",
        ge=1,
        le=128,
        role="workload",
    )


STUDY = Study(
    slug="outlier-codes",
    name="Outlier codes",
    subject="OliVe's pairs, in which an outlier takes its neighbour's code",
    summary=(
        "Writes weights and activations in 4 bits as outlier-victim pairs: of two neighbours an"
        " outlier is written as a small float, and the other, its victim, becomes zero and is"
        " written as a code that marks it. So every byte holds two numbers, decoded by"
        " themselves, and memory stays aligned. Beside it stand int4 in the same bytes, nearest and"
        " with the scale found by the same search, and int8, on a real model whose activations"
        " have heavy tails. Explains, answers no claim."
    ),
    limits=(
        "OliVe's decoder is a circuit; here it is a table of 256 rows, and nothing here is timed:"
        " both claims of the publication are of a simulated accelerator's speed and energy."
        " Products of 4-bit numbers are computed in float32 from the numbers as decoded. The"
        " bundled model's weights were rounded to 4 bits once before, so int4 finds them easier"
        " than most; by default only its first twelve blocks are rounded, and six short pieces of"
        " text tell large differences of loss, not small ones."
    ),
    publications=("guo2023olive",),
    strategies=("hardware-codesign", "quantization"),
    parameters=OutlierCodesParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {"blocks": 1, "window": 32, "calibration_windows": 1, "evaluation_windows": 1},
        ),
        QUICK: Preset(1.5, {"blocks": 8, "evaluation_windows": 3}),
        FULL: Preset(10, {"blocks": 0, "calibration_windows": 8, "evaluation_windows": 64}),
    },
    variants=(
        Variant("float32", "the model as it is", "baseline"),
        Variant(INT4_NEAREST, "4 bits, -7 to 7, the largest number 7", "baseline"),
        Variant(
            INT4_CLIPPED,
            "the same bytes, the scale with the least squared error, larger numbers clipped",
            "baseline",
        ),
        Variant(OLIVE, "int4 and outliers of 12 to 96, each with a victim; the same search"),
        Variant(EIGHT_BITS, "8 bits, one scale a row of weights and one a token", "control"),
        Variant(CLIPPED, "not rounded, outliers clipped at three root mean squares", "control"),
        Variant(VICTIMS, "not rounded, the neighbours of outliers zero", "control"),
        Variant(OTHERS, "not rounded, as many numbers drawn from all but outliers zero", "control"),
    ),
    settings=(
        Setting("part", "what is rounded"),
        Setting("scale", "scales of activations: one a layer, found before, or one a token"),
    ),
    metrics=(
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the tokens of documents kept from"
            " calibration"
        ),
        metrics.PERPLEXITY_RATIO.measured(
            "perplexity divided by the unrounded model's on the same text; without settings with"
            " weights and activations in 4 bits, one scale a layer",
            relative_to="float32",
        ),
        metrics.LOSS_INCREASE.measured(
            "rise of a window's mean negative log-likelihood over the unrounded model's, median of"
            " windows; without settings as for the perplexity ratio"
        ),
        Metric(
            "loss increase, not rounded",
            "nats",
            LOWER,
            "quality",
            "computed",
            "the same of the model whose weights and activations are changed, but not rounded",
        ),
        metrics.BITS_PER_WEIGHT.measured(
            "all bytes of the linear layers' codes and float16 scales, divided by the weights"
        ),
        Metric(
            "rounding error",
            "%",
            LOWER,
            "quality",
            "computed",
            "squared change divided by the squares: of all weights, or without settings of all that"
            " the rounded layers read of the evaluation text, one scale a layer",
        ),
        Metric("victims", "%", LOWER, None, "computed", "numbers that are zero for a neighbour"),
    ),
    series=(Series(CURVE, "outliers' size", "x", "rounding error"),),
    headline=(Headline("perplexity ratio", OLIVE), Headline("perplexity ratio", INT4_CLIPPED)),
    charts=(
        StudyChart(
            "bars",
            "With weights and activations in 4 bits, one scale a layer: int4 must clip the outliers"
            " or round all else to zero, and OliVe does neither.",
            y="loss increase",
        ),
        StudyChart(
            "curves",
            "Normal numbers, one in a hundred of them so many times as large, a scale a row: where"
            " tails are light the search for a scale is nearly all there is to gain, and the"
            " heavier they are, the more a code for outliers gains.",
            series=CURVE,
        ),
        StudyChart(
            "bars",
            "Why it works: zeros for the neighbours of outliers cost little, if more than for as"
            " many others drawn at random, and outliers clipped cost most.",
            y="loss increase, not rounded",
        ),
    ),
    accepts=("model", "text"),
    # The bundled model in float32, weights of all blocks in three ways, and what layers read.
    needs=lambda p: Needs(memory_gib=4 + p.calibration_windows * p.window // 8192),
)
