"""Serves requests in blocks, with a tree of prefixes or without; tree work is on the clock too."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.paged import Blocks, PagedCache
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.carrying import ModelPasses
from casestudies.lab.serving.engine import Job
from casestudies.lab.studies.prefix_cache.tree import PrefixTree


@dataclass(frozen=True, eq=False)
class Turn(Request):
    """A request that is made when another has been answered, if it names one."""

    after: Request | None = None


class Server:
    """Decides who gets blocks, and passes: both the policy and the passes of an engine.

    A request is given blocks for all of its prompt and answer before it begins, but for those that
    the tree holds, and waits until they are free. First come, first served; or who has most in the
    tree is first, if it is `aware` (SGLang's longest shared prefix first).
    """

    def __init__(
        self, model: LanguageModel, blocks: Blocks, *, tree: bool, aware: bool = False
    ) -> None:
        self._blocks = blocks
        self.tree = PrefixTree(blocks) if tree else None
        self._aware = aware
        self._held: dict[Job, PagedCache] = {}
        self._passes = ModelPasses(model, self)
        self._deciding = 0.0  # seconds since the last pass
        self.moved_bytes = 0

    @property
    def tokens_read(self) -> int:
        """Return the tokens that passed through the model."""
        return self._passes.tokens_read

    def choose(self, present: Sequence[Job], slots: int) -> Sequence[Job]:
        """Return those whom the next pass is for."""
        start = time.perf_counter()
        for job in self._waiting(present):
            if len(self._held) == slots or not self._admitted(job):
                break
        self._deciding += time.perf_counter() - start
        return [job for job in present if job in self._held]

    def carry(self, jobs: Sequence[Job]) -> float:
        """Add a token to each of the jobs; return the seconds that this and the decision took."""
        start = time.perf_counter()
        new = [job for job in jobs if not job.said]
        self._passes(jobs)
        for job in new:
            self._keep(job)
        seconds = self._deciding + time.perf_counter() - start
        self._deciding = 0.0
        return seconds

    def put_aside(self) -> None:
        """Do nothing: who has begun goes on."""

    def of(self, job: Job) -> PagedCache:
        """Return the job's cache."""
        return self._held[job]

    def end(self, job: Job) -> None:
        """Leave the text to the tree, and give the job's blocks back."""
        self._keep(job)
        self._held.pop(job).release()

    def _waiting(self, present: Sequence[Job]) -> list[Job]:
        here = {job.request for job in present}
        waiting = [job for job in present if job not in self._held and _before(job) not in here]
        if self._aware and self.tree:
            known = {job: self.tree.known(_reusable(job)) for job in waiting}
            waiting.sort(key=lambda job: -known[job])
        return waiting

    def _admitted(self, job: Job) -> bool:
        known = self.tree.match(_reusable(job)) if self.tree else []
        cache = PagedCache(self._blocks, tuple(known))
        tokens = len(job.request.prompt) + job.passes - 1  # the last is not read
        lacking = -(-tokens // self._blocks.size) - len(known) - self._blocks.free
        if lacking > 0 and not (self.tree and self.tree.evict(lacking)):
            cache.release()
            return False
        cache.reserve(tokens)
        self._held[job] = cache
        job.read = cache.length
        return True

    def _keep(self, job: Job) -> None:
        if self.tree and job in self._held:
            cache = self._held[job]
            text = [*job.request.prompt.tolist(), *job.said][: cache.length]
            self.tree.insert(text, cache.table)


def _before(job: Job) -> Request | None:
    return job.request.after if isinstance(job.request, Turn) else None


def _reusable(job: Job) -> list[int]:
    """Return the prompt without its last token, which is read for what follows it."""
    tokens: list[int] = job.request.prompt[:-1].tolist()
    return tokens
