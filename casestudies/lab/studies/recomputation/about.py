"""What the study is, what may be set, and what it measures."""

from pydantic import ValidationInfo, field_validator

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
from casestudies.lab.equations.activations import layer_activation_bytes
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import LOWER, Metric
from casestudies.lab.result import Result

HEAD_WIDTH = 64
SHORTEST = 128
LITTLE_ATTENTION = 0.03  # s / 6h: what attention's scores add to the operations of a step
WEIGHT_BYTES = 18  # float32, bfloat16, gradient and Adam's two


class RecomputationParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        256,
        "Width of the model that is trained, with heads of 64",
        unit="numbers",
        ge=64,
        le=4096,
        multiple_of=HEAD_WIDTH,
        role="workload",
    )
    layers: int = parameter(3, "Layers of that model", unit="layers", ge=2, le=48, role="workload")
    training_steps: int = parameter(
        30,
        "Steps of training, each on eight windows of 128 tokens",
        unit="steps",
        ge=1,
        le=5000,
        role="effort",
    )
    tokens: int = parameter(
        1024,
        "Tokens of a step that is measured, in sequences of one length after another",
        unit="tokens",
        ge=SHORTEST,
        le=65_536,
        multiple_of=SHORTEST,
        role="workload",
    )
    longest: int = parameter(
        1024,
        "Longest sequence, in steps of two from 128 on, no longer than a step’s tokens",
        unit="tokens",
        ge=SHORTEST,
        le=16_384,
        role="workload",
    )
    wide: int = parameter(
        768,
        "Width of a second model, of two layers and random weights, which a step of is timed in"
        " sequences of 128: the wider, the smaller a part attention is; not the first one’s width",
        unit="numbers",
        ge=64,
        le=8192,
        multiple_of=HEAD_WIDTH,
        role="workload",
    )
    rounds: int = parameter(
        3, "Times that each step is measured", unit="rounds", ge=2, le=100, role="effort"
    )

    @field_validator("wide")
    @classmethod
    def _is_another_width(cls, wide: int, others: ValidationInfo) -> int:
        # What is measured of a model is told apart by its width.
        if wide == others.data.get("width"):
            raise ValueError(f"{wide} is the first model's width, too; the second needs another")
        return wide


def overhead_of_recomputation(result: Result) -> Judgement:
    """Korthikanti 1: selective recomputation takes a tenth of the time that full takes."""
    wide = result.whole("wide")
    if SHORTEST / (6 * wide) > LITTLE_ATTENTION:
        return not_run(f"needs a shape with s/(6h) of at most {LITTLE_ATTENTION}")

    def added(variant: str) -> float:
        return result.value("added time", variant, length=SHORTEST, width=wide) / 100

    selective, full = added("selective"), added("full")
    return judged(
        Number("time that selective recomputation adds", 100 * selective, "%"),
        Number("time that full recomputation adds", 100 * full, "%"),
        Number("selective / full", selective / full),
        agrees=selective <= full / 4 and full >= 0.15,
    )


def needs(parameters: RecomputationParameters) -> Needs:
    """Return what the longest sequences keep, twice over, and weights with Adam's state.

    A CPU, which takes its steps in float32, keeps twice what is published.
    """
    p = parameters
    longest = min(p.longest, p.tokens)
    kept = layer_activation_bytes(
        tokens=longest,
        batch=p.tokens // longest,
        hidden=p.width,
        heads=p.width // HEAD_WIDTH,
    )
    weights = 12 * WEIGHT_BYTES * (2 * p.wide**2 + p.layers * p.width**2)
    return Needs(memory_gib=1 + (4 * p.layers * kept + weights) / GIB)


STUDY = Study(
    slug="recomputation",
    name="Activation recomputation",
    subject="what the backward pass needs, computed again instead of kept",
    summary=(
        "Trains a small GPT with dropout three times: keeping every activation, computing"
        " attention’s scores again (selective), and computing whole layers again (full). Checks"
        " that all three end with the same weights, counts what autograd keeps against the"
        " published formula, and measures what a step takes as sequences grow."
    ),
    limits=(
        "Small models on one device, without tensor or sequence parallelism. What a layer keeps is"
        " counted in bfloat16, as it is published; on a CPU steps are taken in float32, and hold"
        " about twice as much. Whether computing again costs little depends on how fast scores,"
        " softmax and dropout are beside matrix products, which is another ratio on a GPU; and what"
        " is not kept buys speed only where memory was short. The generator’s state, 5 KB a layer"
        " on a CPU, is not counted."
    ),
    publications=("korthikanti2022reducing", "huang2018gpipe", "dao2022flashattention"),
    strategies=("activation-recomputation",),
    parameters=RecomputationParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "width": 64,
                "layers": 2,
                "training_steps": 2,
                "tokens": 128,
                "longest": 128,
                "wide": 128,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3, {"training_steps": 4, "longest": 128, "wide": 1024, "rounds": 15}),
        FULL: Preset(
            15,
            {
                "width": 512,
                "layers": 6,
                "training_steps": 300,
                "tokens": 4096,
                "longest": 4096,
                "wide": 2048,
                "rounds": 7,
            },
        ),
    },
    variants=(
        Variant("none", "every activation is kept", "baseline"),
        Variant("selective", "attention’s scores, their softmax and dropout are computed again"),
        Variant("full", "only a layer’s input is kept, and all of the layer computed again"),
        Variant("full, PyTorch", "the same by PyTorch’s own checkpoint", "control"),
        Variant(
            "full, other dropout",
            "all is computed again, but the random state is not restored",
            "ablation",
        ),
        Variant(
            "fused attention",
            "nothing is computed again by us: PyTorch’s kernel never holds the scores, and drops"
            " none of them",
            "control",
        ),
    ),
    settings=(
        Setting("length", "tokens of a sequence", "tokens", one="token"),
        Setting("width", "width of the model", "numbers wide"),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of tokens of text kept apart, after all steps, without"
            " dropout"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a weight, after all steps, from training with every activation"
            " kept"
        ),
        Metric(
            "gradient error",
            "fraction",
            LOWER,
            "quality",
            "computed",
            "largest difference of a number of the trained model’s gradient from the one with every"
            " activation kept, divided by the largest number",
        ),
        Metric(
            "kept by a layer",
            "KiB/token",
            LOWER,
            "memory",
            "counted",
            "bytes that autograd keeps of a layer in bfloat16 between forward and backward pass,"
            " weights left out, divided by the tokens",
        ),
        Metric(
            "kept beyond the formula",
            "byte/token",
            LOWER,
            "memory",
            "counted",
            "bytes kept by a layer minus those of table 2: sbh(34 + 5as/h), selective and fused"
            " 34sbh, full 2sbh; what is left are the statistics of norms and softmax",
        ),
        Metric(
            "step memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "most bytes that a step holds at one time beyond weights and Adam’s state, by the"
            " allocator: activations, gradients, and what operations need meanwhile; in float32 on"
            " a CPU, in bfloat16 on a GPU",
        ),
        metrics.OPERATIONS.measured(
            "multiplications and additions of a step’s matrix products, counted as they are called"
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a training step (forward, backward, AdamW), alternating, median of"
            " rounds"
        ),
        Metric(
            "added time",
            "%",
            LOWER,
            "throughput",
            "timed",
            "step time divided by that with every activation kept, minus 1, alternating, median of"
            " rounds",
        ),
    ),
    series=(
        Series("kept by a layer by length", "length", "tokens", "kept by a layer"),
        Series("step memory by length", "length", "tokens", "step memory"),
        Series("added time by length", "length", "tokens", "added time"),
    ),
    headline=(Headline("kept by a layer", "selective"), Headline("added time", "selective")),
    charts=(
        StudyChart(
            "curves",
            "Scores grow with the square of a sequence, so for each token they grow with its"
            " length; the rest of a layer does not. Selective recomputation takes off what grows.",
            series="kept by a layer by length",
        ),
        StudyChart(
            "curves",
            "What a step really holds: while a layer is computed again all of it is there, scores"
            " too, so the peak falls by less than what is kept.",
            series="step memory by length",
        ),
        StudyChart(
            "curves",
            "Full recomputation repeats a third of a step’s products at any length. Selective"
            " repeats only attention, little where sequences are short beside the width and more as"
            " they grow. A kernel that fuses attention is below zero: it takes less time.",
            series="added time by length",
        ),
    ),
    answers=(Answer("korthikanti2022reducing-1", "8a76e981bda8", overhead_of_recomputation),),
    accepts=("text",),
    needs=needs,
)
