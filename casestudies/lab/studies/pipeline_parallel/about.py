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
from casestudies.lab.studies.pipeline_parallel.claims import ANSWERS


class PipelineParameters(Parameters):
    """What a reader may set."""

    ranks: int = parameter(
        4,
        "Processes that share the blocks; wall clock of steps is always that of two",
        unit="ranks",
        ge=2,
        le=4,
        multiple_of=2,
        role="workload",
    )
    micro_batches: int = parameter(
        8,
        "Parts of a step's batch that follow each other",
        unit="micro-batches",
        ge=4,
        le=64,
        multiple_of=4,
        role="workload",
    )
    sequences: int = parameter(
        2, "Pieces of text in a micro-batch", unit="sequences", ge=1, le=64, role="workload"
    )
    window: int = parameter(
        64, "Length of a piece of text", unit="tokens", ge=8, le=1024, role="workload"
    )
    width: int = parameter(
        128,
        "Width of the model",
        unit="numbers a token",
        ge=32,
        le=1024,
        multiple_of=32,
        role="workload",
    )
    blocks: int = parameter(
        1,
        "Blocks in each stage when every rank has two stages",
        unit="blocks",
        ge=1,
        le=8,
        role="workload",
    )
    blocks_alone: int = parameter(
        8,
        "Blocks that one process has room for, so that its bytes are the most that a rank may hold"
        " when it is asked how many blocks fit on ranks; the fewer, the more the head counts",
        unit="blocks",
        ge=1,
        le=64,
        role="workload",
    )
    steps: int = parameter(
        10,
        "Training steps whose losses are held against those of one process",
        unit="steps",
        ge=1,
        le=1000,
        role="effort",
    )
    curve: bool = parameter(
        True,
        "Also carry out steps of as many micro-batches as ranks, twice, four and eight times that",
        role="effort",
    )
    rounds: int = parameter(
        7, "Times that each step is timed", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: PipelineParameters) -> Needs:
    """Return a core for each of the two ranks whose steps are timed, and memory for all ranks."""
    return Needs(processes=2, memory_gib=1 + 0.5 * parameters.ranks)


STUDY = Study(
    slug="pipeline-parallel",
    name="Pipeline parallelism",
    subject="how long ranks wait for each other and what they hold meanwhile",
    summary=(
        "Lays the blocks of a small language model on several processes and trains it on real text,"
        " the batch cut into micro-batches that follow each other, by GPipe, 1F1B and interleaved"
        " 1F1B as PyTorch has them. Checks that losses and gradients are those of one process, and"
        " counts in what was carried out how many slots a rank waits and what it keeps for"
        " backwards. Two more schedules, Chimera's and PipeDream-2BW's, are replayed only."
    ),
    limits=(
        "Processes on one machine: passing tensors on is nearly free and is left out of every"
        " replay, where between machines it decides how much interleaving may send. Four ranks"
        " share what cores there are, so idle shares are counted, not timed; step times on two"
        " ranks of a small model are an illustration. What Chimera and PipeDream-2BW pay for their"
        " full pipelines, two copies or two versions of the weights, is not measured."
    ),
    publications=(
        "huang2018gpipe",
        "fan2020dapple",
        "narayanan2021ptdp",
        "li2021chimera",
        "li2021terapipe",
        "narayanan2020pipedream2bw",
        "athlur2021varuna",
    ),
    strategies=("pipeline-parallelism",),
    parameters=PipelineParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "ranks": 2,
                "micro_batches": 4,
                "sequences": 1,
                "window": 16,
                "width": 32,
                "blocks_alone": 2,
                "steps": 2,
                "curve": False,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1),
        CLAIMS: Preset(1, {"steps": 5, "curve": False, "rounds": 2}),
        FULL: Preset(8, {"width": 256, "window": 128, "blocks": 2, "steps": 100, "rounds": 15}),
    },
    variants=(
        Variant("one process", "all blocks in one process, with one thread", "baseline"),
        Variant(
            "layer split",
            "the blocks on several ranks and the batch in one piece, so that one rank computes at"
            " a time",
            "baseline",
        ),
        Variant("gpipe", "all micro-batches forward, then all backward"),
        Variant(
            "gpipe, recomputed",
            "GPipe that keeps only what each block read, and computes the rest again for backwards",
        ),
        Variant("1f1b", "each micro-batch backward as early as it can (DAPPLE, PipeDream-Flush)"),
        Variant("interleaved", "1F1B with two stages on each rank, from two parts of the model"),
        Variant(
            "bidirectional",
            "half of the micro-batches from either end, with two copies of the model (Chimera);"
            " replayed only",
        ),
        Variant(
            "no flush",
            "1F1B that goes on with the next step's micro-batches, on weights a step older"
            " (PipeDream-2BW); replayed only",
        ),
    ),
    settings=(
        Setting("ranks", "processes, or workers of a replay", "ranks", one="rank"),
        Setting("micro-batches", "parts of a step's batch", "micro-batches", one="micro-batch"),
        Setting("rank", "the rank, from 0 where the model begins"),
        Setting(
            "slots",
            "whether every pass counts as one slot, or lasts as long as the processor took for it",
        ),
    ),
    metrics=(
        metrics.TRAINING_LOSS.measured(
            "mean negative log-likelihood of the tokens of the last training step"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest relative difference from one process: of a step's loss, or of the gradient of"
            " a weight matrix in the first step, by norms"
        ),
        metrics.IDLE_SHARE.measured(
            "slots in which ranks wait, divided by all slots, in a replay of the order of passes:"
            " the order that the ranks carried out where they did, else the schedule's own"
        ),
        Metric(
            "idle time",
            "fraction",
            LOWER,
            "scale",
            "timed",
            "the same share where every pass takes the processor's time that it took",
        ),
        Metric(
            "idle slots",
            "slots",
            LOWER,
            "scale",
            "counted",
            "slots in which each worker waits in a step of as many micro-batches as workers; the"
            " schedule replayed with equal slots",
        ),
        Metric(
            "micro-batches held",
            "micro-batches",
            LOWER,
            "memory",
            "counted",
            "most that a rank has gone forward with and not yet backward, a stage of two counted as"
            " half; as PyTorch keeps them where carried out, else in the schedule's order, of the"
            " rank that has most",
        ),
        Metric(
            "activation memory",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "largest bytes that autograd keeps on a rank for backwards in a step, each storage"
            " once, without weights",
        ),
        Metric(
            "rank memory",
            "MiB",
            LOWER,
            "memory",
            "timed",  # what arrives early is held longer
            "largest bytes that a rank holds in a step: weights, gradients, AdamW's state,"
            " activations, what operations need meanwhile and what is received; mean of ranks",
        ),
        Metric(
            "blocks that fit",
            "blocks",
            HIGHER,
            "scale",
            "counted",
            "most blocks, equally many on each rank, with which no rank holds more bytes than one"
            " process that takes one micro-batch after another and recomputes nothing; found by"
            " steps with more and with fewer",
        ),
        metrics.BYTES_SENT.measured("bytes that a rank sends to others in a step, mean of ranks"),
        Metric(
            "backward over forward",
            "x",
            NEITHER,
            None,
            "timed",
            "time of a backward pass divided by that of a forward pass; medians of the stages"
            " between the first and the last",
        ),
        Metric(
            "replayed speed-up",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of a step by 1F1B divided by the variant's, both replayed with as many"
            " micro-batches as workers, all stages alike, and the medians of the forward and the"
            " backward passes that were timed",
            relative_to="1f1b",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of one step's forwards and backwards on two ranks with a thread each,"
            " alternating, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "step time of the layer split divided by the variant's, on two ranks, alternating,"
            " median of rounds",
            relative_to="layer split",
        ),
    ),
    series=(
        Series("idle share by micro-batches", "micro-batches", "", "idle share"),
        Series("activation memory by rank", "rank", "", "activation memory"),
    ),
    headline=(Headline("rank memory", "1f1b"), Headline("equality error", "1f1b")),
    charts=(
        StudyChart(
            "curves",
            "More micro-batches leave less waiting. With equal slots GPipe and 1F1B wait equally"
            " long, on one curve, and interleaving about halves it. By the times that passes took,"
            " which are never quite equal, most wait longer.",
            series="idle share by micro-batches",
        ),
        StudyChart(
            "curves",
            "GPipe keeps every micro-batch on every rank. 1F1B keeps one on the last rank, two on"
            " the rank before it, and so on. Recomputation keeps little but the last rank's"
            " logits.",
            series="activation memory by rank",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
