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
from casestudies.lab.metrics import HIGHER, LOWER, NEITHER, Metric
from casestudies.lab.studies.fault_tolerance.claims import (
    ANSWERS,
    GAIN,
    REDUNDANT,
    RESTARTED,
    SAVING,
    UNDISTURBED,
)

RANKS = 2  # of the training that is carried out
FORMULA = "Daly’s formula"
YOUNG, DALY, BEST = "Young", "Daly", "least time"  # how an interval is chosen


class FaultToleranceParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        128,
        "Width of the model that is trained",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    layers: int = parameter(
        4, "Blocks of the model that is trained", unit="blocks", ge=1, le=24, role="workload"
    )
    sequences: int = parameter(
        8,
        "Sequences in a step, of both ranks together",
        unit="sequences",
        ge=2,
        le=64,
        multiple_of=2,
        role="workload",
    )
    window: int = parameter(
        64, "Length of a sequence", unit="tokens", ge=8, le=512, role="workload"
    )
    steps: int = parameter(40, "Training steps", unit="steps", ge=4, le=5000, role="workload")
    checkpoint_every: int = parameter(
        10,
        "Steps between checkpoints of the training that is carried out, at most all",
        unit="steps",
        ge=1,
        le=1000,
        role="method",
    )
    kills: int = parameter(
        3, "Times that a rank is killed, each in another step", unit="kills", ge=1, le=20,
        role="workload",
    )  # fmt: skip
    rounds: int = parameter(
        3, "Times that all is trained", unit="rounds", ge=1, le=50, role="effort"
    )
    between_failures: float = parameter(
        60.0,
        "Mean time between failures where the interval between checkpoints is replayed",
        unit="s",
        ge=5.0,
        le=100_000.0,
        role="workload",
    )
    stages: int = parameter(
        8, "Stages of each pipeline on paper", unit="stages", ge=2, le=32, role="workload"
    )
    pipelines: int = parameter(
        4, "Pipelines on paper", unit="pipelines", ge=1, le=64, role="workload"
    )
    micro_batches: int = parameter(
        16,
        "Parts of a pipeline’s batch that follow each other",
        unit="micro-batches",
        ge=1,
        le=256,
        role="workload",
    )
    hours: float = parameter(
        200.0, "Hours on paper", unit="hours", ge=10.0, le=10_000.0, role="effort"
    )


def needs(parameters: FaultToleranceParameters) -> Needs:
    """Return a core for each rank, and memory for both with their copies of the model."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 512 * p.width
    tokens = p.sequences * p.window
    held = RANKS * 32 * weights + tokens * (60 * p.layers * p.width + 8 * 512)
    return Needs(processes=RANKS, memory_gib=1.5 + held / 2**30)


STUDY = Study(
    slug="fault-tolerance",
    name="Fault tolerance",
    subject="ranks are killed, and training ends as if they had not been",
    summary=(
        "Trains a small language model on two processes, kills one of them in steps drawn"
        " beforehand, and lets a new generation go on from the last checkpoint. Checks that weights"
        " and losses are, bit for bit, those of training that nobody disturbed, counts the steps"
        " taken twice, and times what a save and a loss cost. With these costs it replays how often"
        " to save, beside the formulas of Young and Daly, and whether workers of a pipeline should"
        " rather keep their neighbour’s stage too, as Bamboo does."
    ),
    limits=(
        "On one machine a new process is there in tenths of a second, where a cloud takes minutes"
        " to give another machine and a large model takes minutes to read: that decides whether"
        " redundancy pays, so the last chart goes through restart times. Processes are killed; one"
        " that hangs is noticed only after a timeout, and wrong numbers not at all. The"
        " intervals and Bamboo are replays: workers are lost one by one at a constant rate, where"
        " clouds take several at once; a replacement always comes; passing tensors on takes no"
        " time; all stages are alike, and the memory that a second stage takes is not looked at."
    ),
    publications=("thorpe2022bamboo",),
    strategies=("fault-tolerance",),
    parameters=FaultToleranceParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "width": 32,
                "layers": 1,
                "sequences": 2,
                "window": 16,
                "steps": 8,
                "checkpoint_every": 3,
                "kills": 1,
                "rounds": 1,
                "hours": 20.0,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3, {"rounds": 5, "hours": 1000.0}),
        FULL: Preset(20, {"width": 256, "steps": 200, "kills": 8, "rounds": 5, "hours": 5000.0}),
    },
    variants=(
        Variant(UNDISTURBED, "nobody is killed and nothing is saved", "baseline"),
        Variant(SAVING, "checkpoints are written, and nobody is killed", "control"),
        Variant(RESTARTED, "ranks are killed; all go back to the last checkpoint"),
        Variant(
            REDUNDANT,
            "each worker of a pipeline keeps its neighbour’s stage too and takes over when that is"
            " lost (Bamboo); replayed only",
        ),
        Variant(FORMULA, "what Daly’s formula expects of checkpoint and restart", "control"),
    ),
    settings=(
        Setting("interval", "how the steps between checkpoints were chosen"),
        Setting("preemptions", "share of the workers that are taken away", "% an hour"),
        Setting("workers", "whether all workers are there"),
    ),
    metrics=(
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a final weight or of a step’s loss from those of undisturbed"
            " training, over all rounds"
        ),
        metrics.TRAINING_LOSS.measured("loss of the last step, which is that of both ranks"),
        Metric(
            "steps lost",
            "steps",
            LOWER,
            "reliability",
            "counted",
            "most steps that one kill took, the one under way among them",
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
            "checkpoint size",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes of weights and Adam’s two rows in float32, of all ranks",
        ),
        metrics.STEP_TIME.measured("wall clock of a step of both ranks; median of all"),
        Metric(
            "save time",
            "ms",
            LOWER,
            "cost",
            "timed",
            "wall clock until a checkpoint of both ranks is on the disk and has its name",
        ),
        Metric(
            "detection time",
            "ms",
            LOWER,
            "reliability",
            "timed",
            "from the kill until the supervisor knows and no rank of the generation is left",
        ),
        Metric(
            "restart time",
            "ms",
            LOWER,
            "reliability",
            "timed",
            "from then until all ranks of the next generation have read the checkpoint",
        ),
        Metric(
            "time over undisturbed",
            "x",
            LOWER,
            "cost",
            "timed",
            "time from the first ranks’ readiness until the last step is done, and saved if it is,"
            " divided by that of undisturbed training of the same round",
            relative_to=UNDISTURBED,
        ),
        metrics.PREDICTION_ERROR.measured(
            "how far the time of the disturbed run is from what step and save times of the run that"
            " only saves, the counted steps, and the times of detection and restart add up to"
        ),
        Metric(
            "best interval, by replay",
            "steps",
            NEITHER,
            None,
            "timed",
            "steps between checkpoints, by the formulas or of the least time in the replay, from"
            " step, save and restart times of the run",
        ),
        Metric(
            "time over work, by replay",
            "x",
            LOWER,
            "cost",
            "timed",
            "all time divided by the time of the work that is kept, with failures drawn at random",
        ),
        Metric(
            "pipeline step, by replay",
            "ms",
            LOWER,
            "throughput",
            "timed",
            "time of a step by 1F1B, with times of a stage measured in the run",
        ),
        Metric(
            "samples, by replay",
            "samples/h",
            HIGHER,
            "throughput",
            "timed",
            "samples of steps that are kept, in an hour of all pipelines",
        ),
        Metric(
            GAIN,
            "x",
            HIGHER,
            "throughput",
            "timed",
            "samples an hour, divided by those of checkpoint and restart with the same losses",
            relative_to=RESTARTED,
        ),
        Metric(
            "break-even restart, by replay",
            "s",
            NEITHER,
            None,
            "timed",
            "least restart time, of those tried, from which on redundancy gains",
        ),
    ),
    series=(
        Series("steps by time", "time", "s", "steps done"),
        Series(
            "time over work by interval, by replay",
            "steps between checkpoints",
            "steps",
            "time over work, by replay",
        ),
        Series("samples over restarting by restart time, by replay", "restart time", "s", GAIN),
    ),
    headline=(Headline("steps lost", RESTARTED), Headline(GAIN, REDUNDANT, {"preemptions": 16})),
    charts=(
        StudyChart(
            "curves",
            "Where a rank is killed the line goes down to the last checkpoint, for as long as the"
            " next generation takes to be ready, and then up again as before. All end with the same"
            " weights.",
            series="steps by time",
        ),
        StudyChart(
            "curves",
            "Saving often costs time, saving seldom costs steps. The replay, whose intervals are"
            " whole steps, should lie on Daly’s formula; the bottom is so flat that half or twice"
            " the best interval loses little.",
            series="time over work by interval, by replay",
        ),
        StudyChart(
            "curves",
            "Below 1 redundancy costs more than it saves. Its gain is a matter of how long a"
            " restart takes: the first point of each line is near what was measured here, the"
            " others are what a cloud may take.",
            series="samples over restarting by restart time, by replay",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    devices=("cpu",),
    needs=needs,
)
