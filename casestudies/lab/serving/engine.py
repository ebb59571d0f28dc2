"""The engine: in each iteration it chooses who is computed for, passes once, and looks again.

Its clock is the time that the passes take, one after another. While nobody is there it is set on to
the next arrival, so that a run waits for nothing and each request still waits for what it would.
"""

from collections import deque
from collections.abc import Callable, Generator, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

from casestudies.lab.serving.arrivals import Request


@dataclass(eq=False)
class Job:
    """A request on its way: the tokens added so far, and when each was there.

    `room` is for how many tokens memory is reserved: 0 where the cache is put aside, and None where
    memory is not limited. `chunk` is how many tokens of its prompt the next pass may read, and None
    where it reads all that is left. One that is not `streamed` gives all back as it leaves.
    """

    request: Request
    passes: int  # in which it takes part before it leaves; one for each token
    room: int | None = None
    chunk: int | None = None
    streamed: bool = True
    read: int = 0  # tokens of its prompt
    said: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    @property
    def begun(self) -> bool:
        """Return whether some of its prompt was read."""
        return self.read > 0

    @property
    def reads(self) -> int:
        """Return how many tokens of its prompt the next pass reads."""
        left = len(self.request.prompt) - self.read
        return left if self.chunk is None else min(left, self.chunk)

    @property
    def answers(self) -> bool:
        """Return whether the next pass adds a token: its prompt is read to the end by then."""
        return self.read + self.reads == len(self.request.prompt)

    @property
    def held(self) -> int:
        """Return the tokens that its cache holds: all but the last that was added."""
        return self.read + max(0, len(self.said) - 1)

    @property
    def returned(self) -> list[float]:
        """Return when whoever asked had each of the tokens."""
        return self.times if self.streamed else self.times[-1:] * self.request.tokens

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
        return cls(len(jobs), sum(job.reads for job in jobs), sum(job.held for job in jobs))


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
# Reads for each of the jobs, adds a token to those that answer then, and returns the seconds.
Carry = Callable[[Sequence[Job]], float]


Name = TypeVar("Name", bound=Hashable)
# Yields the clock after each pass, and returns what became of all requests.
Serving = Generator[float, None, Served]


def serving(requests: Iterable[Request], slots: int, policy: Policy, carry: Carry) -> Serving:
    """Serve the requests with so many slots, pass by pass."""
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
            if job.answers:
                job.times.append(now)
            job.read += job.reads
        present = [job for job in present if not job.done]
        yield now
    return Served(tuple(jobs), tuple(passes))


def serve(requests: Iterable[Request], slots: int, policy: Policy, carry: Carry) -> Served:
    """Return how the requests are served with so many slots."""
    return together({"": serving(requests, slots, policy, carry)})[""]


def together(several: Mapping[Name, Serving]) -> dict[Name, Served]:
    """Return how each of several is served, pass by pass in turn, by its name.

    The next pass is of whoever's clock is behind. So other work on the machine, which slows it down
    for a while, does so for all of them at the same time on their clocks.
    """
    clocks, served = dict.fromkeys(several, 0.0), dict[Name, Served]()
    while clocks:
        name = min(clocks, key=clocks.__getitem__)
        try:
            clocks[name] = next(several[name])
        except StopIteration as end:
            served[name] = end.value
            del clocks[name]
    return {name: served[name] for name in several}
