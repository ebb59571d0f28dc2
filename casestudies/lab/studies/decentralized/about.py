"""What the study is, what may be set, and what it measures."""

from typing import Literal

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
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.studies.decentralized.claims import (
    ALONE,
    ANSWERS,
    CHAIN,
    CODED,
    GAIN,
    STREAMED,
)
from casestudies.lab.studies.decentralized.routing import CHANCE, FURTHEST, INFORMED, PATH
from casestudies.lab.studies.decentralized.swarm import FIXED, REBALANCED, WIRED

FORMULA = "the formula"
REPLAYED, ANEW = "peer lost, replayed", "peer lost, begun anew"
BY_TRIP, BY_RATE = "time per token by round trip", "gain by weights passed, computed"
BY_LOSSES = "batches by losses, by replay"
BY_CLIENTS = "servers’ time in use by clients at once, by replay"
IN_USE = "servers’ time in use, by replay"
MOST_STAGES = 3  # with the client 4 ranks, no more than the rule of the claim asks for


class DecentralizedParameters(Parameters):
    """What a reader may set."""

    stages: int = parameter(
        2,
        "Peers that hold the blocks between them",
        unit="peers",
        ge=2,
        le=MOST_STAGES,
        role="workload",
    )
    blocks: int = parameter(
        256, "Most blocks of the model that are used, from the first on", unit="blocks",
        ge=MOST_STAGES, le=256, role="workload",
    )  # fmt: skip
    prompts: int = parameter(2, "Texts to continue", unit="texts", ge=1, le=64, role="workload")
    prompt: int = parameter(32, "Length of a prompt", unit="tokens", ge=2, le=512, role="workload")
    answer: int = parameter(8, "Length of an answer", unit="tokens", ge=4, le=512, role="workload")
    block: Literal[16, 32, 64] = parameter(
        64, "Numbers that share a scale where activations are sent in 8 bits", unit="numbers",
        role="method",
    )  # fmt: skip
    link: float = parameter(
        100, "Rate of each peer’s emulated link", unit="Mbit/s", ge=1, le=10_000, role="workload"
    )
    round_trip: int = parameter(
        100, "Longest round trip of the emulated link; a fifth and half of it are tried too",
        unit="ms", ge=10, le=1000, role="workload",
    )  # fmt: skip
    rounds: int = parameter(
        5, "Times that each way is timed", unit="rounds", ge=2, le=50, role="effort"
    )
    windows: int = parameter(
        4, "Windows of 128 tokens of which the perplexity is", unit="windows", ge=1, le=1000,
        role="effort",
    )  # fmt: skip
    batches: int = parameter(
        5000, "Batches of the replay of SWARM", unit="batches", ge=100, le=100_000, role="effort"
    )
    peers: int = parameter(
        8, "Peers of each of four stages, in the replay", unit="peers", ge=2, le=64,
        role="workload",
    )  # fmt: skip
    spread: float = parameter(
        4, "Speed of the fastest possible peer over the slowest, in the replay", unit="x",
        ge=1, le=64, role="workload",
    )  # fmt: skip


def needs(parameters: DecentralizedParameters) -> Needs:
    """Return memory for the model twice and its blocks as often as peers have them."""
    return Needs(memory_gib=5 + 0.3 * parameters.stages)


STUDY = Study(
    slug="decentralized",
    name="Decentralized execution",
    subject="peers that come and go, over slow links, run one model together",
    summary=(
        "A client continues texts with a language model whose blocks are held by peers, other"
        " processes, behind emulated slow links; what passes is rounded to 8 bits, as in Petals."
        " Checks that the tokens are those of one process, kills a peer amid an answer and goes on"
        " with another that is told what the lost one had been sent, and holds the time of a token"
        " against a formula, which then speaks of 176 GB of weights and 14 peers beside weights"
        " that are streamed from the host. On paper, with costs of this run, batches go through"
        " peers that differ and fail, by SWARM’s wiring and in fixed pipelines, and clients find"
        " their chains as Petals’ do and in other ways."
    ),
    limits=(
        "Links are emulated on one machine: no lost packets, no jitter, no firewalls, equal"
        " rates. One client at a time, but on paper. What is said of 176 GB is computed by the"
        " formula, with what a token’s pass through weights takes on this machine, on both sides;"
        " streaming is given perfect overlap and the bus’s full rate. A core passes weights more"
        " slowly than the bus carries them, so only a run on a GPU speaks of peers with GPUs."
        " SWARM is computed by replay: a batch’s way forward stands for both ways of training,"
        " failures are known at once, and the peers’ speeds and lives are drawn, not observed."
        " Petals’ servers are drawn too, with places and room: clients know all servers and times"
        " exactly, no cache is full, and a server does one token at a time, where it would do"
        " those of several clients together more quickly. Peers that lie are not looked at, nor is"
        " privacy."
    ),
    publications=("borzunov2022petals", "ryabinin2023swarm"),
    strategies=(
        "decentralized-execution",
        "fault-tolerance",
        "pipeline-parallelism",
        "heterogeneous-hardware",
    ),
    parameters=DecentralizedParameters,
    presets={
        SMOKE: Preset(
            0.2,
            {
                "blocks": 4,
                "prompts": 1,
                "prompt": 4,
                "answer": 4,
                "round_trip": 10,
                "rounds": 2,
                "windows": 1,
                "batches": 100,
                "peers": 2,
            },
        ),
        QUICK: Preset(1.2),
        # The rule's 30 % asks for times that are steady.
        CLAIMS: Preset(2.5, {"rounds": 9, "answer": 10}),
        FULL: Preset(
            20, {"prompts": 16, "answer": 64, "rounds": 9, "windows": 200, "batches": 50_000}
        ),
    },
    variants=(
        Variant(ALONE, "one process holds all blocks", "baseline"),
        Variant(
            STREAMED,
            "one device, to which all weights come for each token while it computes; computed",
            "baseline",
        ),
        Variant(CHAIN, "peers hold the blocks, activations are sent in float32", "ablation"),
        Variant(CODED, "activations are sent in 8 bits, a scale for each block of them"),
        Variant(FORMULA, "one process’s time and the link’s, for the chain in 8 bits", "control"),
        Variant(REPLAYED, "another peer is sent again what the lost one had been sent, in 8 bits"),
        Variant(ANEW, "all peers forget, and read all tokens so far in one pass", "baseline"),
        Variant(FIXED, "pipelines of equally fast peers that stay; replayed", "baseline"),
        Variant(WIRED, "each batch goes to a living peer with least to do; replayed"),
        Variant(REBALANCED, "and peers go to the stage with most to do; replayed"),
        Variant(CHANCE, "one of those that hold the next block, by chance; replayed", "baseline"),
        Variant(FURTHEST, "the one of them whose range ends last; replayed", "baseline"),
        Variant(PATH, "Petals’ chain of least time, each server to the end of its range; replayed"),
        Variant(
            INFORMED,
            "and a server’s time is shared with those who chose before; not Petals’; replayed",
            "control",
        ),
    ),
    settings=(
        Setting("round_trip", "of the emulated link", "ms round trip"),
        Setting("computing", "what a token’s pass through weights takes"),
        Setting("losses", "times that a peer is lost in 1,000 passes", "losses in 1,000 passes"),
        Setting("clients", "clients at once", "clients", one="client"),
        Setting("width", "numbers of a token’s hidden state", "wide"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens of answers that are those of one process, up to the first that is not; after a"
            " loss those of the chain that loses none; in 8 bits the likeliest next token after"
            " each of the perplexity’s, given the same text"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit: the chain from one process, and after a loss from the"
            " chain that loses none"
        ),
        metrics.PERPLEXITY,
        Metric(
            "bytes of a token",
            "kB",
            LOWER,
            "communication",
            "counted",
            "bytes that pass for one token, to all peers and back, without the heads of messages",
        ),
        metrics.TIME_PER_TOKEN.measured(
            "mean of an answer’s tokens after the first; median of rounds"
        ),
        metrics.PREDICTION_ERROR.measured(
            "how far the timed chain is from one process’s time and the emulated link’s, by the"
            " formula; median of rounds"
        ),
        Metric(
            "read again",
            "token-blocks",
            LOWER,
            "cost",
            "counted",
            "tokens that a block had to read once more because a peer was lost",
        ),
        Metric(
            "stall",
            "ms",
            LOWER,
            "latency",
            "timed",
            "the token during which the peer is lost, its successor’s reading of weights from a"
            " file included; no round trip is added",
        ),
        Metric(
            "weights passed",
            "GB/s",
            HIGHER,
            "throughput",
            "timed",
            "bytes of weights that one token passes in a second, in a block of Llama 3.2 1B on a"
            " CPU (float32) and of Llama 3.1 8B on a GPU (bfloat16); one core or GPU",
        ),
        Metric(
            GAIN,
            "x",
            HIGHER,
            "latency",
            "timed",
            "time of a token with 176 GB streamed at 256 Gbit/s, divided by that through 14 peers"
            " with 100 Mbit/s and 100 ms round trip; by the formula; its weights of 8 bits"
            " are taken to pass as fast, byte by byte, as those that were timed",
            relative_to=STREAMED,
        ),
        Metric(
            "weights passed for 3x",
            "GB/s",
            LOWER,
            None,
            "computed",
            "rate at which peers must pass weights, so that the chain is three times as fast",
        ),
        Metric(
            "operations a byte",
            "operation/byte",
            HIGHER,
            "communication",
            "computed",
            "operations of a layer for 512 tokens, divided by the bytes that pass from it in 8"
            " bits; counted by the equations",
        ),
        Metric(
            "batches, by replay",
            "batch/s",
            HIGHER,
            "throughput",
            "timed",
            "batches that pass all stages in a second, with a stage’s time of this run",
        ),
        Metric(
            "share of the cut, by replay",
            "fraction",
            HIGHER,
            "scale",
            "timed",
            "batches divided by what the living peers of the narrowest stage could have passed in"
            " the same time; more than 1 is impossible",
        ),
        Metric(
            IN_USE,
            "fraction",
            HIGHER,
            "throughput",
            "timed",
            "tokens of all clients, divided by those if all servers always had work; median of"
            " swarms that are drawn; more than 1 is impossible",
        ),
    ),
    series=(
        Series(BY_TRIP, "round trip", "ms", "time per token"),
        Series(BY_RATE, "weights passed", "GB/s", GAIN),
        Series(BY_LOSSES, "losses of a peer in 1,000 passes", "losses", "batches, by replay"),
        Series(BY_CLIENTS, "clients at once", "clients", IN_USE),
    ),
    headline=(
        Headline("same tokens", REPLAYED),
        Headline(GAIN, CODED, {"computing": "as measured"}),
    ),
    charts=(
        StudyChart(
            "curves",
            "Computed for 176 GB. On the left passing the weights takes so long that neither bus"
            " nor links matter; on the right the chain waits for its round trips alone. Where this"
            " machine stands is in the table.",
            series=BY_RATE,
        ),
        StudyChart(
            "curves",
            "Without losses pipelines of equals do as well as SWARM’s wiring. The more peers are"
            " lost, the more pipelines stand still with them, while a batch finds another peer.",
            series=BY_LOSSES,
        ),
        StudyChart(
            "curves",
            "Petals’ shortest path is best for one client. With many it soon carries no more: all"
            " take the same quick servers and wait for each other, and chains by chance overtake"
            " it. A path that knows how many use a server already carries most.",
            series=BY_CLIENTS,
        ),
    ),
    answers=ANSWERS,
    accepts=("model", "text"),
    needs=needs,
)
