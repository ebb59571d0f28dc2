"""What the study is, what may be set, and what it measures."""

from typing import Any, NamedTuple

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


class Way(NamedTuple):
    """How ZeRO's stage 3 sends: bits of a weight and of a gradient; whether a node keeps a copy."""

    weights: int
    gradients: int
    second_copy: bool


FLOAT32, BFLOAT16 = "float32", "bfloat16"
POWERSGD, FORGETFUL = "PowerSGD", "PowerSGD without feedback"
ZERO3, HPZ, ZEROPP = "ZeRO-3", "hpZ", "ZeRO++"
WAYS = {
    ZERO3: Way(16, 16, second_copy=False),
    "qwZ": Way(8, 16, second_copy=False),
    HPZ: Way(16, 16, second_copy=True),
    "qgZ": Way(16, 4, second_copy=False),
    ZEROPP: Way(8, 4, second_copy=True),
}
REPLICATED = (FLOAT32, BFLOAT16, POWERSGD, FORGETFUL)
SIXTEEN_BITS = {FLOAT32: BFLOAT16, POWERSGD: BFLOAT16, ZEROPP: ZERO3}  # what each is held against

TIMED_RANKS = 2  # each a node of its own
NODES, PER_NODE = 2, 2
RANKS = NODES * PER_NODE  # as the rules ask
LINKS = (3.0, 10.0, 30.0, 100.0, 300.0)  # MB/s
EMULATED = "MB/s emulated"


class CommunicationCompressionParameters(Parameters):
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
    layers: int = parameter(2, "Blocks of that model", unit="blocks", ge=1, le=24, role="workload")
    steps: int = parameter(
        80,
        "Steps of training, each on 16 windows of 64 tokens, of all ranks together",
        unit="steps",
        ge=1,
        le=20_000,
        role="workload",
    )
    gradient_rank: int = parameter(
        4,
        "Rank to which PowerSGD brings a gradient: columns of the two matrices that are sent",
        unit="columns",
        ge=1,
        le=256,
        role="method",
    )
    block: int = parameter(
        256,
        "Numbers that share a scale in ZeRO++",
        unit="numbers",
        ge=32,
        le=4096,
        multiple_of=32,
        role="method",
    )
    link: float = parameter(
        2.0,
        "Bytes that each of two nodes with two ranks sends in a second",
        unit="MB/s",
        ge=0.1,
        le=10_000,
        role="workload",
    )
    rounds: int = parameter(
        4, "Times that each time is taken", unit="rounds", ge=2, le=100, role="effort"
    )


def volume(result: Result) -> Judgement:
    """ZeRO++ 0: four times fewer bytes between nodes than ZeRO-3 at 16 bits."""
    ratio = result.value("volume reduction", ZEROPP)
    return judged(
        Number("bytes between nodes, ZeRO-3 / ZeRO++ with scales", ratio, "x", claimed=True),
        supported=ratio >= 3.8,
        agrees=ratio >= 3.0,
    )


def speed(result: Result) -> Judgement:
    """ZeRO++ 1: faster steps where the link takes over half of a step of ZeRO-3."""
    at = {"ranks": RANKS, "link": result.parameters["link"]}
    share = result.value("link share", ZERO3, **at)
    if share <= 50:
        return not_run(
            f"the link takes {share:.0f} % of a step of ZeRO-3; the rule asks for over half"
        )
    ratio = result.value("speed-up", ZEROPP, **at)
    return judged(
        Number("step of ZeRO-3 / step of ZeRO++, emulated link", ratio, "x"),
        Number("share of ZeRO-3’s step that its link takes", share, "%"),
        Number("the ratio at a link that takes half of ZeRO-3’s step", at_half(result, **at), "x"),
        Number("the ratio if ZeRO-3 hid all else behind its link", ratio * share / 100, "x"),
        agrees=ratio >= 1.3,
    )


def at_half(result: Result, **at: Any) -> float:
    """Return step of ZeRO-3 / step of ZeRO++ at a link that takes half of a step of ZeRO-3.

    All but the link takes what it took at the link that was measured.
    """
    base, own = (
        result.value("step time", variant, **at)
        * (1 - result.value("link share", variant, **at) / 100)
        for variant in (ZERO3, ZEROPP)
    )
    return 2 * base / (base / result.value("volume reduction", ZEROPP) + own)


def needs(parameters: CommunicationCompressionParameters) -> Needs:
    """Return a core for each rank whose computing counts, and memory for all models on ranks."""
    p = parameters
    weights = 12 * p.layers * p.width**2 + 1024 * p.width
    models = RANKS * (len(REPLICATED) + len(WAYS))
    return Needs(processes=TIMED_RANKS, memory_gib=2 + 32 * weights * models / GIB)


STUDY = Study(
    slug="communication-compression",
    name="Communication compression",
    subject="sending fewer bytes for the same step, and what that costs",
    summary=(
        "Trains a small model on ranks in two ways that send less than 16 bits a number: ZeRO++,"
        " which gathers weights in blocks of 8 bits, keeps them in a node for the backward pass and"
        " reduces gradients in blocks of 4 bits; and PowerSGD, which sends a gradient as two thin"
        " matrices and adds what it lost to the next one. Counts what is sent, holds the losses"
        " against those of plain communication in 32 and 16 bits after the same steps, and times"
        " steps over links from slow to fast, to see from where on compressing takes longer than"
        " sending."
    ),
    limits=(
        "The ranks are processes on one machine’s CPU. The link is emulated: a rank waits as long"
        " as it would take, besides what it really sends through memory. Nothing is sent while"
        " something is computed, as real systems do, which would hide some of the link and so some"
        " of the saving. Codes are made by plain PyTorch on one core, not by fused kernels on a"
        " GPU, so compressing costs more here and links are slower than in a cluster: where the two"
        " cross says something of this machine only. The model is small, its training short, one"
        " run each at one learning rate that was tuned for none; PowerSGD was published with SGD,"
        " and feeds Adam here."
    ),
    publications=("wang2023zeropp",),
    strategies=("communication-optimization", "quantization", "data-parallelism"),
    parameters=CommunicationCompressionParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {"width": 32, "layers": 1, "steps": 4, "gradient_rank": 2, "link": 1.0, "rounds": 2},
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3.5, {"steps": 200, "rounds": 9}),
        FULL: Preset(60, {"width": 256, "layers": 4, "steps": 1000, "rounds": 15}),
    },
    variants=(
        Variant(FLOAT32, "every rank has all weights; gradients are all-reduced whole", "baseline"),
        Variant(BFLOAT16, "the same, gradients rounded to 16 bits", "baseline"),
        Variant(POWERSGD, "the same, gradients sent at a low rank; what is lost is added later"),
        Variant(FORGETFUL, "the same, what is lost is forgotten", "ablation"),
        Variant(
            ZERO3,
            "each rank owns a part of the weights; they are gathered for each pass, and gradients"
            " reduced, in 16 bits, no number twice to a node",
            "baseline",
        ),
        Variant(
            ZEROPP,
            "ZeRO-3 that gathers weights in blocks of 8 bits (qwZ), keeps them in the node for the"
            " backward pass (hpZ) and reduces gradients in blocks of 4 bits (qgZ)",
        ),
        Variant("qwZ", "ZeRO-3 where weights are gathered in blocks of 8 bits", "ablation"),
        Variant(HPZ, "ZeRO-3 where a node keeps the weights for the backward pass", "ablation"),
        Variant("qgZ", "ZeRO-3 where gradients are reduced in blocks of 4 bits", "ablation"),
    ),
    settings=(
        Setting("ranks", "processes that train together", "ranks", one="rank"),
        Setting("link", "what a node sends in a second, by an emulated link", EMULATED),
    ),
    metrics=(
        metrics.LOSS.measured(
            "mean negative log-likelihood of the tokens of text kept apart, by the weights in"
            f" float32 after all steps on {RANKS} ranks in {NODES} nodes"
        ),
        metrics.LOSS_INCREASE.measured("loss minus that of gradients all-reduced in float32"),
        Metric(
            "gradient drift",
            "%",
            LOWER,
            "quality",
            "computed",
            "length of the difference between the sum of all gradients that were applied and that"
            " of the ranks’ true means, divided by the length of the latter",
        ),
        metrics.EQUALITY_ERROR.measured(
            "PowerSGD: largest difference between all that was sent with the last error and the sum"
            " of all gradients, as a share of the largest; hpZ: largest difference of a weight from"
            " ZeRO-3’s"
        ),
        metrics.BYTES_SENT.measured(
            f"bytes that a rank sends in a step on {TIMED_RANKS} ranks, scales and all, from the"
            " tensors that are handed over"
        ),
        Metric(
            "bytes between nodes",
            "MiB",
            LOWER,
            "communication",
            "counted",
            f"bytes that all ranks send in a step to the other node, {NODES} nodes of {PER_NODE}"
            " ranks",
        ),
        Metric(
            "bytes within nodes",
            "MiB",
            LOWER,
            "communication",
            "counted",
            f"bytes that all ranks send in a step to others of their node, {NODES} nodes of"
            f" {PER_NODE} ranks",
        ),
        Metric(
            "volume reduction",
            "x",
            HIGHER,
            "communication",
            "counted",
            "bytes between nodes of ZeRO-3 in 16 bits divided by the variant’s",
            "ZeRO-3",
        ),
        Metric(
            "second copy",
            "byte/parameter",
            LOWER,
            "memory",
            "counted",
            "bytes that a rank keeps from the forward to the backward pass so that its node has all"
            f" weights, divided by the model’s parameters; {NODES} nodes of {PER_NODE} ranks",
        ),
        metrics.STEP_TIME.measured(
            "wall clock of a step, until all ranks have done it, in turn, median of rounds; where"
            " no link is named, only through the machine’s memory"
        ),
        metrics.SPEED_UP.measured(
            "step time of the same way of training in 16 bits, bfloat16 or ZeRO-3, divided by the"
            " variant’s, in turn, median of rounds",
            relative_to="16 bits",
        ),
        Metric(
            "link share",
            "%",
            LOWER,
            "communication",
            "timed",
            "time that the link takes for what a node sends in a step, divided by the step time",
        ),
        Metric(
            "break-even link",
            "MB/s",
            HIGHER,
            "communication",
            "timed",
            "bytes that a rank sends less than in 16 bits, divided by what a step takes longer but"
            " for the link, median over all links and rounds: where a link is faster, compressing"
            " costs more time than it saves; none where a step takes no longer or sends no less",
        ),
    ),
    series=(Series("speed-up by link", "link", "MB/s", "speed-up"),),
    headline=(Headline("volume reduction", ZEROPP), Headline("loss increase", ZEROPP)),
    charts=(
        StudyChart(
            "trade",
            "Which sends less and ends with no greater loss? 16 bits are the baseline, not 32."
            " PowerSGD without feedback shows what is lost for good. bfloat16, qwZ and hpZ send"
            " about as much, and lie on each other.",
            x="bytes sent",
            y="loss",
        ),
        StudyChart(
            "curves",
            "Below 1 compressing takes longer than sending in 16 bits: on a slow link bytes decide,"
            " on a fast one what it takes to make them fewer.",
            series="speed-up by link",
        ),
        StudyChart(
            "bars",
            "Each part by itself saves a quarter to a third of what passes between nodes; together"
            " they save three quarters, less what the scales take.",
            y="volume reduction",
        ),
    ),
    answers=(
        Answer("wang2023zeropp-0", "221a7d4ca36e", volume),
        Answer("wang2023zeropp-1", "0e16dddaa7d1", speed),
    ),
    devices=("cpu",),
    accepts=("text",),
    needs=needs,
)
