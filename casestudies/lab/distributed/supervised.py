"""A supervisor: when a rank is lost its group ends, and a new generation of ranks goes on.

Each generation is a group of its own, with a store of its own, so that nothing of a dead one is
met by those that follow; it may have another number of ranks.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from casestudies.lab.distributed.ranks import RanksFailed, started_here

Found = TypeVar("Found")


@dataclass(frozen=True)
class Generation:
    """So many ranks that worked together.

    When they were asked for and when all were gone, in seconds of `time.monotonic`, and in words
    why they failed if they did.
    """

    world: int
    began: float
    ended: float
    failure: str = ""


def in_generations(
    worlds: Sequence[int], work: Callable[..., Found], *arguments: Any
) -> tuple[list[Found], list[Generation]]:
    """Return what the last generation's ranks return, and how all generations went.

    Generation n is `worlds[n]` ranks of this machine that carry out `work(n, *arguments)`. Any but
    the last may fail, or return and so give way to the next; what is to be gone on with is up to
    the work. Raises RanksFailed where the last one fails, and ValueError if there is none.
    """
    if not worlds:
        raise ValueError("no generation is asked for")
    past: list[Generation] = []
    for number, world in enumerate(worlds):
        began, failure = time.monotonic(), ""
        try:
            found = started_here(world, work, number, *arguments)
        except RanksFailed as error:
            if number + 1 == len(worlds):
                raise
            failure = str(error)
        past.append(Generation(world, began, time.monotonic(), failure))
    return found, past
