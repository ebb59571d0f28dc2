"""What the study is, what may be set, and what it measures."""

from typing import Literal, NamedTuple

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
    parameter,
)
from casestudies.lab.equations.activations import (
    layer_activation_bytes,
    sequence_parallel_selective_activation_bytes,
    tensor_parallel_activation_bytes,
)
from casestudies.lab.machine import GIB, Needs
from casestudies.lab.metrics import LOWER, NEITHER, Metric
from casestudies.lab.result import Result

HEAD_WIDTH = 64
DROPOUT = 0.1
TIMED, COUNTED = 2, 4  # ranks
SHORTEST = 128


class Split(NamedTuple):
    """How ranks share a layer: whether its matrices, which tokens each has, and its attention."""

    tensor: bool
    tokens: Literal["all", "in order", "zig-zag"]
    attention: Literal["kept", "again", "fused", "ring", "exchange"]


ALONE, FUSED = "one process", "one process, fused"
TENSOR, SEQUENCE, SELECTIVE = "tensor", "tensor + sequence", "tensor + sequence, selective"
RING, ZIG_ZAG, ULYSSES = "ring", "ring, zig-zag", "Ulysses"
WAYS = {
    ALONE: Split(tensor=False, tokens="all", attention="kept"),
    TENSOR: Split(tensor=True, tokens="all", attention="kept"),
    SEQUENCE: Split(tensor=True, tokens="in order", attention="kept"),
    SELECTIVE: Split(tensor=True, tokens="in order", attention="again"),
    FUSED: Split(tensor=False, tokens="all", attention="fused"),
    RING: Split(tensor=False, tokens="in order", attention="ring"),
    ZIG_ZAG: Split(tensor=False, tokens="zig-zag", attention="ring"),
    ULYSSES: Split(tensor=False, tokens="in order", attention="exchange"),
}
WITH_SCORES = (TENSOR, SEQUENCE, SELECTIVE)  # held against one process
WITHOUT = (RING, ZIG_ZAG, ULYSSES)  # held against one process with fused attention
# Slices of a sequence through a pipeline, computed by replay.
WHOLE, EVEN, TERAPIPE = "pipeline, whole sequence", "pipeline, even slices", "pipeline, TeraPipe"
PIPELINED = (WHOLE, EVEN, TERAPIPE)
STAGES, UNITS = 8, 8  # of the pipeline that is replayed; pieces of the sequence that are not cut
# Heads, width and tokens of the publication's models of 22, 175, 530 and 1,000 billion: table 3.
PUBLISHED = {
    "22B": (64, 6144, 2048),
    "175B": (96, 12_288, 2048),
    "530B": (128, 20_480, 2048),
    "1T": (160, 25_600, 2048),
}
PUBLISHED_RANKS = 8


class SequenceParallelParameters(Parameters):
    """What a reader may set."""

    width: int = parameter(
        256,
        "Width of the model, with heads of 64",
        unit="numbers",
        ge=256,
        le=4096,
        multiple_of=256,
        role="workload",
    )
    layers: int = parameter(2, "Layers of the model", unit="layers", ge=1, le=48, role="workload")
    context: int = parameter(
        512,
        "Tokens of a sequence that ranks share",
        unit="tokens",
        ge=SHORTEST,
        le=16_384,
        multiple_of=SHORTEST,
        role="workload",
    )
    longest: int = parameter(
        2048,
        "Longest sequence whose memory is measured, in steps of two from 128 on",
        unit="tokens",
        ge=SHORTEST,
        le=32_768,
        multiple_of=SHORTEST,
        role="workload",
    )
    training_steps: int = parameter(
        40,
        "Steps of training in one process, each on a sequence of so many tokens",
        unit="steps",
        ge=1,
        le=5000,
        role="effort",
    )
    rounds: int = parameter(
        5, "Times that each step is timed", unit="rounds", ge=2, le=100, role="effort"
    )


def published_ratio(shape: str) -> float:
    """Return how much less a rank of eight keeps, by the formulas, at a published shape."""
    a, h, s = PUBLISHED[shape]
    ranks = {"tokens": s, "batch": 1, "hidden": h, "tensor_ranks": PUBLISHED_RANKS}
    tensor = tensor_parallel_activation_bytes(**ranks, heads=a)
    return tensor / sequence_parallel_selective_activation_bytes(**ranks)


def activation_memory(result: Result) -> Judgement:
    """Korthikanti 0: both techniques together keep a fifth of what tensor parallelism keeps."""
    excess = [
        abs(result.value("beyond the formula", variant, ranks=ranks))
        for variant in (TENSOR, SELECTIVE)
        for ranks in (TIMED, COUNTED)
    ]
    ratio = {
        ranks: result.value("kept by a layer", TENSOR, ranks=ranks)
        / result.value("kept by a layer", SELECTIVE, ranks=ranks)
        for ranks in (TIMED, COUNTED)
    }
    published = {shape: published_ratio(shape) for shape in PUBLISHED}
    return judged(
        *(
            Number(f"tensor / both, {ranks} ranks", n, "x", claimed=ranks == COUNTED)
            for ranks, n in ratio.items()
        ),
        Number("furthest from a formula", max(excess), "%"),
        *(
            Number(f"by the formulas, {shape}, {PUBLISHED_RANKS} ranks", n, "x")
            for shape, n in published.items()
        ),
        supported=max(excess) <= 10 and all(4.75 <= n <= 6.5 for n in published.values()),
        agrees=ratio[COUNTED] > 2,
    )


def needs(parameters: SequenceParallelParameters) -> Needs:
    """Return a core for each rank that is timed, and what all ranks hold at most.

    That is four times what a layer keeps in 16 bits of the longest sequence, in float32, or eight
    times of the one that is compared, in float64.
    """
    p = parameters
    long, compared = (
        layer_activation_bytes(tokens=tokens, batch=1, hidden=p.width, heads=p.width // HEAD_WIDTH)
        for tokens in (p.longest, p.context)
    )
    kept = p.layers * max(4 * long, 8 * compared)
    weights = 12 * p.layers * p.width**2 + 1024 * p.width
    return Needs(processes=TIMED, memory_gib=3 + (kept + COUNTED * 24 * weights) / GIB)


STUDY = Study(
    slug="sequence-parallel",
    name="Sequence parallelism",
    subject="one sequence shared out over ranks",
    summary=(
        "Trains a small GPT on real text, then does one step of it on ranks that share a sequence."
        " Korthikanti’s way adds to tensor parallelism that ranks share the tokens between"
        " attention and feed-forward part too, and computes scores again. Ring attention and"
        " Ulysses share tokens everywhere: keys and values go round, or tokens are exchanged for"
        " heads. Checks that loss and gradients are one process’s, and counts what a rank keeps,"
        " sends and computes. TeraPipe’s slices of a sequence, which fill a pipeline, are computed"
        " by replay."
    ),
    limits=(
        "The ranks are processes on one machine’s CPU that send through its memory, and two of them"
        " share its cores: their times illustrate. Four ranks only count. The model is small, so"
        " scores are a larger part of it than of a wide one. Embedding, head and loss are not"
        " shared out, and what a layer keeps leaves out weights, their gradients and optimizer"
        " state, which tensor parallelism shares too. Ring and Ulysses drop no scores, as kernels"
        " that fuse attention on a CPU cannot. TeraPipe’s pipeline is computed by replay, and"
        " executed by none."
    ),
    publications=(
        "korthikanti2022reducing",
        "li2021terapipe",
        "shoeybi2019megatron",
        "dao2022flashattention",
    ),
    strategies=("sequence-parallelism", "tensor-parallelism", "activation-recomputation"),
    parameters=SequenceParallelParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "layers": 1,
                "context": SHORTEST,
                "longest": SHORTEST,
                "training_steps": 2,
                "rounds": 2,
            },
        ),
        QUICK: Preset(1),
        # Scores take 5as/h = 80 bytes beside 34, as in the model of 175 billion.
        CLAIMS: Preset(1, {"context": 1024, "training_steps": 4, "longest": SHORTEST, "rounds": 2}),
        FULL: Preset(
            15,
            {
                "width": 512,
                "layers": 4,
                "context": 2048,
                "longest": 4096,
                "training_steps": 300,
                "rounds": 15,
            },
        ),
    },
    variants=(
        Variant(ALONE, "no ranks; every activation is kept, attention’s scores too", "baseline"),
        Variant(
            TENSOR,
            "ranks share heads and the feed-forward part’s columns; all have every token",
            "baseline",
        ),
        Variant(SEQUENCE, "they share the tokens too, wherever no matrix is shared"),
        Variant(SELECTIVE, "and attention’s scores are computed again for the backward pass"),
        Variant(
            FUSED,
            "no ranks; PyTorch’s kernel never holds the scores, and drops none of them",
            "baseline",
        ),
        Variant(
            RING,
            "ranks share tokens in order and have all weights; keys and values go round, and what a"
            " rank finds is put together by an online softmax",
            "ablation",
        ),
        Variant(ZIG_ZAG, "the same, each rank with a piece from the front and one from the back"),
        Variant(
            ULYSSES,
            "ranks share tokens in order and have all weights; for attention tokens are exchanged"
            " for heads, and back",
        ),
        Variant(
            WHOLE,
            f"the sequence goes through {STAGES} stages as a whole: computed by replay, with times"
            " of a layer measured in the run",
            "baseline",
        ),
        Variant(EVEN, f"in {UNITS} slices of as many tokens: computed by replay", "baseline"),
        Variant(
            TERAPIPE,
            "in slices that a dynamic program finds, as later ones look back at more: computed by"
            " replay",
        ),
    ),
    settings=(
        Setting("ranks", "processes that share a sequence", "ranks", one="rank"),
        Setting("rank", "which of four it is, from 0"),
        Setting("length", "tokens of a sequence", "tokens", one="token"),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of a sequence of text kept apart, without dropout, by the"
            f" trained model in float64 on {COUNTED} ranks"
        ),
        metrics.EQUALITY_ERROR.measured("difference of that loss from one process’s"),
        Metric(
            "gradient error",
            "fraction",
            LOWER,
            "quality",
            "computed",
            "largest difference of a number of the gradient, with dropout and in float64, from one"
            " process’s with the same attention, divided by the largest of its matrix",
        ),
        Metric(
            "kept by a layer",
            "KiB/token",
            LOWER,
            "memory",
            "counted",
            "bytes that autograd keeps of a layer on a rank between forward and backward pass, in"
            " bfloat16, weights left out, divided by the tokens of the whole sequence",
        ),
        Metric(
            "beyond the formula",
            "%",
            LOWER,
            "memory",
            "counted",
            "how much more is kept than sbh(10 + 24/t + 5as/(ht)) for tensor parallelism,"
            " sbh(34 + 5as/h)/t with the sequence, 34sbh/t for ring and selective, 36sbh/t for"
            " Ulysses: statistics of norms and softmax",
        ),
        metrics.BYTES_SENT.measured(
            "bytes of activations and of their gradients that a rank sends in a step for one layer,"
            " in bfloat16, in a ring"
        ),
        Metric(
            "gradients sent",
            "MiB",
            LOWER,
            "communication",
            "counted",
            "bytes that a rank sends in a step for the gradients of a layer’s weights, in bfloat16:"
            " none where each rank has its own, and fewer for a token the more there are",
        ),
        Metric(
            "share of the work",
            "fraction",
            NEITHER,
            "scale",
            "counted",
            "pairs of query and key that a rank computes, divided by those of the sequence",
        ),
        Metric(
            "busiest rank",
            "x",
            LOWER,
            "scale",
            "counted",
            f"pairs of query and key of the busiest rank divided by the mean of {COUNTED} ranks",
            "the mean",
        ),
        Metric(
            "step memory",
            "MiB",
            LOWER,
            "memory",
            "timed",  # what arrives early is held longer
            "most bytes that a rank’s forward and backward pass hold at one time beyond weights, by"
            f" the allocator, in float32; {COUNTED} ranks",
        ),
        metrics.STEP_TIME.measured(
            f"wall clock of forward and backward pass on {TIMED} ranks, until gradients are whole,"
            " in turn, median of rounds; one process has as many threads"
        ),
        metrics.SPEED_UP.measured(
            "step time of one process with fused attention divided by the variant’s, in turn,"
            " median of rounds",
            relative_to=FUSED,
        ),
        Metric(
            "replayed time",
            "ms",
            LOWER,
            "throughput",
            "timed",
            f"forward and backward pass, as one, of a sequence through {STAGES} stages of a layer"
            " each, computed by replay with the median times of slices that one thread took in the"
            " run; sending takes none. TeraPipe chooses its slices by other rounds",
        ),
    ),
    series=(
        Series("step memory by length", "length", "tokens", "step memory"),
        Series("share of the work by rank", "rank", "", "share of the work"),
    ),
    headline=(
        Headline("kept by a layer", SELECTIVE, {"ranks": COUNTED}),
        Headline("busiest rank", ZIG_ZAG),
    ),
    charts=(
        StudyChart(
            "trade",
            "To share the sequence too sends a quarter more than tensor parallelism and keeps far"
            " less. Ring and Ulysses keep as little; Ulysses sends less the more ranks there are,"
            " and needs a head for each.",
            x="bytes sent",
            y="kept by a layer",
        ),
        StudyChart(
            "curves",
            "What a rank of four really holds. Short sequences show the gradients of weights, which"
            " tensor parallelism alone shares. Where scores are kept, or held for a moment, memory"
            " grows with the square of the length; ring and Ulysses grow in a line, a quarter as"
            " steep as one process.",
            series="step memory by length",
        ),
        StudyChart(
            "curves",
            "In order the last rank sees all keys and the first only its own, and all wait for the"
            " last. In zig-zag each has as much to do.",
            series="share of the work by rank",
        ),
    ),
    answers=(Answer("korthikanti2022reducing-0", "051fad5168d0", activation_memory),),
    devices=("cpu",),
    accepts=("text",),
    needs=needs,
)
