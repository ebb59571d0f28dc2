"""Pieces of work in a row, shared out among ranks that are not equally fast."""

from collections.abc import Sequence
from itertools import combinations


def evenly(pieces: int, ranks: int) -> list[int]:
    """Return how many of the pieces each rank has; the first have one more where they must."""
    return [pieces // ranks + (rank < pieces % ranks) for rank in range(ranks)]


def times(costs: Sequence[float], slowdowns: Sequence[float], counts: Sequence[int]) -> list[float]:
    """Return how long each rank takes for so many consecutive pieces, the first rank's first.

    A piece takes its cost, times the rank's slowdown.
    """
    found, begin = [], 0
    for count, slowdown in zip(counts, slowdowns, strict=True):
        found.append(slowdown * sum(costs[begin : begin + count]))
        begin += count
    return found


def balanced(costs: Sequence[float], slowdowns: Sequence[float]) -> list[int]:
    """Return how many consecutive pieces each rank has so that the slowest takes least.

    Each rank has at least one. `best[i]` is the least time of the slowest rank if those so far have
    the first i pieces: with one rank more it is the least, over all j, of the larger of `best[j]`
    and what the new rank takes for the pieces from j to i. Raises ValueError for fewer pieces than
    ranks.
    """
    pieces, ranks = len(costs), len(slowdowns)
    if not 0 < ranks <= pieces:
        raise ValueError(f"{pieces} pieces cannot be shared out among {ranks} ranks")
    until = [0.0]
    for cost in costs:
        until.append(until[-1] + cost)
    best: list[tuple[float, list[int]] | None] = [(0.0, []), *[None] * pieces]
    for slowdown in slowdowns:
        further: list[tuple[float, list[int]] | None] = [None] * (pieces + 1)
        for i in range(1, pieces + 1):
            options = (
                (max(before[0], slowdown * (until[i] - until[j])), [*before[1], i - j])
                for j in range(i)
                if (before := best[j])
            )
            further[i] = min(options, default=None)
        best = further
    found = best[pieces]
    assert found  # noqa: S101 - there are as many pieces as ranks
    return found[1]


def by_trying_all(costs: Sequence[float], slowdowns: Sequence[float]) -> list[int]:
    """Return the same by looking at every way to share out the pieces."""
    pieces, ranks = len(costs), len(slowdowns)
    ways = (
        [end - begin for begin, end in zip((0, *cuts), (*cuts, pieces), strict=True)]
        for cuts in combinations(range(1, pieces), ranks - 1)
    )
    return min(ways, key=lambda counts: max(times(costs, slowdowns, counts)))


def bound(forward: Sequence[float], backward: Sequence[float], micro_batches: int) -> float:
    """Return how long a step of GPipe takes on stages that take so long for a micro-batch.

    All pass through all stages once, and all but one wait for the slowest: its sum over all
    micro-batches and, as the bubble, the times of the others for one.
    """
    return sum(forward) + sum(backward) + (micro_batches - 1) * (max(forward) + max(backward))
