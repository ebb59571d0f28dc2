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
from casestudies.lab.studies.multi_lora.claims import (
    ANSWERS,
    BACKBONE,
    BATCHES,
    BY_TASK,
    COPIES,
    COPIES_THAT_FIT,
    FOR_EACH,
    FROM_PAGES,
    GATHERED,
    LOOP,
    SWITCH,
)


class MultiLoraParameters(Parameters):
    """What a reader may set."""

    adapters: int = parameter(
        64,
        "The most adapters that are asked for; from one on by eights",
        unit="adapters",
        ge=4,
        le=512,
        role="workload",
    )
    requests_each: int = parameter(
        FOR_EACH,
        "Requests for each adapter where all are asked for, and as many in all where fewer are",
        unit="requests",
        ge=1,
        le=8,
        role="workload",
    )
    slots: int = parameter(
        16, "Requests that are computed for at once", unit="slots", ge=2, le=64, role="workload"
    )
    rank: int = parameter(
        2, "Rank of an adapter, of each linear layer", unit="rank", ge=1, le=64, role="workload"
    )
    spare: int = parameter(
        4,
        "Adapters for which the pool has room beside those of a batch",
        unit="adapters",
        ge=0,
        le=512,
        role="method",
    )
    longest_prompt: int = parameter(
        32,
        "Longest prompt; all lengths from half of it on are equally likely",
        unit="tokens",
        ge=2,
        le=512,
        role="workload",
    )
    longest_answer: int = parameter(
        32,
        "Longest answer, of each request of a batch of distinct adapters; where many requests wait"
        " all lengths from one token to half of it are equally likely",
        unit="tokens",
        ge=2,
        le=512,
        role="workload",
    )
    rounds: int = parameter(
        2, "Times that everything is served", unit="rounds", ge=2, le=100, role="effort"
    )
    width: int = declared.width()
    layers: int = declared.layers()
    steps: int = declared.steps(60)


def needs(parameters: MultiLoraParameters) -> Needs:
    """Return the memory of copies and adapters, beside what PyTorch and the text take."""
    p = parameters
    model = 4 * (12 * p.layers * p.width**2 + 1024 * p.width)
    # A copy for each of a batch, and adapters that fill the cap, in the pool and beside it.
    return Needs(memory_gib=1.5 + (p.slots + 2 * COPIES_THAT_FIT + 6) * model / 2**30)


STUDY = Study(
    slug="multi-lora",
    name="Many adapters on one model",
    subject="requests that each have an adapter of their own, in one batch",
    summary=(
        "Keeps one copy of a model for many tasks. The adapters of a batch, a few numbers for each"
        " layer, are gathered from a paged pool and applied beside the layer's product, to each"
        " request its own. The alternatives merge an adapter into the weights: into one copy that"
        " serves one task after another, or into a copy for each task. The study checks that every"
        " request gets the tokens of a merged copy of its own, counts bytes and tasks that fit, and"
        " measures throughput as the adapters grow in number."
    ),
    limits=(
        "A small model that is trained in the run, in float32; its adapters are drawn at random,"
        " strong enough to change most answers, since bytes and times do not depend on what they"
        " learned. With a small model starting operations weighs more than reading weights: that"
        " favours whatever shares a pass, and makes adapters dearer than a kernel that is made for"
        " them, as those of Punica and S-LoRA are. The host's memory is the same memory on a CPU,"
        " so bringing an adapter in costs a copy and no transfer. The pool holds adapters only;"
        " caches have all the room that they need. All requests wait from the beginning, so each"
        " adapter is merged once and its requests share their passes: with a few requests for each"
        " adapter, switching has few to share a pass."
    ),
    publications=("chen2023punica", "sheng2023slora", "zhou2022pets"),
    strategies=("multi-tenant-adapters",),
    parameters=MultiLoraParameters,
    presets={
        SMOKE: Preset(
            0.1,
            {
                "adapters": 12,
                "requests_each": 2,
                "slots": 4,
                "rank": 1,
                "spare": 2,
                "longest_prompt": 8,
                "longest_answer": 4,
                "rounds": 2,
                "width": 64,
                "layers": 1,
                "steps": 2,
            },
        ),
        QUICK: Preset(1.5, {"adapters": 48, "requests_each": 2, "longest_answer": 24, "steps": 40}),
        CLAIMS: Preset(5.5, {"rounds": 5}),
        # The same number of requests: four for each where 64 adapters are asked for.
        FULL: Preset(
            20, {"adapters": 256, "requests_each": 1, "rounds": 15, "width": 512, "rank": 4}
        ),
    },
    variants=(
        Variant(BACKBONE, "the shared weights without any adapter: other answers", "control"),
        Variant(
            COPIES, "a full copy for each task, merged before; one task after another", "baseline"
        ),
        Variant(
            SWITCH,
            "one more copy of the layers' weights, into which the adapter of one task after"
            " another is merged; requests of one task share its passes",
            "baseline",
        ),
        Variant(BY_TASK, "adapters beside the weights, but only one task in a pass", "baseline"),
        Variant(LOOP, "all tasks share a pass; adapters are applied one after another", "ablation"),
        Variant(GATHERED, "all tasks share a pass; the adapters of a batch are applied at once"),
        Variant(
            FROM_PAGES,
            "adapters are read where they lie in the pool by a kernel of ours, in Triton; of one"
            " layer, on a GPU only",
        ),
    ),
    settings=(
        Setting("adapters", "adapters that are asked for, about as often each, in a random order"),
        Setting("queries", "queries of each task that wait together"),
    ),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the request by itself from a copy with its adapter merged,"
            " continued without the engine, up to the first that is not, of all tokens; least of"
            " all rounds and workloads"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit from a merged copy's after a prompt, in a batch of"
            " prompts of many lengths for adapters of three kinds; read from pages, of one layer's"
            " output from that of merged weights"
        ),
        Metric(
            "adapter size",
            "%",
            LOWER,
            "memory",
            "counted",
            "bytes of an adapter of low rank divided by the model's",
        ),
        Metric(
            "layer time",
            "ms",
            LOWER,
            "latency",
            "timed",
            "wall clock of one layer of the feed-forward network for a token of each of so many"
            " tasks, gathering or merging included, alternating, median of rounds",
        ),
        Metric(
            "requests per second",
            "request/s",
            HIGHER,
            "throughput",
            "timed",
            "requests divided by wall clock, if all wait from the beginning; pass by pass in turn,"
            " median of rounds",
        ),
        metrics.SPEED_UP.measured(
            "time of merging and switching divided by the variant's for the same requests, pass by"
            " pass in turn, median of rounds",
            relative_to=SWITCH,
        ),
        metrics.BYTES_MOVED.measured(
            "bytes of adapters brought into the pool, or of merged weights written, to serve all"
            " requests"
        ),
        Metric(
            "memory held",
            "MiB",
            LOWER,
            "memory",
            "counted",
            "bytes of the weights, and the most that the allocator held beside them, with the copy"
            f" of layers or the pool, while the first {BATCHES} batches of requests were served;"
            " adapters in the host's memory aside",
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "tokens of one batch, each request with its own adapter, divided by wall clock; median"
            " of rounds"
        ),
        Metric(
            "gain over each alone",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of a merged copy for each request of that batch, one after another, divided by"
            " the variant's, median of rounds",
            relative_to=COPIES,
        ),
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of a pass that adds a token to each request of that batch after its prompt,"
            " alternating, median"
        ),
        Metric(
            "added time",
            "%",
            LOWER,
            "latency",
            "timed",
            "time per token in that batch over that of the backbone alone just before it, less one,"
            " once the adapters are gathered: what was gathered is kept; median",
        ),
        Metric(
            "queries per second",
            "query/s",
            HIGHER,
            "throughput",
            "timed",
            "queries of one token divided by wall clock, for tasks whose adapters are of low rank,"
            " biases, or a few changed weights in turn; median of rounds",
        ),
        Metric(
            "gain over task by task",
            "x",
            HIGHER,
            "throughput",
            "timed",
            "time of these queries task by task divided by the variant's, pass by pass in turn,"
            " median of rounds",
            relative_to=BY_TASK,
        ),
        Metric(
            "tasks that fit",
            "tasks",
            HIGHER,
            "scale",
            "counted",
            f"tasks whose weights, adapters and the activations of one batch fit in the bytes of"
            f" {COPIES_THAT_FIT} full copies, whose own activations are not counted",
        ),
        Metric(
            "tasks that answer alike",
            "fraction",
            HIGHER,
            "quality",
            "computed",
            "of those that fit, tasks whose tokens are all those of a merged copy of their own",
        ),
        Metric(
            "share of the cap",
            "fraction",
            NEITHER,
            "memory",
            "counted",
            "bytes of weights and of the pool with all tasks that fit, and the most that the"
            f" allocator held beside them while the first {BATCHES} batches of tasks were served,"
            " divided by the cap",
        ),
    ),
    series=(
        Series("requests per second by adapters", "adapters", "", "requests per second"),
        Series("layer time by adapters", "adapters", "", "layer time"),
    ),
    headline=(
        Headline("gain over each alone", GATHERED),
        Headline("added time", GATHERED),
        Headline("tasks that fit", GATHERED),
    ),
    charts=(
        StudyChart(
            "curves",
            "With one adapter for all requests, merging it is best. With each adapter more,"
            " switching has fewer requests for a pass and merges once more; where the adapters are"
            " gathered all share passes. The distance to the backbone alone is what they cost.",
            series="requests per second by adapters",
        ),
        StudyChart(
            "curves",
            "The same within one layer. Merging writes all of its weights for each adapter, one by"
            " one copies from the pool and starts its operations for each, and gathered does so"
            " once for all.",
            series="layer time by adapters",
        ),
        StudyChart(
            "bars",
            "How many tasks the memory of eight copies holds, when what differs between tasks is"
            " kept once for each and the rest once for all.",
            y="tasks that fit",
        ),
    ),
    answers=ANSWERS,
    accepts=("text",),
    needs=needs,
    gpu_only=frozenset({FROM_PAGES}),
)
