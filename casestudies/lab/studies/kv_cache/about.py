"""What the study is, what may be set, and what it measures."""

from casestudies.lab import metrics
from casestudies.lab.contract import (
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
from casestudies.lab.metrics import LOWER, Metric


class KeyValueCacheParameters(Parameters):
    """What a reader may set."""

    prompt: int = parameter(
        64, "Tokens that are there at the beginning", unit="tokens", ge=1, le=4096, role="workload"
    )
    tokens: int = parameter(
        48, "Tokens that are added, one by one", unit="tokens", ge=1, le=1024, role="workload"
    )
    sequences: int = parameter(
        1, "Texts that are continued together", unit="sequences", ge=1, le=64, role="workload"
    )
    longest: int = parameter(
        1024,
        "Longest text before a token at which a step's time is measured, from 32 on by fours",
        unit="tokens",
        ge=32,
        le=8192,
        role="workload",
    )
    rounds: int = parameter(
        7, "Times that each step is measured", unit="rounds", ge=2, le=100, role="effort"
    )


def needs(parameters: KeyValueCacheParameters) -> Needs:
    """Return the model's memory, and that of the activations of the longest text."""
    read = parameters.sequences * max(parameters.longest, parameters.prompt + parameters.tokens)
    return Needs(memory_gib=1.5 + read * 50e3 / 2**30)


STUDY = Study(
    slug="kv-cache",
    name="Key-value cache",
    subject="what keeping keys and values saves, and what it holds",
    summary=(
        "Continues a text token by token, once reading all of it again for each token and once with"
        " the keys and values of past tokens kept; checks that both say the same, and measures what"
        " a step costs as the text grows and how much memory that takes."
    ),
    limits=(
        "One small model with three key-value heads for nine query heads, in float32, on one"
        " machine. Where weights and cache come from fast memory the step's time is theirs to read;"
        " on a CPU much of it is overhead. Paging, sharing and quantizing the cache are studies of"
        " their own."
    ),
    publications=("pope2022efficiently", "ainslie2023gqa", "kwon2023vllm"),
    strategies=("kv-cache-management",),
    parameters=KeyValueCacheParameters,
    presets={
        SMOKE: Preset(0.2, {"prompt": 8, "tokens": 4, "longest": 32, "rounds": 2}),
        QUICK: Preset(1),
        FULL: Preset(6, {"tokens": 128, "longest": 2048, "rounds": 15}),
    },
    variants=(
        Variant("no cache", "every step reads the whole text again", "baseline"),
        Variant("cache", "every step reads the last token; keys and values of the others are kept"),
        Variant(
            "cache of every head",
            "what the cache would hold if each query head had keys and values of its own",
            "control",
        ),
    ),
    settings=(Setting("context", "tokens before the one that is computed", "tokens", one="token"),),
    metrics=(
        metrics.SAME_TOKENS.measured(
            "tokens that are those of the method without a cache, up to the first that is not,"
            " divided by all; the likeliest token is taken each time"
        ),
        metrics.EQUALITY_ERROR.measured(
            "largest difference of a logit from that of the method without a cache, over all steps"
            " and tokens of the vocabulary"
        ),
        metrics.TOKENS_READ.measured(
            "tokens that pass through the model's blocks to add those asked for, of one sequence"
        ),
        metrics.CACHE_BYTES.measured(
            "bytes of keys and values held for prompt and added tokens, read from the cache itself;"
            " of every head by the equation “keys and values of a token”"
        ),
        Metric(
            "cache per token",
            "KiB",
            LOWER,
            "memory",
            "counted",
            "cache size divided by sequences and tokens",
        ),
        Metric(
            "tokens as large as the weights",
            "tokens",
            metrics.HIGHER,
            "memory",
            "counted",
            "bytes of the weights divided by the cache's bytes per token",
        ),
        metrics.TIME_PER_TOKEN.measured(
            "wall clock of one step after a context of this length, alternating, median of rounds"
        ),
        metrics.SPEED_UP.measured(
            "time of a step without a cache divided by that of one with it, after the same context,"
            " alternating, median of rounds",
            relative_to="no cache",
        ),
        metrics.PEAK_MEMORY.measured(
            "largest memory of the process while it adds all tokens; on a GPU, of its allocator"
        ),
    ),
    series=(Series("time per token by context", "context", "tokens", "time per token"),),
    headline=(Headline("same tokens", "cache"), Headline("cache per token", "cache")),
    charts=(
        StudyChart(
            "curves",
            "Without a cache a step takes longer with every token before it. With one it reads one"
            " token, and what still grows is reading the cache.",
            series="time per token by context",
        ),
        StudyChart(
            "bars",
            "What is kept for the same text: the model's three key-value heads, and the nine that"
            " it would have if no heads were shared.",
            y="cache size",
        ),
    ),
    accepts=("model", "text"),
    needs=needs,
    isolated=True,
)
