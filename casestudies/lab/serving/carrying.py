"""What a pass is: of the model itself, or on paper with costs that were measured."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
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


class Cost(NamedTuple):
    """Seconds of a pass, of each job, of each token of a prompt, of each that caches held."""

    fixed: float
    job: float = 0.0
    prompt: float = 0.0
    context: float = 0.0

    @classmethod
    def measured(cls, passes: Sequence[Pass]) -> "Cost":
        """Return the cost by least squares over passes that were carried out, no part negative."""
        work = np.array([[1, *one.work] for one in passes], dtype=np.float64)
        largest = work.max(axis=0).clip(1)  # columns of one size, for the arithmetic's sake
        seconds, cost = np.array([one.seconds for one in passes]), np.zeros(len(cls._fields))
        kept = np.arange(len(cost))
        # What would be negative is left out. All cannot be, since neither seconds nor work are.
        while (found := np.linalg.lstsq((work / largest)[:, kept], seconds)[0]).min() < 0:
            kept = kept[found >= 0]
        cost[kept] = found
        return cls(*(cost / largest).tolist())

    def seconds(self, work: Work) -> float:
        """Return what a pass takes."""
        tokens = self.fixed + self.job * work.jobs + self.context * work.context
        return tokens + self.prompt * work.prompt

    def scaled(self, prompts: float, tokens: float) -> "Cost":
        """Return the cost on a machine that takes so many times as long for either phase."""
        return Cost(
            tokens * self.fixed, tokens * self.job, prompts * self.prompt, tokens * self.context
        )


class PricedPasses:
    """Passes on paper: tokens without meaning, and seconds by a cost that is linear in the work."""

    def __init__(self, *cost: float) -> None:
        self._cost = Cost(*cost)

    @classmethod
    def measured(cls, passes: Sequence[Pass]) -> "PricedPasses":
        """Return passes priced by those that were carried out."""
        return cls(*Cost.measured(passes))

    def __call__(self, jobs: Sequence[Job]) -> float:
        """Add a token to each job that answers; return the seconds that this should take."""
        work = Work.of(jobs)
        for job in jobs:
            if job.answers:
                job.said.append(0)
        return self._cost.seconds(work)
