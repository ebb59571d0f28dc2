"""What the study is, what may be set, and what it measures."""

from casestudies.lab import metrics
from casestudies.lab.contract import (
    FULL,
    QUICK,
    SMOKE,
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
from casestudies.lab.metrics import LOWER, NEITHER, Metric

PRETRAINED, TRAINED = "pretrained", "trained"
WHOLE_ROWS = "whole rows"
WEIGHTS, BOTH = "weights", "weights and activations"
BY_LAYER, BY_TOKEN = "one a layer", "one a token"

INT4_NEAREST, INT4_CLIPPED, GPTQ = "int4", "int4 clipped", "GPTQ"
OLIVE, OLIVE_FLINT, NEARER_PAIRS = "OliVe", "OliVe with flint4", "OliVe by error"
EIGHT_BITS, KERNEL = "int8", "int4 kernel"
CLIPPED, VICTIMS, OTHERS = "outliers clipped", "victims zero", "others zero"

CURVE = "rounding error by bits"


def groups_of(group: int) -> str:
    """Return how many weights share a scale in the words of the setting."""
    return f"groups of {group}" if group else WHOLE_ROWS


class OutlierCodesParameters(Parameters):
    """What a reader may set."""

    group: int = parameter(
        0,
        "Neighbouring weights of a row that share a scale; 0 for whole rows, as the publication",
        unit="weights",
        ge=0,
        le=1024,
        multiple_of=16,
        role="method",
    )
    blocks: int = parameter(
        12,
        "Round only the pretrained model's first blocks; 0 rounds all. The bundled model's largest"
        " activation is in the twelfth of thirty",
        unit="blocks",
        ge=0,
        le=1000,
        role="workload",
    )
    window: int = parameter(
        256,
        "Length of a piece of text for the pretrained model",
        unit="tokens",
        ge=16,
        le=2048,
        role="workload",
    )
    calibration_windows: int = parameter(
        1,
        "Pieces of text that the scales of activations are found on",
        unit="windows",
        ge=1,
        le=128,
        role="method",
    )
    evaluation_windows: int = parameter(
        2,
        "Pieces of other text for the pretrained model's perplexity",
        unit="windows",
        ge=1,
        le=128,
        role="workload",
    )
    width: int = parameter(
        192,
        "Width of the trained model",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        2, "Blocks of the trained model", unit="blocks", ge=1, le=12, role="workload"
    )
    steps: int = parameter(
        200, "Training steps, of 16 windows each", unit="steps", ge=1, le=100_000, role="workload"
    )
    trained_windows: int = parameter(
        64,
        "Pieces of text of 64 tokens, as many to calibrate the trained model as to evaluate it",
        unit="windows",
        ge=1,
        le=4096,
        role="workload",
    )
    flint4: bool = parameter(
        False, "Write the pretrained model with flint4 in int4's place, too", role="effort"
    )
    rounds: int = parameter(
        5, "Times that each product is measured", unit="rounds", ge=2, le=100, role="effort"
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
        " with the scale found by the same search, GPTQ and int8, on a real model whose numbers"
        " have heavy tails and on one trained in the run. Explains, answers no claim."
    ),
    limits=(
        "OliVe's decoder is a circuit; here it is a table of 256 rows, whose speed says nothing of"
        " the circuit's, nor does anything here of its energy or area: both claims of the"
        " publication are of a simulated accelerator. Products of 4-bit numbers are computed in"
        " float32 from the numbers as decoded. SmolLM2's weights were rounded to 4 bits once"
        " before, and by default only its first twelve blocks are rounded here; the trained model"
        " is small, and its tails are light."
    ),
    publications=("guo2023olive", "frantar2022gptq"),
    strategies=("hardware-codesign", "quantization"),
    parameters=OutlierCodesParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "blocks": 1,
                "window": 32,
                "calibration_windows": 1,
                "evaluation_windows": 1,
                "width": 64,
                "layers": 1,
                "steps": 8,
                "trained_windows": 4,
                "flint4": True,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5),
        FULL: Preset(
            20,
            {
                "blocks": 0,
                "calibration_windows": 4,
                "evaluation_windows": 8,
                "width": 256,
                "steps": 300,
                "trained_windows": 256,
                "flint4": True,
                "rounds": 15,
            },
        ),
    },
    variants=(
        Variant("float32", "the model as it is", "baseline"),
        Variant("bfloat16", "products with weights in 16 bits", "baseline"),
        Variant(
            INT4_NEAREST,
            "4 bits, -7 to 7, the largest number 7; in products unpacked by arithmetic first",
            "baseline",
        ),
        Variant(
            INT4_CLIPPED,
            "the same bytes, the scale with the least squared error, larger numbers clipped",
            "baseline",
        ),
        Variant(GPTQ, "4 bits, rounded column by column on calibration text", "baseline"),
        Variant(OLIVE, "int4 and outliers of 12 to 96, each with a victim; the same search"),
        Variant(OLIVE_FLINT, "flint4, uneven numbers up to 16, and outliers of 24 to 192"),
        Variant(
            NEARER_PAIRS,
            "OliVe's code, but an outlier is written only where its pair's error is less for it",
            "ablation",
        ),
        Variant(EIGHT_BITS, "8 bits, one scale a row of weights and one a token", "control"),
        Variant(CLIPPED, "not rounded, outliers clipped at three times the typical", "control"),
        Variant(VICTIMS, "not rounded, the neighbours of outliers zero", "control"),
        Variant(OTHERS, "not rounded, as many numbers drawn from all but outliers zero", "control"),
        Variant(KERNEL, "PyTorch's own product with int4 in groups of 64", "baseline"),
    ),
    settings=(
        Setting("model", "pretrained: SmolLM2, or the reader's; trained: in the run"),
        Setting("part", "what is rounded"),
        Setting("group", "weights that share a scale"),
        Setting("scale", "scales of activations: one a layer, found before, or one a token"),
        Setting("tokens", "tokens multiplied at once", "tokens"),
    ),
    metrics=(
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the tokens of documents kept from"
            " calibration and training"
        ),
        metrics.PERPLEXITY_RATIO.measured(
            "perplexity divided by the unrounded model's on the same text; without settings of the"
            " pretrained model with weights and activations in 4 bits, one scale a layer",
            relative_to="float32",
        ),
        metrics.LOSS_INCREASE.measured(
            "logarithm of the perplexity ratio, with weights and activations rounded"
        ),
        Metric(
            "loss increase, not rounded",
            "nats",
            LOWER,
            "quality",
            "computed",
            "the same of the pretrained model whose weights and activations are changed, but not"
            " rounded",
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
            "squared change of all weights, or of all that the rounded layers read of the"
            " evaluation text, divided by their squares",
        ),
        Metric("victims", "%", LOWER, None, "computed", "numbers that are zero for a neighbour"),
        Metric(
            "products with a shift",
            "%",
            NEITHER,
            "cost",
            "computed",
            "multiply-adds of which a factor is an outlier, so that OliVe's circuit shifts what"
            " plain int4 only multiplies",
        ),
        metrics.PRODUCT_SPEED.measured(
            "time in float32 divided by the variant's, decoding included, for the products of all"
            " rounded layers of the pretrained model one after another; alternating, median of"
            " rounds",
            relative_to="float32",
        ),
    ),
    series=(Series(CURVE, "bits per weight", "bits", "rounding error"),),
    headline=(("perplexity ratio", OLIVE), ("perplexity ratio", INT4_CLIPPED)),
    charts=(
        StudyChart(
            "curves",
            "In the same bytes: how much of int4's error goes by the choice of a scale alone, and"
            " how much more by OliVe's outliers. Smaller groups leave less to gain, at more bits."
            " Squared error is not all: GPTQ's is larger and its perplexity less, and clipping"
            " lessens it where it ruins the pretrained model.",
            series=CURVE,
        ),
        StudyChart(
            "bars",
            "With activations in 4 bits, too, one scale a layer: int4 must clip the outliers or"
            " round all else to zero, and either ruins the pretrained model. OliVe does neither.",
            y="loss increase",
        ),
        StudyChart(
            "bars",
            "Why it works: zeros for the neighbours of outliers cost little, if more than for as"
            " many others drawn at random, and outliers clipped cost all there is.",
            y="loss increase, not rounded",
        ),
    ),
    accepts=("model", "text"),
    # The bundled model in float32, weights of some blocks in five ways, and activations.
    needs=lambda parameters: Needs(memory_gib=4),
)
