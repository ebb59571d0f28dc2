"""What the study is, what may be set, and what it measures."""

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
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.result import Result

DENSE, MASKED, COMPRESSED = "dense", "dense, masked", "compressed"
LINKED = "emulated link"

# What the rules ask for.
ASKED_SPARSITY, ASKED_RANKS = 0.9, 4


class SparseTrainingStateParameters(Parameters):
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
    sparsity: float = parameter(
        ASKED_SPARSITY,
        "Share of the weights of every matrix that is pruned, at random",
        unit="fraction",
        ge=0.0,
        le=0.99,
        role="method",
    )
    steps: int = parameter(
        150,
        "Steps of training, each on 16 windows of 64 tokens",
        unit="steps",
        ge=1,
        le=20_000,
        role="workload",
    )
    ranks: int = parameter(
        ASKED_RANKS,
        "Ranks that reduce their gradients",
        unit="processes",
        ge=2,
        le=8,
        role="workload",
    )
    link: float = parameter(
        10.0, "Bytes that a rank sends in a second", unit="MB/s", ge=0.1, le=10_000, role="workload"
    )
    rounds: int = parameter(
        7, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def memory(result: Result) -> Judgement:
    """Judge SAMO 0: nine tenths pruned, and three quarters of the state not stored."""
    saved = result.value("state saved", COMPRESSED, sparsity=ASKED_SPARSITY)
    return judged(
        Number("whole over stored state, 90 % sparsity", 1 / (1 - saved / 100), "x", claimed=True),
        Number("state saved at 90 % sparsity", saved, "%"),
        supported=saved >= 74,
        agrees=saved >= 60,
    )


def communication(result: Result) -> Judgement:
    """Judge SAMO 1: fewer bytes are reduced, in less time."""
    p = result.parameters
    if (p["ranks"], p["sparsity"]) != (ASKED_RANKS, ASKED_SPARSITY):
        return not_run(f"the rule asks for {ASKED_RANKS} ranks and 90 % sparsity")
    fewer = result.value("bytes saved", COMPRESSED, link=LINKED)
    faster = result.value("time saved", COMPRESSED, link=LINKED)
    return judged(
        Number("bytes saved", fewer, "%"),
        Number("time of the all-reduce saved, emulated link", faster, "%"),
        agrees=fewer >= 85 and faster >= 40,
    )


def needs(parameters: SparseTrainingStateParameters) -> Needs:
    """Return the memory of three models with their states, and of two more on every rank."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 1024 * p.width
    ranks = p.ranks * 0.25
    return Needs(memory_gib=1 + ranks + 20 * weights * (3 + 2 * p.ranks) / GIB)


STUDY = Study(
    slug="sparse-training-state",
    name="Sparse training state",
    subject="no gradients and no optimizer for weights that are pruned",
    summary=(
        "Trains a model of which most weights are pruned. Weights that compute stay dense, with"
        " zeros, while gradients, float32 weights and Adam’s state are stored for the others only,"
        " with an index. Checks that each step is that of dense state with zeros, counts what is"
        " held by sparsity, and reduces both kinds of gradients among ranks over a slow link."
    ),
    limits=(
        "The pruned weights are random, so what a well chosen part of a model loses is not seen;"
        " training one that is chosen so does worse than the whole model. The link is emulated, and"
        " only the all-reduce of gradients passes it: pipelines, whose traffic the publication"
        " counts too, are not here. It is one message after the backward pass; what overlaps with"
        " it in practice would save less. Activations are not part of the state, nor is a matrix’s"
        " dense gradient, which lives until its kept numbers are taken."
    ),
    publications=("singh2023samo",),
    strategies=("pruning", "memory-management", "communication-optimization"),
    parameters=SparseTrainingStateParameters,
    presets={
        SMOKE: Preset(0.2, {"width": 32, "layers": 1, "steps": 5, "rounds": 2}),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3, {"steps": 300, "rounds": 15}),
        FULL: Preset(20, {"width": 256, "layers": 6, "steps": 1500, "rounds": 31}),
    },
    variants=(
        Variant(DENSE, "nothing is pruned, and all state is stored", "baseline"),
        Variant(MASKED, "weights are pruned, and their state is stored as zeros", "control"),
        Variant(COMPRESSED, "weights are pruned, and state is stored for the others only"),
    ),
    settings=(
        Setting("part", "what is held"),
        Setting("sparsity", "share of the weights that is pruned"),
        Setting("link", "what gradients are sent over"),
    ),
    metrics=(
        metrics.LOSS,
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a weight, after all steps, from training with zeros in dense"
            " state"
        ),
        Metric(
            "state",
            "byte/parameter",
            LOWER,
            "memory",
            "counted",
            "bytes of the tensors that are held when gradients are there, divided by all parameters"
            " of the unpruned model",
        ),
        Metric(
            "state saved",
            "%",
            HIGHER,
            "memory",
            "counted",
            "1 minus the bytes of weights, gradients, float32 weights, Adam’s state and index"
            " divided by those of the dense model",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a step, alternating, median of rounds; over the emulated link with the"
            " all-reduce, of the slowest rank; on a CPU products are taken in float32 and rounded"
        ),
        metrics.BYTES_SENT.measured("bytes that a rank sends in a step, as in a ring"),
        Metric(
            "all-reduce time",
            "ms",
            LOWER,
            "communication",
            "timed",
            "wall clock of reducing all gradients, until every rank has them, alternating, median"
            " of rounds",
        ),
        Metric(
            "bytes saved",
            "%",
            HIGHER,
            "communication",
            "counted",
            "1 minus the bytes sent divided by those of the dense model",
        ),
        Metric(
            "time saved",
            "%",
            HIGHER,
            "communication",
            "timed",
            "1 minus the all-reduce time divided by the dense model’s, round by round",
        ),
    ),
    series=(
        Series("state by sparsity", "sparsity", "%", "state"),
        Series("loss by step", "step", "steps", "loss"),
    ),
    headline=(
        Headline("state saved", COMPRESSED, {"sparsity": ASKED_SPARSITY}),
        Headline("bytes saved", COMPRESSED),
    ),
    charts=(
        StudyChart(
            "curves",
            "The index costs four bytes for each weight that is kept, so storing only these pays"
            " from 22 % of pruned weights on. Two bytes for each weight remain, since"
            " those that compute stay dense.",
            series="state by sparsity",
        ),
        StudyChart(
            "curves",
            "Compressed and masked lie on each other: how the state is stored changes no step."
            " What they lose to dense comes of pruning at random from this start, at a rate that"
            " was tuned for neither.",
            series="loss by step",
        ),
    ),
    answers=(
        Answer("singh2023samo-0", "bc3f7c75ca29", memory),
        Answer("singh2023samo-1", "1504a281bf4d", communication),
    ),
    accepts=("text",),
    needs=needs,
)
