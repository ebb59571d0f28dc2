"""What a pass is: of the model itself, or on paper with costs that were measured."""

import operator
import time
from collections.abc import Sequence

import torch
from torch import Tensor

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.serving import selective
from casestudies.lab.serving.caches import Caches, InOnePiece
from casestudies.lab.serving.engine import Job, Pass, Work
from casestudies.lab.serving.selective import Piece


class ModelPasses:
    """Passes of a model, the likeliest token each time, with a cache for each job.

    Each has a piece of memory for its cache, unless other caches are given.
    """

    def __init__(self, model: LanguageModel, caches: Caches | None = None) -> None:
        self._model = model
        self._device = model.embedding.weight.device.type
        self._caches = caches or InOnePiece(model)
        self.tokens_read = 0

    @property
    def moved_bytes(self) -> int:
        """Return the bytes of keys and values that were put aside and brought back."""
        return self._caches.moved_bytes

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds until the tokens were known."""
        start = time.perf_counter()
        self._caches.put_aside()
        pieces = [Piece(self._tokens(job), self._caches.of(job)) for job in jobs]
        tokens = selective.read(self._model, pieces).argmax(-1)
        self.tokens_read += sum(len(piece.tokens) for piece in pieces)
        for job, token in zip(jobs, tokens.tolist(), strict=True):
            if job.answers:
                job.said.append(token)
            if len(job.said) == job.passes:
                self._caches.end(job)
        return time.perf_counter() - start

    def _tokens(self, job: Job) -> Tensor:
        if job.reads:
            return job.request.prompt[job.read : job.read + job.reads]
        return torch.tensor(job.said[-1:], device=self._device)


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
