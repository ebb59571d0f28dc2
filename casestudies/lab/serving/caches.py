"""Where the keys and values of jobs lie: in one piece for each, or in blocks that all share."""

from typing import Protocol

from torch import Tensor

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Cache, LanguageModel
from casestudies.lab.models.paged import Blocks, PagedCache
from casestudies.lab.serving.engine import Job


class Caches(Protocol):
    """Has a cache for each job, within the room that is reserved for it.

    Where that is taken away, what the cache holds is copied to the memory beside the processor, and
    back when there is room again; `moved_bytes` counts both ways.
    """

    moved_bytes: int

    def put_aside(self) -> None:
        """Copy away what those hold whose room was taken."""

    def of(self, job: Job) -> Cache:
        """Return the job's cache, which has room for its next pass."""

    def end(self, job: Job) -> None:
        """Give back what the job's cache takes."""


class InOnePiece:
    """For each job a piece of memory as large as its room."""

    def __init__(self, model: LanguageModel) -> None:
        weights = model.embedding.weight
        self._config, self._dtype = model.config, weights.dtype
        self._device = weights.device.type
        self._caches: dict[Job, KeyValueCache] = {}
        self._aside: dict[Job, KeyValueCache] = {}
        self.moved_bytes = 0

    def put_aside(self) -> None:
        """Copy away what those hold whose room was taken."""
        for job in [job for job in self._caches if job.room == 0]:
            cache = self._caches.pop(job)
            self._aside[job] = cache.resized(cache.length, "cpu")
            self.moved_bytes += cache.bytes

    def of(self, job: Job) -> KeyValueCache:
        """Return the job's cache, with all the room that is reserved for it."""
        if job in self._aside:
            self.moved_bytes += self._aside[job].bytes
            self._caches[job] = self._aside.pop(job)
        cache = self._caches.get(job) or self._new(job)
        if job.room is not None and cache.capacity != job.room:
            cache = cache.resized(job.room, self._device)
        self._caches[job] = cache
        return cache

    def end(self, job: Job) -> None:
        """Give back the job's piece of memory."""
        del self._caches[job]

    def _new(self, job: Job) -> KeyValueCache:
        room = job.room or len(job.request.prompt) + job.passes - 1  # the last token is not read
        return KeyValueCache(self._config, 1, room, self._device, self._dtype)


class InBlocks:
    """For each job as many blocks as its tokens need."""

    def __init__(self, blocks: Blocks) -> None:
        self._blocks = blocks
        self._caches: dict[Job, PagedCache] = {}
        self._aside: dict[Job, Tensor] = {}
        self.moved_bytes = 0

    def put_aside(self) -> None:
        """Copy away what those hold whose room was taken."""
        for job in [job for job in self._caches if job.room == 0]:
            cache = self._caches.pop(job)
            self.moved_bytes += cache.bytes
            self._aside[job] = cache.moved_out()

    def of(self, job: Job) -> PagedCache:
        """Return the job's cache, which takes blocks as it grows."""
        cache = self._caches.setdefault(job, PagedCache(self._blocks))
        if job in self._aside:
            cache.moved_in(self._aside.pop(job))
            self.moved_bytes += cache.bytes
        return cache

    def end(self, job: Job) -> None:
        """Give the job's blocks back."""
        self._caches.pop(job).release()
