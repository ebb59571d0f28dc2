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
    Study,
    StudyChart,
    Variant,
    parameter,
)
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import LOWER, NEITHER, Metric

WEIGHT_BYTES = 6 * 24  # of every recipe in turn, with masters, gradients and Adam's state


class MixedPrecisionParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        128,
        "Width of the model that is trained",
        unit="numbers",
        ge=32,
        le=2048,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(2, "Layers of that model", unit="layers", ge=1, le=48, role="workload")
    window: int = parameter(
        64,
        "Tokens of a sequence, 16 of which are a step",
        unit="tokens",
        ge=16,
        le=2048,
        role="workload",
    )
    steps: int = parameter(
        60, "Steps of training, by each recipe", unit="steps", ge=4, le=20_000, role="workload"
    )
    repeats: int = parameter(
        1, "Trainings by each recipe, from other seeds", unit="runs", ge=1, le=20, role="effort"
    )
    rounds: int = parameter(
        5, "Times that a step is measured", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: MixedPrecisionParameters) -> Needs:
    """Return the memory of all recipes' weights and of a step's activations."""
    p = parameters
    weights = WEIGHT_BYTES * (12 * p.layers * p.width**2 + 1024 * p.width)
    activations = 4 * 16 * p.window * (40 * p.layers * p.width + 4 * 1024)
    return Needs(memory_gib=1 + (weights + activations) / GIB)


STUDY = Study(
    slug="mixed-precision",
    name="Mixed precision",
    subject="16 bits in the products, float32 where small changes add up",
    summary=(
        "Trains the same small language model in float32, in bfloat16 and in float16 with float32"
        " master weights, and leaves out the guards in turn: the scaled loss and the master"
        " weights. Counts the gradients and the changes of weights that 16 bits lose, and measures"
        " loss, bytes and time."
    ),
    limits=(
        "The study explains the method and answers no recorded claim. A small model and few steps:"
        " what rounding does over a long training is not seen. On a CPU the time depends on whether"
        " the processor multiplies 16-bit numbers itself; one that does not is slower by them than"
        " in float32. The publications of the corpus use GPUs, whose tensor cores gain more."
    ),
    publications=("wang2021lightseq2", "rajbhandari2019zero"),
    strategies=("mixed-precision",),
    parameters=MixedPrecisionParameters,
    presets={
        SMOKE: Preset(0.2, {"width": 32, "layers": 1, "window": 32, "steps": 6, "rounds": 2}),
        # What is timed, and what PyTorch casts, a processor without products of 16 bits emulates.
        QUICK: Preset(1.5, {"window": 32, "rounds": 3}),
        FULL: Preset(
            20,
            {"width": 256, "layers": 6, "window": 128, "steps": 800, "repeats": 2, "rounds": 15},
        ),
    },
    variants=(
        Variant("float32", "everything in 32 bits", "baseline"),
        Variant("bfloat16", "computes in bfloat16, with float32 master weights"),
        Variant("float16", "computes in float16, with float32 master weights and a scaled loss"),
        Variant(
            "bfloat16, autocast",
            "PyTorch’s own way: float32 weights, and each operation in what PyTorch chooses for it",
            "control",
        ),
        Variant("float16, no scale", "the same as float16 without scaling the loss", "ablation"),
        Variant(
            "bfloat16, no masters",
            "weights rounded to bfloat16 after each step; Adam’s state stays in float32",
            "ablation",
        ),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of tokens of text kept apart, after the same tokens of"
            " training, computed in the recipe’s precision"
        ),
        Metric(
            "loss over float32",
            "%",
            LOWER,
            "quality",
            "computed",
            "loss divided by that of the model trained in float32 from the same seed, minus 1",
        ),
        Metric(
            "gradients lost",
            "%",
            LOWER,
            "quality",
            "computed",
            "share of the numbers of a gradient that are zero though they are not in float32; of"
            " the model trained in float32, and with the scale that training ended with",
        ),
        Metric(
            "changes lost",
            "%",
            LOWER,
            "quality",
            "computed",
            "share of weights that a step leaves as they were, mean of steps; only of weights"
            " without masters, since masters keep every change",
        ),
        Metric(
            "loss scale",
            "",
            NEITHER,
            None,
            "computed",
            "what the loss is multiplied by after the last step",
        ),
        Metric(
            "skipped steps",
            "steps",
            LOWER,
            "quality",
            "computed",
            "steps left out because a gradient was not finite",
        ),
        Metric(
            "model states",
            "byte/parameter",
            LOWER,
            "memory",
            "counted",
            "bytes of weights, their gradients, masters and Adam’s state, divided by the"
            " parameters",
        ),
        Metric(
            "activations kept",
            "KiB/token",
            LOWER,
            "memory",
            "counted",
            "bytes that autograd keeps between forward and backward pass, the model’s weights left"
            " out, divided by the tokens",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a training step with its optimizer, alternating, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "step time in float32 divided by the recipe’s, alternating, median of rounds",
            relative_to="float32",
        ),
        Metric(
            "gradients not finite",
            "%",
            LOWER,
            "quality",
            "computed",
            "share of the numbers of a gradient that are not finite, at the largest scale tried",
        ),
    ),
    series=(
        Series("gradients lost by scale", "exponent of the scale", "", "gradients lost"),
        Series("loss by step", "step", "steps", "loss"),
    ),
    headline=(Headline("loss over float32", "bfloat16"), Headline("speed-up", "bfloat16")),
    charts=(
        StudyChart(
            "curves",
            "The loss is multiplied by 2 to this power. float16 loses small gradients until the"
            " scale lifts them; the line ends where the largest of them overflow. bfloat16 has the"
            " range of float32 and needs no scale.",
            series="gradients lost by scale",
        ),
        StudyChart(
            "curves",
            "With master weights the lines lie on each other. Without them most changes are too"
            " small for a bfloat16 weight to move.",
            series="loss by step",
        ),
        StudyChart(
            "bars",
            "How many times as fast as float32 a step is on the machine of the run; below 1 it is"
            " slower.",
            y="speed-up",
        ),
    ),
    accepts=("text",),
    needs=needs,
)
