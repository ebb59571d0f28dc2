"""How a run speaks to the claims of SpotServe, each by the rule that stands with it."""

from casestudies.lab.contract import Answer, Judgement, Number, judged
from casestudies.lab.result import Result
from casestudies.lab.serving.declared import of_a_trace

TWO, ONE, ELASTIC = "two ranks", "one rank", "elastic"
RESTARTED, SCRATCH = "processes restarted", "from scratch"
LOST, MIGRATED = "migration, progress lost", "migration"
GAIN = "P99 over migration, by replay"

# When, of the time in which requests come, how many of four instances are there from then on. They
# were written down before anything was measured.
TRACES = {
    "one by one": ((0.1, 3), (0.25, 4), (0.4, 3), (0.55, 4), (0.7, 3), (0.85, 4)),
    "two at once": ((0.2, 2), (0.45, 4), (0.7, 2), (0.9, 4)),
    "fewer and fewer": ((0.15, 3), (0.35, 2), (0.6, 3), (0.8, 4)),
}
INSTANCES = 4


def gains(result: Result, variant: str = SCRATCH) -> list[Number]:
    """Return for each trace the latency of starting again divided by that of migration."""
    name = f"P99 latency {variant} over migration, by replay"
    return [
        Number(f"{name}, {trace}", result.value(GAIN, variant, trace=trace), "x")
        for trace in TRACES
    ]


@of_a_trace
def best(result: Result) -> Judgement:
    """SpotServe 0: the trace in which migration gains most."""
    most = max(number.value for number in gains(result))
    of_best = Number("best of three traces, by replay", most, "x", claimed=True)
    return judged(of_best, *gains(result), *gains(result, RESTARTED), agrees=most >= 3)


@of_a_trace
def worst(result: Result) -> Judgement:
    """SpotServe 1: the trace in which migration gains least."""
    least = min(number.value for number in gains(result))
    of_worst = Number("smallest of three traces, by replay", least, "x", claimed=True)
    return judged(of_worst, *gains(result), *gains(result, RESTARTED), agrees=least >= 1.2)


ANSWERS = (
    Answer("miao2023spotserve-0", "e7f5a449f631", best),
    Answer("miao2023spotserve-1", "96184812c99e", worst),
)
