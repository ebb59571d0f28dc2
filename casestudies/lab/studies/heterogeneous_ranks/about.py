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
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric

ONE = "one process"
STAGES_EVEN, STAGES = "pipeline, even", "pipeline, balanced"
BATCH_EVEN, BATCH = "data parallel, even", "data parallel, balanced"
WAYS = (STAGES_EVEN, STAGES, BATCH_EVEN, BATCH)
EVEN = {STAGES: STAGES_EVEN, BATCH: BATCH_EVEN}  # what each is held against

RANKS, SLOW = 2, 1  # the slow rank is the last
SLOWDOWNS = (1.0, 2.0, 3.0, 4.0)


def is_pipeline(variant: str) -> bool:
    """Return whether ranks share the layers and not the batch."""
    return variant in (STAGES_EVEN, STAGES)


class HeterogeneousRanksParameters(Parameters):
    """What a reader may set."""

    slowdown: float = parameter(
        3.0,
        "How many times as long the slow rank takes for the same, in training and in the verdict",
        unit="x",
        ge=1.0,
        le=8.0,
        role="workload",
    )
    layers: int = parameter(12, "Blocks of the model", unit="blocks", ge=2, le=48, role="workload")
    micro_batches: int = parameter(
        12, "Parts of a step's batch", unit="micro-batches", ge=2, le=64, role="workload"
    )
    sequences: int = parameter(
        2, "Pieces of text in a micro-batch", unit="sequences", ge=1, le=64, role="workload"
    )
    window: int = parameter(
        32, "Length of a piece of text", unit="tokens", ge=8, le=1024, role="workload"
    )
    width: int = parameter(
        64,
        "Width of the model",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    steps: int = parameter(
        10, "Steps of training, in each way", unit="steps", ge=1, le=10_000, role="workload"
    )
    rounds: int = parameter(
        3, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: HeterogeneousRanksParameters) -> Needs:
    """Return a core for each rank, and memory for models, first gradients and a batch."""
    p = parameters
    weights = p.layers * (12 * p.width**2 + 96 * p.width) + 1024 * p.width
    trained = RANKS * 16 * weights  # and the first gradients of each way, here and on their way
    gradients = 2 * (1 + len(WAYS)) * RANKS * 4 * weights
    tokens = p.micro_batches * p.sequences * p.window
    activations = 4 * tokens * (30 * p.layers * p.width + 4 * 512)
    return Needs(processes=RANKS, memory_gib=2 + (trained + gradients + 2 * activations) / GIB)


STUDY = Study(
    slug="heterogeneous-ranks",
    name="Ranks of unlike speed",
    subject="shares by what each rank can do, and what even shares cost",
    summary=(
        "Trains a small language model on two ranks of which one is slower by a known factor: it"
        " sleeps, after each pass, as much longer as it would take. Shares out the layers of a"
        " pipeline, and the micro-batches of data parallelism, evenly and by a dynamic program that"
        " lets the slowest rank take least. Holds losses and gradients against one process, counts"
        " by replay how long ranks wait, and times steps beside the bound, over slowdowns from 1"
        " to 4."
    ),
    limits=(
        "The study explains the method and answers no recorded claim. A rank is slow because it"
        " sleeps: it is slower by the same factor for everything, as a device of another kind is"
        " not, and its speed is known and stays. The two ranks are processes on one machine’s CPU"
        " with a thread each, so passing tensors on is nearly free, and memory is not limited: the"
        " fast rank may take as many layers as balance asks for, where a small fast device could"
        " not. Costs of layers are counted in weights that a token meets, and the schedule is"
        " GPipe’s. Updating weights is not timed."
    ),
    publications=("ryabinin2023swarm", "zheng2022alpa", "huang2018gpipe"),
    strategies=("heterogeneous-hardware",),
    parameters=HeterogeneousRanksParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "layers": 4,
                "micro_batches": 4,
                "sequences": 1,
                "window": 16,
                "width": 32,
                "steps": 2,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1),
        FULL: Preset(
            30,
            {
                "layers": 24,
                "micro_batches": 24,
                "window": 64,
                "width": 256,
                "steps": 200,
                "rounds": 9,
            },
        ),
    },
    variants=(
        Variant(ONE, "the fast rank by itself", "baseline"),
        Variant(STAGES_EVEN, "GPipe with as many layers on each rank", "baseline"),
        Variant(STAGES, "GPipe with layers by the dynamic program"),
        Variant(BATCH_EVEN, "every rank the whole model and as many micro-batches", "baseline"),
        Variant(BATCH, "every rank the whole model, micro-batches by the dynamic program"),
    ),
    settings=(
        Setting("slowdown", "how many times as long the slow rank takes", "x slower"),
        Setting("rank", "0 is the fast rank, 1 the slow one"),
    ),
    metrics=(
        metrics.TRAINING_LOSS.measured(
            "mean negative log-likelihood of the tokens of the last training step"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest relative difference from one process: of a step’s loss, or of the gradient of"
            " a weight in the first step, by norms"
        ),
        Metric(
            "share",
            "pieces",
            NEITHER,
            None,
            "counted",
            "layers, with the head as one, or micro-batches of the rank",
        ),
        metrics.IDLE_SHARE.measured(
            "time that the rank waits, divided by the step’s, in a replay with costs in layers"
        ),
        Metric(
            "replayed speed-up",
            "x",
            HIGHER,
            "throughput",
            "counted",
            "what the fast rank would take alone, divided by the replayed step, with costs in"
            " layers; 1 + 1 / slowdown is the most that there is",
            relative_to="one process",
        ),
        Metric(
            "replayed gain",
            "x",
            HIGHER,
            "throughput",
            "counted",
            "replayed step of even shares divided by that of balanced ones, at the slowdown that"
            " was set",
            relative_to="even shares",
        ),
        Metric(
            "gain",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "step time of even shares divided by that of balanced ones, at the slowdown that was"
            " set, in turn, median of rounds",
            relative_to="even shares",
        ),
        Metric(
            "layer time",
            "ms",
            NEITHER,
            None,
            "timed",
            "time of a layer for a micro-batch, forward and backward; median of several, mean of"
            " the ranks; the slow rank sleeps this times slowdown minus 1 for each of its layers",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a step’s forwards and backwards, until all ranks have done it, in turn,"
            " median of rounds"
        ),
        Metric(
            "bound",
            "ms",
            LOWER,
            "throughput",
            "timed",
            "the slowest stage’s time for all micro-batches and the other’s for one, by each"
            " stage’s longest passes of the step: what it may take but for passing on",
        ),
        Metric(
            "time over the bound",
            "%",
            LOWER,
            "throughput",
            "timed",
            "step time divided by its bound, minus 1; median of rounds",
        ),
        metrics.SPEED_UP.measured(
            "step time of the fast rank alone divided by the variant’s, in turn, median of rounds",
            relative_to="one process",
        ),
        metrics.PARAMETERS.measured("numbers that the rank trains, at the slowdown that was set"),
        metrics.BYTES_SENT.measured(
            "bytes that all ranks send in a step, at the slowdown that was set"
        ),
    ),
    series=(
        Series("speed-up by slowdown", "slowdown", "x", "speed-up"),
        Series("replayed speed-up by slowdown", "slowdown", "x", "replayed speed-up"),
        Series("idle share by slowdown", "slowdown", "x", "idle share"),
    ),
    headline=(Headline("gain", STAGES), Headline("equality error", STAGES)),
    charts=(
        StudyChart(
            "curves",
            "Below 1 the fast rank would be faster by itself. With even shares that is so once the"
            " other is about half as fast: everybody waits for it. With balanced shares a slow rank"
            " still helps, by less and less.",
            series="speed-up by slowdown",
        ),
        StudyChart(
            "curves",
            "The same on paper, with no time for passing on. Where curves touch, whole layers or"
            " micro-batches cannot be shared out better; a pipeline also waits at both ends.",
            series="replayed speed-up by slowdown",
        ),
        StudyChart(
            "curves",
            "How long the fast rank waits. Even shares make it wait longer the slower the other is;"
            " balanced ones hold that down to what whole pieces leave.",
            series="idle share by slowdown",
        ),
    ),
    accepts=("text",),
    devices=("cpu",),
    needs=needs,
)
