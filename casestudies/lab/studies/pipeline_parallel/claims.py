"""How a run speaks to claims of publications, each by the rule that stands with the claim."""

from itertools import product

from casestudies.lab.contract import Answer, Judgement, Number, judged, not_run
from casestudies.lab.result import Result

# What the rules ask for: workers, and micro-batches as multiples of them.
DEPTHS = (4, 8, 16, 32)
INTERLEAVED_DEPTHS, MULTIPLES = (4, 8), (1, 2, 4, 8)
DAPPLE_RANKS, DAPPLE_MICRO_BATCHES = 4, 8
GPIPE_RANKS = 4
EQUAL_LOSS = 1e-5  # relative


def larger_model(result: Result) -> Judgement:
    """GPipe 2: more than four times the blocks on four ranks with recomputation as on one."""
    if result.parameters["ranks"] != GPIPE_RANKS:
        return not_run(f"needs {GPIPE_RANKS} ranks")
    several = result.value("blocks that fit", "gpipe, recomputed")
    one = result.value("blocks that fit", "one process")
    return judged(
        Number("blocks on one rank", one, "blocks"),
        Number("blocks on four ranks with recomputation", several, "blocks"),
        agrees=several > 4 * one,
    )


def memory_saving(result: Result) -> Judgement:
    """DAPPLE 2: 12 % less memory than GPipe at the same micro-batches, on four ranks."""
    chosen = result.parameters["ranks"], result.parameters["micro_batches"]
    if chosen != (DAPPLE_RANKS, DAPPLE_MICRO_BATCHES):
        return not_run(f"needs {DAPPLE_RANKS} ranks and {DAPPLE_MICRO_BATCHES} micro-batches")
    gpipe, early = (result.value("rank memory", name) for name in ("gpipe", "1f1b"))
    losses = [result.value("training loss", name) for name in ("gpipe", "1f1b")]
    apart = abs(losses[1] / losses[0] - 1)
    saved = 1 - early / gpipe
    return judged(
        Number("GPipe, mean of ranks", gpipe, "MiB"),
        Number("1F1B, mean of ranks", early, "MiB"),
        Number("saved", 100 * saved, "%"),
        Number("relative difference of the losses", apart),
        agrees=saved >= 0.12 and apart <= EQUAL_LOSS,
    )


def fewer_bubbles(result: Result) -> Judgement:
    """Chimera 0: at least half of the idle slots fewer, and D - 2 against 2 (D - 1)."""

    def slots(variant: str, d: int) -> float:
        return result.value("idle slots", variant, ranks=d)

    counted = {d: (slots("bidirectional", d), slots("1f1b", d)) for d in DEPTHS}
    fewer = {d: 1 - own / other for d, (own, other) in counted.items()}
    as_published = all(found == (d - 2, 2 * (d - 1)) for d, found in counted.items())
    return judged(
        *(Number(f"fewer idle slots, D = {d}", 100 * share, "%") for d, share in fewer.items()),
        supported=min(fewer.values()) >= 0.5 and as_published,
        agrees=min(fewer.values()) >= 0.3,
    )


def bidirectional_speed(result: Result) -> Judgement:
    """Chimera 2: faster than 1F1B with a flush by 5 % at every depth."""
    found = {d: result.value("replayed speed-up", "bidirectional", ranks=d) for d in DEPTHS}
    return judged(
        *(Number(f"1F1B / bidirectional, D = {d}", ratio, "x") for d, ratio in found.items()),
        agrees=min(found.values()) >= 1.05,
    )


def speed_without_flush(result: Result) -> Judgement:
    """PipeDream-2BW 1: faster than GPipe by nine tenths of what the flush costs it."""

    def ratio(p: int) -> float:
        faster = result.value("replayed speed-up", "no flush", ranks=p)
        return faster / result.value("replayed speed-up", "gpipe", ranks=p)

    found = {p: ratio(p) for p in DEPTHS}
    return judged(
        *(Number(f"GPipe / no flush, p = {p}", speed, "x") for p, speed in found.items()),
        agrees=all(speed >= 0.9 * (2 * p - 1) / p for p, speed in found.items()),
    )


def interleaving_gain(result: Result) -> Judgement:
    """Megatron-LM 2: 10 % from two interleaved stages for each worker, up to m = 2 p."""
    cases = {(p, p * k): k for p, k in product(INTERLEAVED_DEPTHS, MULTIPLES)}

    def busy(variant: str, p: int, m: int) -> float:
        at = {"ranks": p, "micro-batches": m, "slots": "equal slots"}
        return 1 - result.value("idle share", variant, **at)

    def in_flight(variant: str, p: int, m: int) -> float:
        return result.value("micro-batches held", variant, **{"ranks": p, "micro-batches": m})

    gains = {at: busy("interleaved", *at) / busy("1f1b", *at) - 1 for at in cases}
    growth = max(in_flight("interleaved", *at) / in_flight("1f1b", *at) for at in cases)
    published = all(
        abs(1 / busy("interleaved", p, m) - 1 - (p - 1) / (2 * m)) < 1e-9 for p, m in cases
    )
    short = min(gain for at, gain in gains.items() if cases[at] <= 2)
    return judged(
        Number("least gain for m up to 2 p", 100 * short, "%"),
        Number("least gain for m up to 8 p", 100 * min(gains.values()), "%"),
        Number("activations in flight, times those of 1F1B at most", growth, "x"),
        supported=published and short >= 0.1 and growth <= 1.5,
        agrees=published and min(gains.values()) > 0,
    )


def not_measured(result: Result) -> Judgement:
    """Return that this study leaves the claim alone as yet."""
    return not_run("this study does not measure that yet")


ANSWERS = (
    Answer("huang2018gpipe-2", "3c82eb9911ea", larger_model),
    Answer("fan2020dapple-1", "bd6c7fd15454", not_measured),
    Answer("fan2020dapple-2", "f153a88235d6", memory_saving),
    Answer("narayanan2021ptdp-2", "13591dcf48fc", interleaving_gain),
    Answer("li2021chimera-0", "5cba78edf998", fewer_bubbles),
    Answer("li2021chimera-2", "f143f3226d05", bidirectional_speed),
    Answer("li2021terapipe-0", "9b9cc7e4781e", not_measured),
    Answer("narayanan2020pipedream2bw-0", "eded28c384be", not_measured),
    Answer("narayanan2020pipedream2bw-1", "6d17c7331265", speed_without_flush),
    Answer("athlur2021varuna-0", "455fa2f604aa", not_measured),
)
