"""Replays what several workers do, each in its own order and each as soon as it can.

A worker is whatever does one thing at a time: a rank, a link, a slot of a server. Durations may be
units, so that slots are counted exactly, or times that were measured. Nothing runs, so a replay has
as many workers as it likes, and what it leaves out (the time between one worker and another, what
workers cost each other) has to be said where its result is shown.
"""

from collections import defaultdict, deque
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass


class Stuck(ValueError):
    """Some events can never begin; the message names one of them and what it waits for."""


@dataclass(frozen=True)
class Event:
    """Something that takes so long, and begins once the events named in `after` have ended."""

    name: Hashable
    duration: float
    after: tuple[Hashable, ...] = ()


@dataclass(frozen=True)
class Replay:
    """When each event ended, by its name, and how long each worker was busy."""

    ends: Mapping[Hashable, float]
    busy: tuple[float, ...]

    @property
    def duration(self) -> float:
        """Return the time from the beginning until the last event has ended."""
        return max(self.ends.values(), default=0)

    @property
    def idle(self) -> tuple[float, ...]:
        """Return how long each worker waited, up to the end of the last event of all."""
        return tuple(self.duration - busy for busy in self.busy)

    @property
    def idle_share(self) -> float:
        """Return the time that workers waited, divided by the time of all of them."""
        whole = self.duration * len(self.busy)
        return sum(self.idle) / whole if whole else 0.0


def replay(workers: Sequence[Sequence[Event]]) -> Replay:
    """Return when the events end if each worker carries out its own in this order.

    Raises Stuck for an event that waits for one that never ends, and ValueError for a name that
    stands twice.
    """
    ends: dict[Hashable, float] = {}
    free, position = [0.0] * len(workers), [0] * len(workers)
    waiting: dict[Hashable, list[int]] = defaultdict(list)
    able = deque(range(len(workers)))
    while able:
        worker = able.popleft()
        for event in workers[worker][position[worker] :]:
            if event.name in ends:
                raise ValueError(f"two events are named {event.name!r}")
            missing = [name for name in event.after if name not in ends]
            if missing:
                waiting[missing[0]].append(worker)
                break
            begin = max([free[worker], *(ends[name] for name in event.after)])
            ends[event.name] = free[worker] = begin + event.duration
            position[worker] += 1
            able.extend(waiting.pop(event.name, ()))
    for name, held in waiting.items():
        stuck = workers[held[0]][position[held[0]]].name
        raise Stuck(f"{stuck!r} waits for {name!r}, which never ends")
    return Replay(ends, tuple(sum(event.duration for event in events) for events in workers))
