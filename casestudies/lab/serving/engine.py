"""The engine: in each iteration it chooses who is computed for, passes once, and looks again.

Its clock is the time that the passes take, one after another. While nobody is there it is set on to
the next arrival, so that a run waits for nothing and each request still waits for what it would.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from casestudies.lab.serving.arrivals import Request


@dataclass(eq=False)
class Job:
    """A request on its way: the tokens added so far, and when each was there.

    `room` is for how many tokens memory is reserved: 0 where the cache is put aside, and None where
    memory is not limited.
    """

    request: Request
    passes: int  # in which it takes part before it leaves; one for each token
    room: int | None = None
    said: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        """Return whether its prompt was read."""
        return bool(self.times)

    @property
    def done(self) -> bool:
        """Return whether it has nothing more to wait for."""
        return len(self.times) >= self.passes


class Work(NamedTuple):
    """What a pass reads: for how many jobs, tokens of prompts, tokens held by the caches before."""

    jobs: int
    prompt: int
    context: int

    @classmethod
    def of(cls, jobs: Sequence[Job]) -> "Work":
        """Return the work of the next pass for these jobs."""
        prompt = sum(len(job.request.prompt) for job in jobs if not job.begun)
        held = sum(len(job.request.prompt) + len(job.said) - 1 for job in jobs if job.begun)
        return cls(len(jobs), prompt, held)


class Pass(NamedTuple):
    """What one pass read, and the seconds that it took."""

    work: Work
    seconds: float


@dataclass(frozen=True)
class Served:
    """What became of all requests, in the order in which they came, and every pass."""

    jobs: tuple[Job, ...]
    passes: tuple[Pass, ...]

    @property
    def tokens(self) -> int:
        """Return the tokens that were asked for."""
        return sum(job.request.tokens for job in self.jobs)

    @property
    def seconds(self) -> float:
        """Return the time from the first arrival until the last request left."""
        return max(job.times[-1] for job in self.jobs) - self.jobs[0].request.arrival

    @property
    def tokens_per_second(self) -> float:
        """Return the tokens asked for, divided by the time."""
        return self.tokens / self.seconds

    def slot_use(self, slots: int) -> float:
        """Return the tokens asked for, divided by the slots of all passes."""
        return self.tokens / (slots * len(self.passes))


# Returns those of the jobs, which are in the order of their arrival, that the next pass is for.
Policy = Callable[[Sequence[Job], int], Sequence[Job]]
# Adds a token to each of the jobs; returns the seconds.
Carry = Callable[[Sequence[Job]], float]


def serve(requests: Iterable[Request], slots: int, policy: Policy, carry: Carry) -> Served:
    """Return how the requests are served with so many slots."""
    jobs = [Job(r, r.tokens) for r in sorted(requests, key=lambda request: request.arrival)]
    coming, present, passes = deque(jobs), list[Job](), list[Pass]()
    now = 0.0
    while coming or present:
        if not present:
            now = max(now, coming[0].request.arrival)
        while coming and coming[0].request.arrival <= now:
            present.append(coming.popleft())
        chosen = policy(present, slots)
        passes.append(Pass(Work.of(chosen), carry(chosen)))
        now += passes[-1].seconds
        for job in chosen:
            job.times.append(now)
        present = [job for job in present if not job.done]
    return Served(tuple(jobs), tuple(passes))
