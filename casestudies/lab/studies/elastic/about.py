"""What the study is, what may be set, and what it measures."""

from casestudies.lab import metrics
from casestudies.lab.contract import (
    CLAIMS,
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
from casestudies.lab.metrics import LOWER, NEITHER, Metric
from casestudies.lab.studies.elastic.claims import (
    ANSWERS,
    ELASTIC,
    GAIN,
    LOST,
    MIGRATED,
    ONE,
    RESTARTED,
    SCRATCH,
    TWO,
)

FEWER, MORE = "2 to 1, a rank is killed", "1 to 2, a rank comes"


class ElasticParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        128, "Width of the model", unit="numbers a token", ge=32, le=1024, multiple_of=32,
        role="workload",
    )  # fmt: skip
    layers: int = parameter(4, "Blocks of the model", unit="blocks", ge=1, le=24, role="workload")
    sequences: int = parameter(
        8,
        "Sequences in a step, of all ranks together, however many there are",
        unit="sequences",
        ge=2,
        le=64,
        multiple_of=2,
        role="workload",
    )
    window: int = parameter(
        64, "Length of a sequence", unit="tokens", ge=8, le=512, role="workload"
    )
    steps: int = parameter(
        30,
        "Training steps; at a third of them a rank is killed, and at two thirds one comes",
        unit="steps",
        ge=6,
        le=5000,
        role="workload",
    )
    checkpoint_every: int = parameter(
        4, "Steps between checkpoints", unit="steps", ge=1, le=1000, role="method"
    )
    rounds: int = parameter(
        3, "Times that all is trained and timed", unit="rounds", ge=2, le=50, role="effort"
    )
    requests: int = parameter(
        240, "Requests of the traces that are replayed", unit="requests", ge=8, le=5000,
        role="workload",
    )  # fmt: skip
    prompt: int = parameter(32, "Length of a prompt", unit="tokens", ge=4, le=512, role="workload")
    answer: int = parameter(64, "Length of an answer", unit="tokens", ge=4, le=512, role="workload")
    slots: int = parameter(
        8, "Requests that are computed for at once", unit="slots", ge=1, le=64, role="workload"
    )
    load: float = parameter(
        0.4,
        "Requests a second, divided by what all instances can serve",
        unit="fraction",
        ge=0.05,
        le=0.9,
        role="workload",
    )


def needs(parameters: ElasticParameters) -> Needs:
    """Return a core for each of two ranks, and memory for both with their copies of the model."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 512 * p.width
    tokens = p.sequences * p.window
    held = 64 * weights + tokens * (60 * p.layers * p.width + 8 * 512)
    cache = 8 * p.layers * p.width * p.slots * (p.prompt + p.answer)
    return Needs(processes=2, memory_gib=1.5 + (held + cache) / 2**30)


STUDY = Study(
    slug="elastic",
    name="Elastic scaling",
    subject="the number of workers changes amid training, and amid serving",
    summary=(
        "Trains a small language model on two processes, goes on with one when the other is killed,"
        " and again with two when another comes. The batch stays as large, and Adam’s state is"
        " shared out anew. Checks that the steps are, bit for bit, those of one process and of two,"
        " counts what each holds, and times the changes. With costs of this machine it replays"
        " requests that are served by instances which come and go: after a change all is read and"
        " begun anew, or weights and caches move and answers go on, as in SpotServe."
    ),
    limits=(
        "The steps are the same to the last bit because the batch is cut into two pieces whatever"
        " the ranks: of more pieces the order of sums would depend on them, and weights would agree"
        " but for rounding. Serving is a replay: with half of the instances a pass takes twice as"
        " long, an instance is announced to be taken away early enough to send what it has, and the"
        " three traces are ours. Small weights are read from this machine’s file cache in"
        " milliseconds, so the last chart goes through load times: the same small weights from a"
        " slower disk; sending stays as measured here, where large weights would take longer to be"
        " sent too. Which way of laying the layers is best for so many instances, which SpotServe"
        " also chooses, is not looked at."
    ),
    publications=("miao2023spotserve",),
    strategies=("elastic-scaling", "fault-tolerance"),
    parameters=ElasticParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "width": 32,
                "layers": 1,
                "sequences": 2,
                "window": 16,
                "steps": 6,
                "checkpoint_every": 1,
                "rounds": 2,
                "requests": 16,
                "prompt": 4,
                "answer": 8,
                "slots": 4,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(2.5, {"rounds": 5}),
        FULL: Preset(15, {"width": 256, "steps": 120, "rounds": 7, "requests": 2000}),
    },
    variants=(
        Variant(TWO, "two ranks from the first step to the last", "baseline"),
        Variant(ONE, "one rank from the first step to the last", "control"),
        Variant(ELASTIC, "two ranks, then one, then two"),
        Variant(
            RESTARTED,
            "after each change all processes are started anew and read their weights, and requests"
            " under way begin anew; replayed",
            "control",
        ),
        Variant(
            SCRATCH,
            "after each change processes read the weights of their new place, and requests under"
            " way begin anew; replayed",
            "baseline",
        ),
        Variant(
            LOST,
            "weights move between processes that live on, and requests under way begin anew;"
            " replayed",
            "ablation",
        ),
        Variant(MIGRATED, "weights and caches move, and answers go on (SpotServe); replayed"),
    ),
    settings=(
        Setting("ranks", "processes that train together", "ranks", one="rank"),
        Setting("change", "how the number of ranks changes"),
        Setting("trace", "when instances come and go"),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a final weight or of a step’s loss from those of two ranks, over"
            " all rounds"
        ),
        metrics.TRAINING_LOSS.measured("loss of the last step, over the whole batch"),
        Metric(
            "steps lost",
            "steps",
            LOWER,
            "reliability",
            "counted",
            "steps that the kill took, the one under way among them",
        ),
        Metric(
            "state on a rank",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes of a rank’s share of float32 weights and Adam’s two rows; after a change it"
            " reads as many",
        ),
        metrics.STEP_TIME.measured("wall clock of a step of all ranks; median of all"),
        Metric(
            "change time",
            "ms",
            LOWER,
            "reliability",
            "timed",
            "from the kill, or from when the rank alone has saved, until the next generation has"
            " read the checkpoint",
        ),
        Metric(
            "time over two ranks",
            "x",
            LOWER,
            "cost",
            "timed",
            "time from the first ranks’ readiness until the last step is done, and saved if it is,"
            " divided by that of two ranks in the same round; all save equally often",
            relative_to=TWO,
        ),
        Metric(
            "steps done",
            "steps",
            NEITHER,
            None,
            "counted",
            "all steps taken, those taken again among them",
        ),
        Metric(
            "time without service",
            "ms",
            LOWER,
            "latency",
            "timed",
            "until processes have a new group and one has read all weights, or has sent them to"
            " another; restarted: until a process that is started anew has read them",
        ),
        Metric(
            "stall, by replay",
            "ms",
            LOWER,
            "latency",
            "timed",
            "time in which nobody is served after a change; mean of the trace",
        ),
        Metric(
            "P99 latency, by replay",
            "ms",
            LOWER,
            "latency",
            "timed",
            "from a request’s arrival to its last token, which 99 % of the requests do not exceed",
        ),
        Metric(
            GAIN,
            "x",
            NEITHER,
            "latency",
            "timed",
            "P99 latency divided by that of migration on the same trace",
            relative_to=MIGRATED,
        ),
    ),
    series=(
        Series("steps by time", "time", "s", "steps done"),
        Series("P99 by load time, by replay", "load time", "s", GAIN),
    ),
    headline=(
        Headline("equality error", ELASTIC),
        Headline(GAIN, SCRATCH, {"trace": "one by one"}),
    ),
    charts=(
        StudyChart(
            "curves",
            "The elastic line goes up like that of two ranks, down to the last checkpoint where one"
            " is killed, on like that of one rank, and in the end again like that of two.",
            series="steps by time",
        ),
        StudyChart(
            "bars",
            "How long the slowest requests take on each trace. From scratch and migration without"
            " progress differ in how weights come to their place, the latter and migration in"
            " whether answers go on. Where they are all alike, it is the missing instances that"
            " make requests wait and not the change.",
            y="P99 latency, by replay",
        ),
        StudyChart(
            "curves",
            "By how much the slowest requests wait longer if all is read and begun anew. The first"
            " point of each line is what reading takes here, the others are the same small weights"
            " from a slower disk; sending stays as measured here.",
            series="P99 by load time, by replay",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    devices=("cpu",),
    needs=needs,
)
