"""How a run speaks to the claims, each by the rule that stands with it in the fixtures."""

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.equations.inference_memory import kv_bytes_per_token
from casestudies.lab.result import Result

FULL_CACHE, RECENT, RECOMPUTED = "full cache", "recent tokens", "recomputed window"
SINKS, HEAVY = "sinks and recent", "heavy hitters"
MULTI_HEAD, GROUPED, SHARED = "multi-head", "grouped heads", "shared head"
BY_HEADS, BY_BATCH = "split by heads", "shared head, split by batch"

BEFORE, AFTER = "before extra steps", "after extra steps"

# What the rules ask for.
WINDOWS = (128, 256, 512, 1024)
CONTEXT = 2048
KEPT = 0.2  # of the cache
RANKS = (2, 4)
CHIPS, CHIPS_HEADS, CHIPS_WIDTH, CHIPS_SHARED_WIDTH = 64, 64, 128, 256

STREAM = 16  # times the cache
LEAST_STEPS = 100  # after fewer the model says little more than how often a token occurs
# The layer whose cache is counted on ranks.
SPLIT_HEADS, SPLIT_WIDTH, SPLIT_SHARED_WIDTH = 8, 16, 32
FLOAT32_BYTES = 4


def kept(tokens: int) -> int:
    """Return the tokens of so many that are held where the rules ask for 20 %."""
    return int(KEPT * tokens)


def larger_batch(context: int, sequences: int) -> int:
    """Return how many sequences with 20 % kept fit where so many with all of it do."""
    return sequences * context // kept(context)


def held_by_formula(heads: int, head_width: int, ranks: int) -> float:
    """Return the bytes of a layer's keys and values for a token on each of so many devices."""
    held = kv_bytes_per_token(
        layers=1, kv_heads=heads, head_dim=head_width, number_bytes=FLOAT32_BYTES
    )
    return held / ranks


def uptraining(result: Result) -> Judgement:
    """GQA 0: 5 % of the steps make up for what merging the heads cost."""
    if result.whole("steps") < LEAST_STEPS:
        return not_run(f"the model of this run was trained for fewer than {LEAST_STEPS} steps")
    closed = result.value("gap closed", GROUPED)
    after = {name: result.value("loss", name, when=AFTER) for name in (MULTI_HEAD, GROUPED)}
    apart = after[GROUPED] - after[MULTI_HEAD]
    return judged(
        Number("gap closed", closed, "%"),
        Number("loss above multi-head after the same steps", apart, "nats"),
        agrees=closed >= 90 and apart <= 0.02,
    )


def longer_context(result: Result) -> Judgement:
    """Efficiently scaling 2: a shared head, divided by sequences, holds 32 times less."""
    counted = {
        (name, ranks): result.value("cache per device and token", name, ranks=ranks)
        for name in (BY_HEADS, BY_BATCH)
        for ranks in RANKS
    }
    shape = {BY_HEADS: (SPLIT_HEADS, SPLIT_WIDTH), BY_BATCH: (1, SPLIT_SHARED_WIDTH)}
    exact = all(
        held == held_by_formula(*shape[name], ranks) for (name, ranks), held in counted.items()
    )
    on_four = counted[BY_HEADS, 4] / counted[BY_BATCH, 4]
    at_chips = result.value("cache per device and token", BY_HEADS, ranks=CHIPS) / result.value(
        "cache per device and token", BY_BATCH, ranks=CHIPS
    )
    return judged(
        Number(f"at {CHIPS} chips, by the formula", at_chips, "x", claimed=True),
        Number("on 4 ranks, of a smaller layer", on_four, "x"),
        supported=exact and 31 <= at_chips <= 33,
        agrees=on_four > 2,
    )


def throughput(result: Result) -> Judgement:
    """H2O 1: a fifth of the cache, so a larger batch in the same bytes."""
    context, sequences = (result.whole(name) for name in ("context", "sequences"))
    fast = result.value(
        "tokens per second",
        HEAVY,
        budget=kept(context),
        sequences=larger_batch(context, sequences),
    )
    slow = result.value("tokens per second", FULL_CACHE, budget=context, sequences=sequences)
    fifth = kept(result.whole("length"))
    heavy, recent = (result.value("perplexity ratio", n, budget=fifth) for n in (HEAVY, RECENT))
    return judged(
        Number("tokens per second, 20 % kept over all", fast / slow, "x", claimed=True),
        Number("perplexity over the full cache", heavy, "x"),
        Number("the same with recent tokens only", recent, "x"),
        agrees=fast / slow >= 1.5 and heavy <= 1.05 and heavy < recent,
    )


def latency(result: Result) -> Judgement:
    """H2O 2: a fifth of the cache, so a shorter step at the same batch."""
    if result.parameters["context"] != CONTEXT:
        return not_run(f"the rule asks for {CONTEXT:,} tokens of context")
    sequences = result.parameters["sequences"]
    full = result.value("time per token", FULL_CACHE, budget=CONTEXT, sequences=sequences)
    part = result.value("time per token", HEAVY, budget=kept(CONTEXT), sequences=sequences)
    return judged(
        Number("time with the full cache over that with 20 %", full / part, "x", claimed=True),
        agrees=full / part >= 1.1,
    )


def streaming_speed(result: Result) -> Judgement:
    """StreamingLLM 0: a rolling cache against reading the window again for each token."""
    found = [
        result.value("time per token", RECOMPUTED, budget=window)
        / result.value("time per token", SINKS, budget=window)
        for window in WINDOWS
    ]
    return judged(
        *(
            Number(f"window of {window} tokens", ratio, "x", claimed=True)
            for window, ratio in zip(WINDOWS, found, strict=True)
        ),
        agrees=found == sorted(found) and found[-1] >= 3,
    )


def stable_length(result: Result) -> Judgement:
    """StreamingLLM 1: far beyond the cache, sinks do as well as reading the window again."""
    found = {name: result.value("perplexity over recomputed", name) for name in (SINKS, RECENT)}
    return judged(
        Number("perplexity with sinks over the recomputed window’s", found[SINKS], "x"),
        Number("the same without sinks", found[RECENT], "x"),
        agrees=found[SINKS] <= 1.05 and found[RECENT] >= 1.5,
    )


ANSWERS = (
    Answer("xiao2023streamingllm-0", "79206d1f187e", streaming_speed),
    Answer("xiao2023streamingllm-1", "7319a8c10136", stable_length),
    Answer("zhang2023h2o-1", "339b3a802737", throughput),
    Answer("zhang2023h2o-2", "578973fd9e62", latency),
    Answer("ainslie2023gqa-0", "c61ab2913ccc", uptraining),
    Answer("pope2022efficiently-2", "a94645e21772", longer_context),
)
