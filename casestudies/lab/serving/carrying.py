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
    """Passes of a model, the likeliest token each time, with a cache for each job."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model
        self._device = model.embedding.weight.device
        self._caches: dict[Job, KeyValueCache] = {}

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each of the jobs; return the seconds until the tokens were known."""
        start = time.perf_counter()
        tokens = selective.read(self._model, [self._piece(job) for job in jobs]).argmax(-1)
        for job, token in zip(jobs, tokens.tolist(), strict=True):
            job.said.append(token)
            if len(job.said) == job.passes:
                del self._caches[job]
        return time.perf_counter() - start

    def _piece(self, job: Job) -> Piece:
        if job.begun:
            last = torch.tensor(job.said[-1:], device=self._device)
            return Piece(last, self._caches[job])
        prompt, weights = job.request.prompt, self._model.embedding.weight
        room = len(prompt) + job.passes - 1  # the last token is not read
        cache = KeyValueCache(self._model.config, 1, room, self._device.type, weights.dtype)
        self._caches[job] = cache
        return Piece(prompt, cache)


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

    @classmethod
    def units(cls) -> "PricedPasses":
        """Return passes that take one unit each, whatever they read."""
        return cls(1.0)

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each of the jobs; return the seconds that this should take."""
        work = Work.of(jobs)
        for job in jobs:
            job.said.append(0)
        # No less than nothing, where the least squares would have it so.
        return max(0.0, self._fixed + sum(map(operator.mul, self._each, work)))
