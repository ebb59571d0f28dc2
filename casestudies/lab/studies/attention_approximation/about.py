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
from casestudies.lab.metrics import HIGHER, LOWER, Metric
from casestudies.lab.studies.attention_approximation.claims import (
    ANSWERS,
    BY_BATCH,
    BY_HEADS,
    CHIPS,
    FULL_CACHE,
    GROUPED,
    HEAVY,
    MULTI_HEAD,
    RECENT,
    RECOMPUTED,
    SHARED,
    SINKS,
)


class AttentionApproximationParameters(Parameters):
    """What a reader may set."""

    sinks: int = parameter(
        4,
        "First tokens that a rolling cache keeps besides the latest",
        unit="tokens",
        ge=1,
        le=5,
        role="method",
    )
    length: int = parameter(
        512,
        "Length of a text; the smallest cache holds a sixteenth of it",
        unit="tokens",
        ge=128,
        le=8192,
        multiple_of=16,
        role="workload",
    )
    texts: int = parameter(
        2,
        "Texts of which the last quarter is predicted",
        unit="texts",
        ge=1,
        le=64,
        role="workload",
    )
    largest_window: int = parameter(
        512,
        "Largest window that is timed, from 128 on by twos",
        unit="tokens",
        ge=128,
        le=4096,
        role="workload",
    )
    context: int = parameter(
        2048,
        "Tokens in the full cache against which a fifth of it is timed",
        unit="tokens",
        ge=64,
        le=8192,
        role="workload",
    )
    sequences: int = parameter(
        2,
        "Sequences with a full cache; with a fifth of it as many more as fit",
        unit="sequences",
        ge=1,
        le=16,
        role="workload",
    )
    rounds: int = parameter(
        3, "Times that each step is timed", unit="rounds", ge=2, le=100, role="effort"
    )
    width: int = parameter(
        256,
        "Width of the model that is trained with a key-value head for each of its heads",
        unit="numbers a token",
        ge=128,
        le=1024,
        multiple_of=128,
        role="workload",
    )
    layers: int = parameter(
        2, "Blocks of the model that is trained", unit="blocks", ge=1, le=12, role="workload"
    )
    steps: int = parameter(
        200,
        "Steps of training, of 16 windows of 64 tokens each; a twentieth more after merging heads",
        unit="steps",
        ge=1,
        le=100_000,
        role="workload",
    )
    ranks: int = parameter(
        4,
        "Most ranks on which a cache is split, from 2 on by twos",
        unit="ranks",
        ge=2,
        le=4,
        multiple_of=2,
        role="workload",
    )


def needs(parameters: AttentionApproximationParameters) -> Needs:
    """Return the memory of the model twice, of all scores of a text and of the largest caches."""
    p = parameters
    scores = 4 * 9 * p.length**2 * 4
    held = 3 * max(p.sequences * p.context, p.largest_window) * 46_080
    return Needs(memory_gib=3 + (scores + held) / 2**30, libraries=("numpy",))


STUDY = Study(
    slug="attention-approximation",
    name="Approximate attention",
    subject="a cache that forgets tokens, or shares its heads",
    summary=(
        "Lets a pretrained model read long texts while its cache of keys and values holds only part"
        " of them: the latest tokens, the same with a few first ones, or those that drew most"
        " attention; and compares what it then predicts, bytes and time a token with the full cache"
        " and with reading a window again. Merges the key-value heads of a model trained in the"
        " run, and trains it a little more."
    ),
    limits=(
        "A model of 135 million parameters that already shares three key-value heads among nine"
        " heads, and texts that it could read whole: whether a forgotten token is missed later, as"
        " when something far back is asked for, is not seen in perplexity. The times are of a CPU"
        " in float32, where weights take most of a step; on a GPU with many sequences the cache"
        " does. The merged model is small and trained for a minute or so."
    ),
    publications=(
        "xiao2023streamingllm",
        "zhang2023h2o",
        "ainslie2023gqa",
        "pope2022efficiently",
    ),
    strategies=("attention-approximation", "kv-cache-management"),
    parameters=AttentionApproximationParameters,
    presets={
        SMOKE: Preset(
            0.25,
            {
                "length": 128,
                "texts": 1,
                "largest_window": 128,
                "context": 64,
                "sequences": 1,
                "rounds": 2,
                "width": 128,
                "layers": 1,
                "steps": 8,
                "ranks": 2,
            },
        ),
        QUICK: Preset(1.5, {"length": 320, "context": 1024, "steps": 160}),
        CLAIMS: Preset(4, {"length": 1024, "largest_window": 1024, "sequences": 4, "steps": 600}),
        FULL: Preset(
            30,
            {
                "length": 2048,
                "texts": 4,
                "largest_window": 2048,
                "sequences": 4,
                "rounds": 15,
                "layers": 4,
                "steps": 2000,
            },
        ),
    },
    variants=(
        Variant(FULL_CACHE, "keys and values of every token are held", "baseline"),
        Variant(RECENT, "a rolling cache of the latest tokens, none of the first", "baseline"),
        Variant(
            RECOMPUTED,
            "no cache: for each token the latest ones are read again, the first of them at position"
            " 0",
            "baseline",
        ),
        Variant(SINKS, "a rolling cache of the first tokens and the latest (StreamingLLM)"),
        Variant(
            HEAVY,
            "the latest tokens, and as many older ones that drew most attention, chosen for each"
            " key-value head (H2O)",
        ),
        Variant(
            MULTI_HEAD, "the trained model, each head with keys and values of its own", "baseline"
        ),
        Variant(GROUPED, "four heads share a key-value head, the mean of theirs (GQA)"),
        Variant(SHARED, "all heads share one key-value head, the mean of theirs (multi-query)"),
        Variant(
            BY_HEADS, "a layer with as many key-value heads as heads, some on each rank", "baseline"
        ),
        Variant(BY_BATCH, "a layer with one wider key-value head, some sequences on each rank"),
    ),
    settings=(
        Setting(
            "budget",
            "most tokens of a text that the cache holds or a window has",
            "tokens",
            one="token",
        ),
        Setting("sequences", "sequences that take a step together", "sequences", one="sequence"),
        Setting("when", "before or after a twentieth more steps of training"),
        Setting("ranks", "devices that share the cache", "ranks", one="rank"),
    ),
    metrics=(
        metrics.PERPLEXITY.measured(
            "exp of the mean negative log-likelihood of the last quarter of each text, from"
            " documents of the evaluation part, predicted with what the cache holds by then"
        ),
        metrics.PERPLEXITY_RATIO.measured(
            "perplexity divided by that with the full cache, on the same tokens",
            relative_to=FULL_CACHE,
        ),
        Metric(
            "perplexity over recomputed",
            "x",
            LOWER,
            "quality",
            "computed",
            "perplexity of the last quarter of texts sixteen times as long as the cache, divided by"
            " that of reading as many latest tokens again for each",
            relative_to=RECOMPUTED,
        ),
        metrics.CACHE_BYTES.measured(
            "bytes of keys and values of one text, the equation “keys and values of all sequences”,"
            " which the caches equal; what decides who leaves takes 2.3 % more"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit: a rolling or heavy-hitter cache with room for the text,"
            " token by token, from the model's own; with less room from attention to the whole text"
            " that hides what was dropped; split over ranks, of an output from one process's"
        ),
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of one step of all sequences, with full caches, alternating, median of"
            " rounds"
        ),
        metrics.SPEED_UP.measured(
            "time of reading the window again divided by the variant's, alternating, median of"
            " rounds",
            relative_to=RECOMPUTED,
        ),
        metrics.TOKENS_PER_SECOND.measured(
            "sequences divided by the time of one step; as many sequences as have the same bytes of"
            " keys and values"
        ),
        metrics.LOSS.measured(
            "mean negative log-likelihood of the trained model on NumPy's docstrings, of modules"
            " kept from training"
        ),
        Metric(
            "gap closed",
            "%",
            HIGHER,
            "quality",
            "computed",
            "share of the loss that merging the heads cost which a twentieth of the steps of"
            " training makes up for, against multi-head after the same steps; each at the best of"
            " three learning rates, chosen on text of its own",
        ),
        Metric(
            "cache per device and token",
            "bytes",
            LOWER,
            "memory",
            "counted",
            "bytes of a layer's keys and values in float32 that the fullest rank holds, divided by"
            f" the tokens of all sequences; at {CHIPS} ranks by the equation “keys and values of a"
            " token”, for 64 heads of 128 and one of 256",
        ),
    ),
    series=(
        Series("perplexity by cache size", "cache size", "MiB", "perplexity"),
        Series("time per token by window", "window", "tokens", "time per token"),
    ),
    headline=(
        Headline("perplexity over recomputed", SINKS),
        Headline("perplexity over recomputed", RECENT),
        Headline("gap closed", GROUPED),
    ),
    charts=(
        StudyChart(
            "curves",
            "What is lost by holding less, beside the full cache at the right. Without the first"
            " tokens the model breaks however many of the latest it has; with four of them, or with"
            " those that drew attention, little is lost until the cache is small.",
            series="perplexity by cache size",
        ),
        StudyChart(
            "curves",
            "Reading the window again takes longer the larger it is. A rolling cache reads one"
            " token, whatever it holds.",
            series="time per token by window",
        ),
        StudyChart(
            "bars",
            "Merging heads raises the loss. Look at how near to multi-head, which is trained on as"
            " well, a few more steps bring it, with grouped heads and with one shared head.",
            y="loss",
        ),
    ),
    answers=ANSWERS,
    accepts=("model", "text"),
    needs=needs,
)
