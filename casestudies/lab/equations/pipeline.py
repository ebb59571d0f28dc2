"""How long the ranks of a pipeline wait, and how much each keeps meanwhile."""

from casestudies.lab.equations.equation import (
    CHUNKS,
    MICRO_BATCHES,
    NATURAL,
    NOT_NEGATIVE,
    POSITIVE,
    STAGES,
    Source,
    Symbol,
    check_below,
    check_divides,
    equation,
)

PARTITIONS = Symbol("K", "stages", "stages of the pipeline", "stages")
GPIPE_MICRO_BATCHES = Symbol("M", "micro_batches", "micro-batches in a step", "micro-batches")
STAGE = Symbol("r", "rank", "rank of the pipeline, the first is 0", "", NATURAL)
FORWARD = Symbol("T_F", "forward_seconds", "time of a forward pass of a stage", "s", POSITIVE)
BACKWARD = Symbol("T_B", "input_seconds", "time of the gradient of its input", "s", POSITIVE)
WEIGHTS = Symbol("T_W", "weight_seconds", "time of the gradient of its weights", "s", NOT_NEGATIVE)
DEPTH = Symbol("D", "stages", "stages of the pipeline, an even number", "stages")
PER_WORKER = Symbol("N", "micro_batches", "micro-batches of each worker in a step", "micro-batches")

EVEN = (
    "Stages that all take equally long, messages that take no time, a flush after every step."
    " Idle slots over all slots of a rank."
)
UNEVEN = "Uneven stages, such as those with embedding and vocabulary, wait longer."
ZERO_BUBBLE = Source(
    reference="Qi et al. 2023, Zero Bubble Pipeline Parallelism (arXiv 2401.10241)", place="table 2"
)
PTDP = "narayanan2021ptdp"


@equation(
    "Idle share of GPipe",
    "(K - 1)/(M + K - 1)",
    "fraction",
    PARTITIONS,
    GPIPE_MICRO_BATCHES,
    holds=EVEN,
    fails=UNEVEN + " The paper gives it as an order of magnitude and calls it negligible from"
    " M = 4·K.",
    sources=(Source(publication="huang2018gpipe", place="section 2.3"),),
)
def gpipe_idle_share(*, stages: int, micro_batches: int) -> float:
    """Return the share of its time that each rank waits."""
    return (stages - 1) / (micro_batches + stages - 1)


@equation(
    "Idle share of 1F1B",
    "(p - 1)/(m + p - 1)",
    "fraction",
    STAGES,
    MICRO_BATCHES,
    holds=EVEN + " As in GPipe; 1F1B keeps less meanwhile.",
    fails=UNEVEN + " Over the ideal time it is (p - 1)/m, as the paper has it.",
    sources=(Source(publication=PTDP, place="section 2.2.1"),),
)
def one_f_one_b_idle_share(*, stages: int, micro_batches: int) -> float:
    """Return the share of its time that each rank waits."""
    return (stages - 1) / (micro_batches + stages - 1)


@equation(
    "Idle share of interleaved 1F1B",
    "(p - 1)/(v·m + p - 1)",
    "fraction",
    STAGES,
    MICRO_BATCHES,
    CHUNKS,
    holds=EVEN + " Each rank holds v parts of the model; p must divide m where v is above 1.",
    fails=UNEVEN + " Sends v times as much between stages. Over the ideal time it is"
    " (p - 1)/(v·m), as the paper has it.",
    sources=(Source(publication=PTDP, place="section 2.2.2"),),
)
def interleaved_idle_share(*, stages: int, micro_batches: int, chunks: int) -> float:
    """Return the share of its time that each rank waits."""
    _check_interleaving(stages, micro_batches, chunks)
    return (stages - 1) / (chunks * micro_batches + stages - 1)


@equation(
    "Idle share of ZB-H1",
    "B/(m·(T_F + T_B + T_W) + B) with B = (p - 1)·(T_F + T_B - T_W)",
    "fraction",
    STAGES,
    MICRO_BATCHES,
    FORWARD,
    BACKWARD,
    WEIGHTS,
    holds=EVEN + " Gradients of weights wait for idle slots; memory stays that of 1F1B.",
    fails=UNEVEN + " Needs T_W of at most T_F + T_B and m of at least p.",
    sources=(ZERO_BUBBLE,),
)
def zb_h1_idle_share(
    *,
    stages: int,
    micro_batches: int,
    forward_seconds: float,
    input_seconds: float,
    weight_seconds: float,
) -> float:
    """Return the share of its time that each rank waits."""
    work = forward_seconds + input_seconds + weight_seconds
    bubble = (stages - 1) * (work - 2 * weight_seconds)
    return _idle_share(bubble, micro_batches * work, weight_seconds)


@equation(
    "Idle share of ZB-H2",
    "B/(m·(T_F + T_B + T_W) + B) with B = (p - 1)·(T_F + T_B - 2·T_W)",
    "fraction",
    STAGES,
    MICRO_BATCHES,
    FORWARD,
    BACKWARD,
    WEIGHTS,
    holds=EVEN + " Zero where the three take equally long. The optimizer's step is not waited for.",
    fails=UNEVEN + " Needs 2·T_W of at most T_F + T_B and m of at least 2·p - 1; the first rank"
    " keeps 2·p - 1 micro-batches.",
    sources=(ZERO_BUBBLE,),
)
def zb_h2_idle_share(
    *,
    stages: int,
    micro_batches: int,
    forward_seconds: float,
    input_seconds: float,
    weight_seconds: float,
) -> float:
    """Return the share of its time that each rank waits."""
    work = forward_seconds + input_seconds + weight_seconds
    bubble = (stages - 1) * (work - 3 * weight_seconds)
    return _idle_share(bubble, micro_batches * work, weight_seconds)


@equation(
    "Idle share of Chimera",
    "(D - 2)/(2·N + D - 2)",
    "fraction",
    DEPTH,
    PER_WORKER,
    holds=EVEN + " Two pipelines in opposite directions over the same ranks; D and N even.",
    fails=UNEVEN + " Each rank holds two stages, so twice the weights.",
    sources=(Source(publication="li2021chimera", place="table 2"),),
)
def chimera_idle_share(*, stages: int, micro_batches: int) -> float:
    """Return the share of its time that each rank waits; raise ValueError where one is odd."""
    for symbol, value in ((DEPTH, stages), (PER_WORKER, micro_batches)):
        if value % 2:
            raise symbol.wrong(value, "is odd")
    return (stages - 2) / (2 * micro_batches + stages - 2)


@equation(
    "Micro-batches that GPipe keeps",
    "M",
    "micro-batches",
    GPIPE_MICRO_BATCHES,
    holds="Every rank, when all forward passes are done and no backward pass is.",
    fails="With recomputation only the inputs of the stage are kept.",
    sources=(Source(publication="huang2018gpipe", place="section 2.3"),),
)
def gpipe_live(*, micro_batches: int) -> float:
    """Return the micro-batches whose activations each rank keeps at most."""
    return micro_batches


@equation(
    "Micro-batches that 1F1B keeps",
    "min(m, p - r)",
    "micro-batches",
    STAGES,
    MICRO_BATCHES,
    STAGE,
    holds="Rank r of a schedule that alternates forward and backward as soon as it can. ZB-H1 keeps"
    " as much as the first rank on every rank.",
    fails="Leaves out inputs that have been received ahead of time.",
    sources=(
        Source(publication="narayanan2020pipedream2bw", place="section 2", from_memory=True),
        Source(publication=PTDP, place="section 2.2.1", from_memory=True),
    ),
)
def one_f_one_b_live(*, stages: int, micro_batches: int, rank: int) -> float:
    """Return the micro-batches whose activations the rank keeps at most."""
    check_below(STAGE, rank, STAGES, stages)
    return min(micro_batches, stages - rank)


@equation(
    "Parts that interleaved 1F1B keeps",
    "min(v·m, 2·(p - r - 1) + (v - 1)·p + 1), or min(m, p - r) for v = 1",
    "parts of a rank's layers",
    STAGES,
    MICRO_BATCHES,
    CHUNKS,
    STAGE,
    holds="Rank r of Megatron's order; each of these is one micro-batch of one of its v parts, so"
    " 1/v of what a whole stage keeps. p must divide m where v is above 1.",
    fails="Other orders of interleaving keep other amounts.",
    sources=(
        Source(
            reference="Megatron-LM, megatron/core/pipeline_parallel/schedules.py",
            place="number of warm-up micro-batches",
            from_memory=True,
        ),
        Source(publication="korthikanti2022reducing", place="section 4.2.3, for the first rank"),
    ),
)
def interleaved_live(*, stages: int, micro_batches: int, chunks: int, rank: int) -> float:
    """Return the parts whose activations the rank keeps at most."""
    check_below(STAGE, rank, STAGES, stages)
    _check_interleaving(stages, micro_batches, chunks)
    if chunks == 1:
        return min(micro_batches, stages - rank)
    warm_up = 2 * (stages - rank - 1) + (chunks - 1) * stages
    return min(chunks * micro_batches, warm_up + 1)


def _check_interleaving(stages: int, micro_batches: int, chunks: int) -> None:
    if chunks > 1:
        check_divides(STAGES, stages, MICRO_BATCHES, micro_batches)


def _idle_share(bubble: float, work: float, weight_seconds: float) -> float:
    if bubble < 0:
        raise WEIGHTS.wrong(weight_seconds, "is longer than the slots that it may fill")
    return bubble / (work + bubble)
