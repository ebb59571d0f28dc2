"""Points on the curve of latency over throughput, and what two curves have at equal height."""

import statistics
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from casestudies.lab.serving.engine import Served
from casestudies.lab.serving.outcomes import normalized_latency


class Point(NamedTuple):
    """Tokens per second, and the median normalized latency, in seconds a token."""

    rate: float
    latency: float

    @classmethod
    def of(cls, served: Served) -> "Point":
        """Return the point of what was served."""
        latency = statistics.median(map(normalized_latency, served.jobs))
        return cls(served.tokens_per_second, latency)

    def errors(self, carried_out: "Point") -> list[float]:
        """Return how far both are from those of the run, as shares of them."""
        return [abs(own / real - 1) for own, real in zip(self, carried_out, strict=True)]


def rate_at(latency: float, points: Sequence[Point]) -> float | None:
    """Return the highest throughput with this latency, on the lines from one point to the next.

    The first point's latency is below it. If the last one's is too, the curve does not reach it:
    None is returned.
    """
    if points[-1].latency < latency:
        return None
    low, high = next(pair for pair in reversed(list(pairwise(points))) if pair[0].latency < latency)
    share = (latency - low.latency) / (high.latency - low.latency)
    return low.rate + share * (high.rate - low.rate)
