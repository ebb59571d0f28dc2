"""A pipeline whose workers also keep their neighbour's stage, by replay: Bamboo.

Thorpe et al., 2023: worker s holds the weights of stage s + 1 too and changes them as
their owner does. It goes forward through both stages with each micro-batch, the second in time in
which it would wait (eager forward), and backward through the second only when its owner is lost
(lazy backward). Then it does the work of two until another worker has taken the place. What is
replayed costs what the run measured; passing tensors on takes no time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch

from casestudies.lab.equations import duration
from casestudies.lab.replay.events import Replay
from casestudies.lab.replay.schedules import Slot, one_forward_one_backward, replayed
from casestudies.lab.studies.fault_tolerance import intervals

HOUR = 3600.0  # seconds


@dataclass(frozen=True)
class Pipeline:
    """p stages on as many workers, m micro-batches a step, and the seconds of a stage's work."""

    p: int
    m: int
    forward: float
    backward: float
    update: float

    @property
    def step(self) -> float:
        """Return the time of a step by 1F1B."""
        return replayed(one_forward_one_backward(self.p, self.m), self.p, self._alike).duration + (
            self.update
        )

    @property
    def redundant_step(self) -> float:
        """Return the time of a step in which each worker goes forward through two stages."""
        order = one_forward_one_backward(self.p, self.m)
        found = replayed(order, self.p, self._alike)
        return max(self._end(slots, found) for slots in order) + 2 * self.update

    @property
    def step_of_fewer(self) -> float:
        """Return the time of a step in which one worker, in the middle, does the work of two."""
        order = one_forward_one_backward(self.p - 1, self.m)
        twice = (self.p - 1) // 2

        def duration_of(slot: Slot) -> float:
            return self._alike(slot) * (2 if slot.stage == twice else 1)

        shared = replayed(order, self.p - 1, duration_of).duration + 2 * self.update
        return max(shared, self.redundant_step)

    def _alike(self, slot: Slot) -> float:
        return self.forward if slot.kind == "forward" else self.backward

    def _end(self, slots: Sequence[Slot], found: Replay) -> float:
        """Return when a worker has done its own slots, and gone forward for its neighbour.

        It does the latter where it waits for long enough, and what is left over in the end.
        """
        free, owed = 0.0, 0
        for slot in slots:
            waits = found.ends[slot] - self._alike(slot) - free
            owed -= min(owed, int((waits + 1e-12) // self.forward))
            owed += slot.kind == "forward"
            free = found.ends[slot]
        return free + owed * self.forward


class Loss(NamedTuple):
    """When a worker is taken away, in seconds, and which."""

    at: float
    worker: int


def losses(workers: int, hourly: float, hours: float, generator: torch.Generator) -> list[Loss]:
    """Return the losses if that share of the workers is taken each hour, and always replaced."""
    expected = workers * hourly * hours
    count = int(expected + 10 * math.sqrt(expected) + 10)  # more than will be needed
    moments = torch.tensor(intervals.gaps(HOUR / (workers * hourly), count, generator)).cumsum(0)
    lost = torch.randint(workers, (count,), generator=generator)
    pairs = zip(moments.tolist(), lost.tolist(), strict=True)
    return [Loss(at, worker) for at, worker in pairs if at < hours * HOUR]


@dataclass(frozen=True)
class Fleet:
    """Pipelines that step together, and the seconds of saving and of what follows a loss.

    `noticed` is until the others know, `restart` until a new worker is ready to go on, and
    `regroup` how long all wait for it to join them.
    """

    pipeline: Pipeline
    pipelines: int
    save: float
    noticed: float
    restart: float
    regroup: float

    @property
    def workers(self) -> int:
        """Return how many workers there are."""
        return self.pipeline.p * self.pipelines

    def steps_restarting(self, lost: Sequence[Loss], hours: float) -> float:
        """Return the steps that are kept if all go back to the last checkpoint after each loss."""
        step = self.pipeline.step
        each = self._steps_between_saves(step, hours * HOUR / max(1, len(lost)))
        moments = [0.0, *(loss.at for loss in lost), hours * HOUR]
        gaps = [after - before for before, after in pairwise(moments)]
        return each * intervals.kept(gaps, each * step, self.save, self.noticed + self.restart)

    def steps_redundant(self, lost: Sequence[Loss], hours: float) -> float:
        """Return the steps that are kept if neighbours take over, unless both are lost together."""
        whole, fewer = self.pipeline.redundant_step, self.pipeline.step_of_fewer
        each = self._steps_between_saves(whole, self._between_pairs(len(lost) / (hours * HOUR)))
        working = each * whole / (each * whole + self.save)  # the rest of the time is saving
        # When all have been replaced, and until when all go back together.
        steps = now = complete = down = 0.0
        replaced: dict[int, float] = {}
        for loss in [*lost, Loss(hours * HOUR, -1)]:
            if now < complete:
                upto = max(now, min(loss.at, complete))
                steps += working * (upto - now) / fewer
                now = complete + self.regroup if complete <= loss.at else upto
            if now < loss.at:
                steps += working * (loss.at - now) / whole
            if loss.worker < 0:
                break
            missing = [worker for worker, until in replaced.items() if until > loss.at]
            alone = any(self._neighbours(loss.worker, other) for other in missing)
            if loss.at < down or alone:
                steps -= steps % each  # back to the last checkpoint
                now = complete = down = loss.at + self.noticed + self.restart
                replaced.clear()
            else:
                # The step that was under way is taken again.
                now = max(now, loss.at) + self.noticed + whole
                replaced[loss.worker] = complete = loss.at + self.noticed + self.restart
        return steps

    def _neighbours(self, one: int, other: int) -> bool:
        p = self.pipeline.p
        apart = (one - other) % p
        return one // p == other // p and apart in (1, p - 1)

    def _between_pairs(self, rate: float) -> float:
        """Return the mean time until a worker is lost whose neighbour is missing."""
        neighbours = rate * 2 / self.workers * (self.noticed + self.restart)
        return 1 / (rate * neighbours) if rate else math.inf

    def _steps_between_saves(self, step: float, between_failures: float) -> int:
        """Return Daly's interval in whole steps."""
        if math.isinf(between_failures):
            return 1_000_000
        work = duration.daly_interval(save_seconds=self.save, failure_seconds=between_failures)
        return max(1, round(work / step))
