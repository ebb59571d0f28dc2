"""How often to save, by replay: training on paper whose ranks are lost at random.

The costs are those of the run. Failures come at a constant rate, also while a checkpoint is written
or read, as the formulas have it (Young, 1974; Daly, 2006).
"""

import math
from collections.abc import Sequence

import torch


def gaps(mean: float, count: int, generator: torch.Generator) -> list[float]:
    """Return so many times from one failure to the next, in the mean's unit."""
    drawn = torch.empty(count, dtype=torch.float64).exponential_(1, generator=generator)
    return (mean * drawn).tolist()


def kept(gaps: Sequence[float], work: float, save: float, restart: float) -> int:
    """Return how many intervals of so much work are saved between failures.

    After each failure comes a restart; an interval counts once its checkpoint is written.
    """
    return sum(int((gap - restart) // (work + save)) for gap in gaps if gap > restart)


def time_over_work(gaps: Sequence[float], work: float, save: float, restart: float) -> float:
    """Return all time divided by the work that is saved in it; infinite if none is."""
    saved = work * kept(gaps, work, save, restart)
    return sum(gaps) / saved if saved else math.inf
