"""Pareto efficiency: what nothing else beats."""

from collections.abc import Sequence

from casestudies.lab.metrics import Metric

SIGNS = {"lower is better": 1, "higher is better": -1}


def efficient(costs: Sequence[tuple[float, float]]) -> list[bool]:
    """Return for each pair of costs whether no other pair is as low in both and lower in one."""
    front, lowest = set(), float("inf")
    for first, second in sorted(set(costs)):
        if second < lowest:
            front.add((first, second))
            lowest = second
    return [cost in front for cost in costs]


def efficient_by(x: Metric, y: Metric, values: Sequence[tuple[float, float]]) -> list[bool] | None:
    """Return which pairs of values of two metrics are efficient.

    Returns None when neither more nor less of one of the metrics is better by itself.
    """
    if x.direction not in SIGNS or y.direction not in SIGNS:
        return None
    sign_x, sign_y = SIGNS[x.direction], SIGNS[y.direction]
    return efficient([(sign_x * a, sign_y * b) for a, b in values])
