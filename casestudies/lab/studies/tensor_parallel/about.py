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
from casestudies.lab.metrics import LOWER, Metric

ONE, BOTH_CORES, DATA_PARALLEL = "one process", "one process, two threads", "data parallel"
BY_HAND, PER_LAYER, PER_MODULE = "by hand", "plan per layer", "plan per module"
SEQUENCE = "sequence parallel"
SPLIT = (BY_HAND, PER_LAYER, PER_MODULE, SEQUENCE)

TIMED_RANKS, COUNTED_RANKS = 2, 4
ONLY_COUNTED = (8, 64)  # of which one exists
LINKS = (30.0, 100.0, 300.0, 1000.0)  # MB/s
EMULATED = "MB/s emulated"


class TensorParallelParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        256,
        "Width of the model that is trained; a head is 32 wide",
        unit="numbers a token",
        ge=128,
        le=2048,
        multiple_of=128,
        role="workload",
    )
    layers: int = parameter(3, "Blocks of that model", unit="blocks", ge=1, le=24, role="workload")
    sequences: int = parameter(
        8,
        "Pieces of text in a step, of all ranks together",
        unit="sequences",
        ge=4,
        le=256,
        multiple_of=4,
        role="workload",
    )
    window: int = parameter(
        64,
        "Length of a piece of text",
        unit="tokens",
        ge=16,
        le=1024,
        multiple_of=4,
        role="workload",
    )
    steps: int = parameter(
        20, "Steps of training, in each way", unit="steps", ge=1, le=20_000, role="workload"
    )
    rounds: int = parameter(
        3, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: TensorParallelParameters) -> Needs:
    """Return a core for each rank whose steps are timed, and memory for all models on ranks."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 1024 * p.width
    activations = p.sequences * p.window * (30 * p.layers * p.width + 4 * 1024)
    of_a_rank = (2 + len(SPLIT)) * 16 * weights + 4 * activations
    return Needs(processes=TIMED_RANKS, memory_gib=2 + COUNTED_RANKS * of_a_rank / GIB)


STUDY = Study(
    slug="tensor-parallel",
    name="Tensor parallelism",
    subject="each matrix on several ranks, and two sums each way",
    summary=(
        "Splits every block of a small language model among ranks as Megatron-LM does: one matrix"
        " by what it gives, the next by what it reads, so that ranks speak to each other only where"
        " a part of the block begins and ends. Does so by hand, by a DTensor plan that names linear"
        " layers, and by one that names attention and feed-forward part; trains all on real text"
        " beside one process, counts the collectives and bytes of each and what a rank keeps, and"
        " times steps over links from slow to fast beside data parallelism."
    ),
    limits=(
        "The study explains the method and answers no recorded claim: those name many GPUs. The"
        " ranks are processes with one thread each on one machine’s CPU, over gloo. A device is"
        " a core here: two ranks beside one process with one thread show how the method scales,"
        " and beside one process with two threads what it is worth on such a machine. The link"
        " is emulated: a rank waits as long as it would take, besides what it really sends"
        " through memory, and nothing is sent while something is computed. Data parallelism"
        " would hide most of its link behind the backward pass, so it looks worse here than it"
        " is; tensor parallelism could hide little. More than two ranks are counted, not timed,"
        " and of more than four only one exists. Embedding and head are whole on every rank,"
        " where Megatron-LM splits them too. DTensor’s own time for a call, a good part of a"
        " step of so small a model, does not grow with the width."
    ),
    publications=("shoeybi2019megatron", "korthikanti2022reducing", "narayanan2021ptdp"),
    strategies=("tensor-parallelism", "model-partitioning"),
    parameters=TensorParallelParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {"width": 128, "layers": 1, "sequences": 4, "window": 16, "steps": 2, "rounds": 2},
        ),
        QUICK: Preset(1),
        FULL: Preset(
            30,
            {
                "width": 512,
                "layers": 8,
                "sequences": 16,
                "window": 128,
                "steps": 200,
                "rounds": 9,
            },
        ),
    },
    variants=(
        Variant(ONE, "the whole model in one process, with one thread", "baseline"),
        Variant(
            BOTH_CORES,
            "the same with the cores of both ranks, as one would train on this machine; timed only",
            "baseline",
        ),
        Variant(
            DATA_PARALLEL,
            "each rank has the whole model and a part of the batch (DistributedDataParallel)",
            "baseline",
        ),
        Variant(
            BY_HAND,
            "each rank has a part of each matrix; two functions, f and g, add up (Megatron-LM)",
        ),
        Variant(
            PER_LAYER,
            "the same by a DTensor plan that names each linear layer, as one would write first",
            "control",
        ),
        Variant(
            PER_MODULE,
            "the same by a DTensor plan that also says how attention and feed-forward part read"
            " the hidden state",
        ),
        Variant(
            SEQUENCE,
            "that plan with the tokens shared out between the parts, so that norms and residual"
            " sums are split too",
        ),
    ),
    settings=(
        Setting("ranks", "processes that share a model", "ranks", one="rank"),
        Setting("link", "what a rank sends in a second, by an emulated link", EMULATED),
        Setting("model", "the model whose block is counted, if not the one that is trained"),
    ),
    metrics=(
        Metric(
            "collectives",
            "a block",
            LOWER,
            "communication",
            "counted",
            "collectives of any kind that a block starts in a step, forward and backward",
        ),
        Metric(
            "forward collectives",
            "a block",
            LOWER,
            "communication",
            "counted",
            "those of the forward pass",
        ),
        Metric(
            "backward collectives",
            "a block",
            LOWER,
            "communication",
            "counted",
            "those of the backward pass",
        ),
        Metric(
            "block volume",
            "hidden states",
            LOWER,
            "communication",
            "counted",
            "bytes that a rank sends for a block in a step if ranks form a ring, divided by the"
            " bytes of the hidden state; more than four ranks by the first of a group of which the"
            " others do not exist",
        ),
        Metric(
            "excess over the formula",
            "%",
            LOWER,
            "communication",
            "counted",
            "block volume divided by that of four all-reduces, 8 (t - 1) / t, minus 1",
        ),
        metrics.BYTES_SENT.measured(
            "bytes that a rank sends in a step of the whole model if ranks form a ring"
        ),
        metrics.PARAMETERS.measured("numbers of the model that a rank has"),
        Metric(
            "activation memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes that autograd keeps of a block on a rank for the backward pass, each storage"
            " once, without weights",
        ),
        metrics.LOSS.measured(
            "mean negative log-likelihood of the tokens of text kept apart, after all steps"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a training step’s loss from that of one process, in nats"
        ),
        Metric(
            "gradient difference",
            "",
            LOWER,
            "quality",
            "computed",
            "largest distance of a weight’s gradient in the first step, put together from all"
            " ranks, from that of one process, divided by the latter’s length",
        ),
        metrics.STEP_TIME.measured(
            f"wall clock of a step, until all of {TIMED_RANKS} ranks have done it, in turn, median"
            " of rounds; where no link is named, only through the machine’s memory"
        ),
        metrics.SPEED_UP.measured(
            "step time of one process with one thread divided by the variant’s on"
            f" {TIMED_RANKS} cores, in turn, median of rounds",
            relative_to="one process",
        ),
    ),
    series=(
        Series("speed-up by link", "link", "MB/s", "speed-up"),
        Series("activation memory by ranks", "ranks", "", "activation memory"),
    ),
    headline=(Headline("collectives", PER_MODULE), Headline("equality error", PER_MODULE)),
    charts=(
        StudyChart(
            "bars",
            "Two sums forward and two backward, whoever writes them, if the parts of a block are"
            " named. A plan that names only linear layers adds up the gradient for each of the five"
            " that read the hidden state. Sharing out tokens makes two collectives of each sum, of"
            " half its bytes each.",
            y="collectives",
        ),
        StudyChart(
            "curves",
            "Above 1 two ranks are faster than one of them alone; above the line of two threads"
            " they are faster than the same two cores in one process, which need no link. The sums"
            " stand in the way of what follows, so the slower the link, the less ranks help.",
            series="speed-up by link",
        ),
        StudyChart(
            "curves",
            "What autograd keeps falls with the ranks, but not to nothing: what stands between the"
            " parts, norms and sums, is whole on every rank unless its tokens are shared out.",
            series="activation memory by ranks",
        ),
    ),
    accepts=("text",),
    devices=("cpu",),
    needs=needs,
)
