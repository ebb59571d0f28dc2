"""Serving on instances that come and go, by replay: SpotServe beside starting again.

Miao et al., 2023. A model's layers lie evenly on the instances that are there. When their number
changes, layers are laid anew. From scratch each reads the weights of its new place from a file, and
requests under way begin anew. SpotServe gives each instance the place whose layers it mostly has
already (there a matching by Kuhn and Munkres, here all places are tried), sends it only the others,
with keys and values of requests under way, and goes on where these were.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from casestudies.lab.serving.carrying import PricedPasses
from casestudies.lab.serving.engine import Job
from casestudies.lab.studies.elastic.claims import INSTANCES, LOST, MIGRATED, RESTARTED, SCRATCH


@dataclass(frozen=True)
class Change:
    """From when on, in seconds, so many instances are there."""

    at: float
    instances: int


@dataclass(frozen=True)
class Stalls:
    """What a change costs: seconds, bytes of all weights and of a token's cache, bytes a second.

    `start` is until new processes have read the weights, `regroup` until processes that live have a
    new group, and `load` until one of them has read all weights from a file.
    """

    start: float
    regroup: float
    load: float
    weights: float
    token: float
    rate: float

    def seconds(self, variant: str, before: int, after: int, held: int) -> float:
        """Return how long nobody is served while requests hold so many tokens."""
        if variant == RESTARTED:
            return self.start
        if variant == SCRATCH:
            return self.regroup + self.load / after
        moved = self.weights + (0 if variant == LOST else held * self.token)
        return self.regroup + received(before, after) * moved / self.rate


def received(before: int, after: int) -> float:
    """Return the share of a model that the instance gets which has to get most.

    Of those that stay each gets the place at which all together keep most; new ones have nothing.
    """
    stay = min(before, after)

    def kept(place: int, old: int) -> float:
        low, high = max(place / after, old / before), min((place + 1) / after, (old + 1) / before)
        return max(0.0, high - low)

    def all_kept(places: Sequence[int]) -> list[float]:
        return [kept(place, old) for old, place in enumerate(places)]

    best = max((all_kept(places) for places in permutations(range(after), stay)), key=sum)
    least = min([*best, *([0.0] if after > before else [])])
    return max(0.0, 1 / after - least)


class ElasticPasses:
    """Passes on paper of instances that come and go; with fewer each pass takes longer.

    An instance that is taken away is announced early enough to send what it has.
    """

    def __init__(
        self, costs: PricedPasses, changes: Sequence[Change], stalls: Stalls, variant: str
    ) -> None:
        self._costs, self._stalls, self._variant = costs, stalls, variant
        self._changes, self._instances = deque(changes), INSTANCES
        self._free = 0.0  # when the last pass or change ended
        self.stalled: list[float] = []

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds, of changes and of the pass."""
        # The engine's clock: it goes from pass to pass, and on to the next arrival if nobody waits.
        now = max(self._free, *(job.request.arrival for job in jobs))
        while self._changes and self._changes[0].at <= now:
            self._change(self._changes.popleft(), jobs)
        begin = max(now, self._free)
        self._free = begin + self._costs(jobs) * INSTANCES / self._instances
        return self._free - now

    def _change(self, change: Change, jobs: Sequence[Job]) -> None:
        held = sum(job.held for job in jobs)
        stall = self._stalls.seconds(self._variant, self._instances, change.instances, held)
        self.stalled.append(stall)
        self._free = max(self._free, change.at) + stall
        self._instances = change.instances
        if self._variant != MIGRATED:
            for job in jobs:
                job.read = 0
                job.said.clear()
                job.times.clear()
