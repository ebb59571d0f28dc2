"""What a stream of requests of changing length makes each way to manage memory hold."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import mean

from casestudies.lab.studies.memory_planning import plans
from casestudies.lab.studies.memory_planning.about import BY_SIZE, CACHING, CHUNKS, FREED, LONGEST
from casestudies.lab.studies.memory_planning.caching import CachingAllocator
from casestudies.lab.studies.memory_planning.plans import Life, Plan


@dataclass
class Kept:
    """What one way holds at each request in bytes, what it asks for, and the seconds it plans."""

    held: list[int] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    planning: list[float] = field(default_factory=list)

    def add(self, held: int, asked: int) -> None:
        self.held.append(held)
        self.asked.append(asked)

    def over(self, least: "Kept") -> float:
        """Return the mean held, divided by that of another way."""
        return mean(self.held) / mean(least.held)


@dataclass(frozen=True)
class Served:
    """Each way by its name, and pairs of tensors that a plan lets share what both need."""

    ways: dict[str, Kept]
    overlaps: dict[str, int]


def serve(requests: Iterable[Sequence[Life]], longest: Sequence[Life]) -> Served:
    """Return what each way holds; `longest` is of the longest request that may come."""
    ways = {name: Kept() for name in (FREED, CACHING, BY_SIZE, LONGEST, CHUNKS)}
    overlaps = dict.fromkeys((BY_SIZE, LONGEST, CHUNKS), 0)
    once, chunks, cache = plans.by_size(longest), Plan((), ()), CachingAllocator()
    for number, lives in enumerate(requests):
        ways[FREED].add(plans.most_alive(lives), len(lives))
        segments = len(cache.segments)
        cache.serve(lives)
        ways[CACHING].add(cache.held, len(cache.segments) - segments)
        anew = _timed(ways[BY_SIZE], partial(plans.by_size, lives))
        ways[BY_SIZE].add(anew.bytes, 1)
        ways[LONGEST].add(once.bytes, int(number == 0))
        chunks = _timed(ways[CHUNKS], partial(plans.in_chunks, lives, chunks.chunks))
        ways[CHUNKS].add(chunks.bytes, chunks.new)
        for name, plan in ((BY_SIZE, anew), (LONGEST, once), (CHUNKS, chunks)):
            overlaps[name] += plans.overlaps(lives, plan)
    return Served(ways, overlaps)


def _timed(way: Kept, plan: Callable[[], Plan]) -> Plan:
    start = time.perf_counter()
    found = plan()
    way.planning.append(time.perf_counter() - start)
    return found
