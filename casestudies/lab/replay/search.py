"""The most that something on paper bears, found by trying."""

import math
from collections.abc import Callable


def highest(holds: Callable[[float], bool], low: float, high: float, halvings: int) -> float:
    """Return the highest number from `low` to `high` at which something holds, 0 if not at `low`.

    What holds at a number is taken to hold at those below. Each step halves the distance in
    logarithms, and the number returned is one at which it was seen to hold.
    """
    if not holds(low):
        return 0.0
    for _ in range(halvings):
        middle = math.sqrt(low * high)
        if holds(middle):
            low = middle
        else:
            high = middle
    return low
