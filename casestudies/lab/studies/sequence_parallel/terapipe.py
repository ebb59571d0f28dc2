"""TeraPipe (Li et al., 2021): slices of one sequence fill a pipeline; how long each should be.

A slice of l units after c units takes t(l, c), the longer the more tokens it looks back at. On K
equal stages slices t_1, t_2, ... take t_1 + t_2 + ... + (K - 1)·max t. For each bound of the
longest slice a dynamic program finds the least sum. Formula and program are from memory.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from casestudies.lab.replay.events import Event, replay

Costs = Mapping[tuple[int, int], float]  # by units of a slice and units before it


def best_slices(costs: Costs, units: int, stages: int) -> tuple[int, ...]:
    """Return the lengths of slices, which make up so many units, that end soonest."""
    found = (_least_sum(costs, units, longest) for longest in sorted(set(costs.values())))
    return min(filter(None, found), key=lambda slices: duration(costs, slices, stages))


def _least_sum(costs: Costs, units: int, longest: float) -> tuple[int, ...]:
    """Return the slices with the least sum of which none takes longer, () if there are none."""
    best: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    for end in range(1, units + 1):
        best.append(
            min(
                (
                    (best[start][0] + costs[end - start, start], (*best[start][1], end - start))
                    for start in range(end)
                    if costs[end - start, start] <= longest and best[start][0] < math.inf
                ),
                default=(math.inf, ()),
            )
        )
    return best[units][1]


def duration(costs: Costs, slices: Sequence[int], stages: int) -> float:
    """Return the time that the slices take on so many equal stages, by the formula."""
    each = _each(costs, slices)
    return sum(each) + (stages - 1) * max(each)


def replayed(costs: Costs, slices: Sequence[int], stages: int) -> float:
    """Return the same by replay: each stage takes the slices in turn, each after the one before."""
    each = _each(costs, slices)
    workers = [
        [
            Event((stage, number), seconds, ((stage - 1, number),) if stage else ())
            for number, seconds in enumerate(each)
        ]
        for stage in range(stages)
    ]
    return replay(workers).duration


def _each(costs: Costs, slices: Sequence[int]) -> list[float]:
    starts = accumulate(slices, initial=0)
    return [costs[end - start, start] for start, end in pairwise(starts)]
