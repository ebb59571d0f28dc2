"""Ways to serve requests of several tasks: who shares a pass of the engine, with what weights."""

import copy
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.serving.carrying import ModelPasses
from casestudies.lab.serving.engine import Job
from casestudies.lab.studies.multi_lora.adapters import Adapter, merge, merged
from casestudies.lab.studies.multi_lora.gathered import ManyTasks, Segment


class Carrying(Protocol):
    """Carries passes out, and counts the bytes that it brings to where they are computed."""

    @property
    def moved_bytes(self) -> int: ...

    def __call__(self, jobs: Sequence[Job]) -> float: ...


def task_by_task(present: Sequence[Job], slots: int) -> Sequence[Job]:
    """Return jobs of the task that is under way, or else of that of the first who came.

    A task is left when nobody is there for it: the fewest changes that there can be.
    """
    begun = (job for job in present if job.begun)
    task = next(begun, present[0]).request.task
    return [job for job in present if job.request.task == task][:slots]


def _task(job: Job) -> int:
    return job.request.task


def _segment(task: int, jobs: list[Job]) -> tuple[Segment, list[Job]]:
    return Segment(task, sum(job.reads or 1 for job in jobs)), jobs


class GatheredPasses:
    """Passes for any tasks at once, with their adapters beside the weights that all share."""

    def __init__(self, tasks: ManyTasks) -> None:
        self._tasks = tasks
        self._passes = ModelPasses(tasks.model)

    @property
    def moved_bytes(self) -> int:
        """Return the bytes of the adapters that were brought into the pool."""
        return self._tasks.pool.moved_bytes

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds, with all that it took."""
        start = time.perf_counter()
        by_task = groupby(sorted(jobs, key=_task), key=_task)
        row = [_segment(task, list(together)) for task, together in by_task]
        row.sort(key=self._place)  # those that are applied together side by side
        self._tasks.turn_to([segment for segment, _ in row])
        self._passes([job for _, together in row for job in together])
        return time.perf_counter() - start

    def _place(self, found: tuple[Segment, list[Job]]) -> tuple[str, int]:
        segment, _ = found
        return type(self._tasks.pool.adapters[segment.task].kind).__name__, segment.tokens


class SwitchedPasses:
    """Passes for one task at a time, by a copy of the weights that its adapter is merged into.

    One operation a layer reads the unchanged weights and writes the merged ones, so nothing has to
    be taken out again and nothing drifts. What no adapter changes is shared and not copied.
    """

    def __init__(self, model: LanguageModel, adapters: Sequence[Adapter]) -> None:
        self._model, self._adapters = model, adapters
        merged_into = {id(linear.weight) for linear in model.linears().values()}
        shared = {id(w): w for w in model.parameters() if id(w) not in merged_into}
        self._working = copy.deepcopy(model, shared)
        self._passes = ModelPasses(self._working)
        self._task: int | None = None
        self.moved_bytes = 0

    @property
    def copied_bytes(self) -> int:
        """Return the bytes of the copy's weights, which are all merged anew."""
        return sum(linear.weight.nbytes for linear in self._working.linears().values())

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds, with all that it took."""
        start = time.perf_counter()
        (task,) = {job.request.task for job in jobs}
        if task != self._task:
            merge(self._model, self._adapters[task], self._working)
            self._task = task
            self.moved_bytes += self.copied_bytes
        self._passes(jobs)
        return time.perf_counter() - start


class CopiesPasses:
    """Passes for one task at a time, each by a merged copy of its own that was made before."""

    moved_bytes = 0

    def __init__(self, model: LanguageModel, adapters: Sequence[Adapter]) -> None:
        self._passes = [ModelPasses(merged(model, adapter)) for adapter in adapters]

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds until the tokens were known."""
        (task,) = {job.request.task for job in jobs}
        return self._passes[task](jobs)
