"""Models on devices, and what becomes of their requests: AlpaServe's queues, on paper.

A request is one pass of one model, and each takes equally long (Li et al., 2023, section 3). A
group of n devices holds its models in n stages, one on each device, and requests go through them
one after another, first come, first served. A group of one device holds whole models: replicas.

D is the seconds of a whole model on one device, D_s those of all stages, D_m those of the longest.
Stages that take the same time for every request let them wait as one queue before the longest
would, wherever that is; so a request's latency is what it waits for D_m to be free, and D_s.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from casestudies.lab.replay.search import highest

IN_TIME = 0.99  # of the requests, within the deadline
LEAST_LOAD, MOST_LOAD, HALVINGS = 0.01, 1.5, 12  # of the search, in logarithms
STEP, MOST_BURSTY = 0.25, 12.0

Seconds = NDArray[np.float64]


class Trace(NamedTuple):
    """When requests come, one each unit of time on average, and which model each asks."""

    moments: NDArray[np.float64]
    models: NDArray[np.int64]


class Stages(NamedTuple):
    """The seconds of all stages of a model, D_s, and of the longest, D_m."""

    whole: float
    longest: float

    @classmethod
    def of(cls, seconds: Sequence[float]) -> "Stages":
        """Return what stages of so many seconds come to."""
        return cls(sum(seconds), max(seconds))


@dataclass(frozen=True)
class Group:
    """Devices that hold these models in stages."""

    models: frozenset[int]
    stages: Stages


def placed(devices: int, in_group: int, room: int, stages: Stages) -> list[Group]:
    """Return groups of so many devices each that hold as many models as there are devices.

    A device has room for `room` whole models, and a group for as many times more as it has devices.
    Of each model there are equally many copies, and neighbours share models, so that no two groups
    are strangers where there is more than one copy.
    """
    held = min(devices, in_group * room)
    return [
        Group(frozenset((first + place) % devices for place in range(held)), stages)
        for first in range(0, devices, in_group)
    ]


def bursty(models: int, requests: int, variation: float, generator: np.random.Generator) -> Trace:
    """Return a trace in which each model's requests come by a Gamma process of its own.

    `variation` is the coefficient of variation of the times between them: 1 is Poisson's process,
    and the larger, the more of them come together and the longer nobody comes.
    """
    each = requests / models
    # So many that hardly any model is without a request before the trace ends.
    drawn = math.ceil(each + 6 * variation * math.sqrt(each) + 10)
    gaps = generator.gamma(variation**-2, variation**2, size=(models, drawn))
    moments = gaps.cumsum(axis=1).ravel()
    order = moments.argsort(kind="stable")[:requests]
    moments = moments[order]
    return Trace(moments * requests / moments[-1], order // drawn)


def latencies(groups: Sequence[Group], trace: Trace, rate: float) -> Seconds:
    """Return the seconds of each request from its arrival to its end, at so many a second.

    It goes to that group with its model which has the least to do, as AlpaServe sends it.
    """
    models = sorted(set().union(*(group.models for group in groups)))
    holding = {m: [n for n, group in enumerate(groups) if m in group.models] for m in models}
    free, found = [0.0] * len(groups), []
    moments, asked = (trace.moments / rate).tolist(), trace.models.tolist()
    for moment, model in zip(moments, asked, strict=True):
        chosen = min(holding[model], key=free.__getitem__)
        stages = groups[chosen].stages
        begin = max(moment, free[chosen])
        free[chosen] = begin + stages.longest
        found.append(begin - moment + stages.whole)
    return np.array(found)


def mean_latency(stages: Stages, rate: float) -> float:
    """Return the mean seconds of a request by formula, if so many come a second by Poisson.

    W = D_s + rate D_m^2 / (2 (1 - rate D_m)), an M/D/1 queue (Li et al., 2023, section 3).
    """
    busy = rate * stages.longest
    return stages.whole + busy * stages.longest / (2 * (1 - busy))


def in_time(groups: Sequence[Group], trace: Trace, rate: float, deadline: float) -> bool:
    """Return whether 99 % of the requests are done within the deadline, in seconds."""
    share = (latencies(groups, trace, rate) <= deadline).mean()
    return bool(share >= IN_TIME)


def highest_load(groups: Sequence[Group], trace: Trace, capacity: float, deadline: float) -> float:
    """Return the most requests a second of which 99 % are done in time, divided by `capacity`.

    0 if that is less than a hundredth.
    """

    def kept(load: float) -> bool:
        return in_time(groups, trace, load * capacity, deadline)

    return highest(kept, LEAST_LOAD, MOST_LOAD, HALVINGS)
