"""What a pass is: of the model itself, or on paper with costs that were measured."""

import operator
import time
from collections.abc import Sequence

import torch

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.serving import selective
from casestudies.lab.serving.engine import Job, Pass, Work
from casestudies.lab.serving.selective import Piece


class ModelPasses:
    """Passes of a model, the likeliest token each time, with a cache for each job.

    A job's cache has the room that is reserved for it; where that is taken away, the cache is
    copied to the memory beside the processor, and back when there is room again.
    """

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._device = model.embedding.weight.device.type
        self._caches: dict[Job, KeyValueCache] = {}
        self._aside: dict[Job, KeyValueCache] = {}
        self.moved_bytes = 0
        self.tokens_read = 0

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds until the tokens were known."""
        start = time.perf_counter()
        self._put_aside()
        pieces = [self._piece(job) for job in jobs]
        tokens = selective.read(self._model, pieces).argmax(-1)
        self.tokens_read += sum(len(piece.tokens) for piece in pieces)
        for job, token in zip(jobs, tokens.tolist(), strict=True):
            if job.answers:
                job.said.append(token)
            if len(job.said) == job.passes:
                del self._caches[job]
        return time.perf_counter() - start

    def _put_aside(self) -> None:
        for job in [job for job in self._caches if job.room == 0]:
            cache = self._caches.pop(job)
            self._aside[job] = cache.resized(cache.length, "cpu")
            self.moved_bytes += cache.bytes

    def _piece(self, job: Job) -> Piece:
        cache = self._with_room(job) if job.begun else self._new(job)
        if job.reads:
            return Piece(job.request.prompt[job.read : job.read + job.reads], cache)
        return Piece(torch.tensor(job.said[-1:], device=self._device), cache)

    def _new(self, job: Job) -> KeyValueCache:
        weights = self._model.embedding.weight
        room = job.room or len(job.request.prompt) + job.passes - 1  # the last token is not read
        cache = KeyValueCache(self._model.config, 1, room, self._device, weights.dtype)
        self._caches[job] = cache
        return cache

    def _with_room(self, job: Job) -> KeyValueCache:
        if job in self._aside:
            self.moved_bytes += self._aside[job].bytes
            self._caches[job] = self._aside.pop(job)
        cache = self._caches[job]
        if job.room is not None and cache.capacity != job.room:
            self._caches[job] = cache.resized(job.room, self._device)
        return self._caches[job]


class PricedPasses:
    """Passes on paper: tokens without meaning, and seconds by a cost that is linear in the work."""

    def __init__(self, fixed: float, *each: float) -> None:
        self._fixed, self._each = fixed, each

    @classmethod
    def measured(cls, passes: Sequence[Pass]) -> "PricedPasses":
        """Return passes priced by least squares over those that were carried out."""
        work = torch.tensor([[1, *one.work] for one in passes], dtype=torch.float64)
        seconds = torch.tensor([[one.seconds] for one in passes], dtype=torch.float64)
        largest = work.amax(dim=0).clamp(min=1)  # columns of one size, for the arithmetic's sake
        found = torch.linalg.lstsq(work / largest, seconds).solution.flatten() / largest
        return cls(*found.tolist())

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds that this should take."""
        work = Work.of(jobs)
        for job in jobs:
            if job.answers:
                job.said.append(0)
        # No less than nothing, where the least squares would have it so.
        return max(0.0, self._fixed + sum(map(operator.mul, self._each, work)))
