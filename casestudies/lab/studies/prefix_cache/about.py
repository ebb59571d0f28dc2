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
from casestudies.lab.serving import declared
from casestudies.lab.studies.prefix_cache.claims import ANSWERS, AWARE, NONE, TREE

CHATS, MANY = "chats", "many tasks"  # traces beside that of a few tasks
OTHER_SHARES = (0.0, 0.75, 0.25, 0.9)  # of a prompt in common, beside the one asked for


class PrefixParameters(Parameters):
    """What a reader may set."""

    memory: int = parameter(
        8,
        "Memory for keys and values: for so many of the longest requests, prompt and answer",
        unit="requests",
        ge=1,
        le=64,
        role="workload",
    )
    requests: int = parameter(
        48, "Requests of a trace", unit="requests", ge=2, le=256, role="workload"
    )
    prompt: int = parameter(
        192, "Tokens of a prompt", unit="tokens", ge=16, le=1024, role="workload"
    )
    shared: float = parameter(
        0.5,
        "Share of a prompt that it has in common with others: the examples of its task",
        unit="fraction",
        ge=0.0,
        le=0.95,
        role="workload",
    )
    tasks: int = parameter(
        4,
        "Tasks, each with its own examples, of which one is drawn for each request; another trace"
        " has four times as many",
        unit="tasks",
        ge=1,
        le=64,
        role="workload",
    )
    longest_answer: int = parameter(
        16,
        "Longest answer; all lengths from one token on are equally likely",
        unit="tokens",
        ge=1,
        le=256,
        role="workload",
    )
    turns: int = parameter(
        6,
        "Turns of a chat, each of an eighth of a prompt and an answer of half as much",
        unit="turns",
        ge=2,
        le=32,
        role="workload",
    )
    chats: int = parameter(
        8, "Chats that go on at the same time", unit="chats", ge=1, le=64, role="workload"
    )
    block: int = parameter(16, "Tokens of a block", unit="tokens", ge=1, le=256, role="method")
    shares: int = parameter(
        2,
        "How many of the shares 0, 0.75, 0.25 and 0.9 are served too",
        unit="shares",
        ge=1,
        le=len(OTHER_SHARES),
        role="effort",
    )
    rounds: int = parameter(
        3, "Times that everything is served", unit="rounds", ge=2, le=100, role="effort"
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(60)


def needs(parameters: PrefixParameters) -> Needs:
    """Return the memory of the caches, beside what PyTorch and the text take."""
    p = parameters
    longest = max(p.prompt + p.longest_answer, p.turns * (p.prompt // 8 + p.prompt // 16))
    # Three ways are served side by side.
    held = 3 * p.memory * (longest + p.block) * 2 * p.layers * p.width * 4
    return Needs(memory_gib=1.5 + held / 2**30)


STUDY = Study(
    slug="prefix-cache",
    name="Prefix cache",
    subject="what several prompts begin with is read once",
    summary=(
        "Serves requests whose prompts begin with the same examples as others, and turns of chats,"
        " which begin with all that was said. Keys and values of what was read stay in a tree by"
        " their tokens as long as there is memory, and who begins with the same goes on from there"
        " (RadixAttention); the leaf that was not asked for longest makes room. Checks that all"
        " tokens are those of the request alone, counts what is not read again, and measures"
        " throughput and the time to the first token."
    ),
    limits=(
        "A small model in float32, prompts put together from pieces of text, each task equally"
        " likely, and all requests waiting from the beginning. SGLang's tree has edges of any"
        " length, and its paper compares with other systems, on other tasks. Prompts that begin at"
        " the same time each read what they have in common. How often real requests begin alike is"
        " not measured: the share in common is what decides, and it is set here. One trace of each"
        " kind is drawn and every round serves it."
    ),
    publications=("zheng2023sglang", "kwon2023vllm"),
    strategies=("kv-cache-management",),
    parameters=PrefixParameters,
    presets={
        SMOKE: Preset(
            0.15,
            {
                "memory": 2,
                "requests": 6,
                "prompt": 32,
                "tasks": 2,
                "longest_answer": 4,
                "turns": 2,
                "chats": 2,
                "block": 4,
                "shares": 1,
                "rounds": 2,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5),
        CLAIMS: Preset(3, {"requests": 96, "shares": 1, "rounds": 5}),
        FULL: Preset(30, {"requests": 128, "memory": 16, "shares": 4, "rounds": 15, "steps": 1000}),
    },
    variants=(
        Variant(NONE, "each request reads its whole prompt", "baseline"),
        Variant(TREE, "a tree holds what was read; first come, first served"),
        Variant(AWARE, "the same tree; who finds most of its prompt in it comes first"),
    ),
    settings=(
        Setting("shared", "share of a prompt that it has in common, where not the one asked for"),
        Setting("trace", "turns of chats, or four times as many tasks"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request alone, continued without the engine, up to the"
            " first that is not, of all tokens; least of all rounds"
        ),
        metrics.TOKENS_READ.measured(
            "tokens of prompts and answers that passes read for the whole trace"
        ),
        Metric(
            "in common",
            "%",
            NEITHER,
            "cost",
            "counted",
            "tokens in full blocks with which another prompt begins too, of all tokens of prompts",
        ),
        Metric(
            "reused",
            "%",
            HIGHER,
            "cost",
            "counted",
            "tokens of prompts that were in the tree and not read again, of all tokens of prompts",
        ),
        Metric(
            "evicted",
            "blocks",
            LOWER,
            "memory",
            "counted",
            "blocks that the tree gave back because the memory was full",
        ),
        Metric(
            "requests at once",
            "requests",
            HIGHER,
            "throughput",
            "counted",
            "requests that a pass computes for, mean of all passes",
        ),
        Metric(
            "requests per second",
            "request/s",
            HIGHER,
            "throughput",
            "timed",
            "requests divided by the time of the passes and of the tree, median of rounds",
        ),
        metrics.SPEED_UP.measured(
            "time without a tree divided by the variant's, pass by pass in turn; median of rounds",
            relative_to=NONE,
        ),
        metrics.TIME_TO_FIRST_TOKEN.measured(
            "from the beginning of a request to its first token, one request at a time, with a tree"
            " and without in turn; median of 16 requests, of which the first of each task finds"
            " nothing, median of rounds"
        ),
    ),
    series=(Series("speed-up by share in common", "share in common", "of a prompt", "speed-up"),),
    headline=(Headline("speed-up", TREE), Headline("reused", TREE)),
    charts=(
        StudyChart(
            "curves",
            "What a tree gains, by how much of a prompt others begin with. At nothing in common it"
            " is what keeping a tree costs.",
            series="speed-up by share in common",
        ),
        StudyChart(
            "bars",
            "How much of all prompts was not read again. The first of each task reads what is in"
            " common, and so do those that begin with it. Where the memory cannot hold all tasks,"
            " the order decides.",
            y="reused",
        ),
        StudyChart(
            "bars",
            "How long a request that is alone waits for its first token.",
            y="time to first token",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
)
