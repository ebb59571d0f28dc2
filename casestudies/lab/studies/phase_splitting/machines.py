"""Machines on paper that read prompts, add tokens, or do both, and what requests wait for.

Splitwise (Patel et al., 2023) reads a prompt and finds the first token on one machine, sends keys
and values to another, and adds the other tokens there. A request goes to the machine of a pool that
has the fewest tokens to read and add (section IV-A).
"""

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from casestudies.lab.distributed.link import Link
from casestudies.lab.replay.search import highest
from casestudies.lab.serving.carrying import Cost
from casestudies.lab.serving.engine import Work
from casestudies.lab.serving.outcomes import percentile

# At most so many times the latency alone on the slower kind of machine, for so many percent of the
# requests: to the first token, between tokens, and in all (Splitwise, table VI).
PERCENTS = (50, 90, 99)
LIMITS = ((2.0, 3.0, 6.0), (1.25, 1.5, 5.0), (1.25, 1.5, 5.0))
LEAST, MOST, HALVINGS = 0.02, 8.0, 10  # of the search for the highest rate


@dataclass(eq=False)
class Asked:
    """A request: when it comes, its tokens, and when its first and its last token were there."""

    arrival: float
    prompt: int
    tokens: int
    first: float = 0.0
    last: float = 0.0

    @property
    def latencies(self) -> tuple[float, float, float]:
        """Return the seconds to the first token, between tokens on average, and in all."""
        between = (self.last - self.first) / max(1, self.tokens - 1)
        return self.first - self.arrival, between, self.last - self.arrival


class Task(NamedTuple):
    """What a machine does for a request: from when on, tokens to be read first, and to be added."""

    asked: Asked
    ready: float
    reads: int
    adds: int


class Machine:
    """Serves those who came first, pass by pass: who is there takes part until it is done."""

    def __init__(self, cost: Cost, slots: int) -> None:
        self._cost, self._slots = cost, slots
        self._clock, self._passes, self._context = 0.0, 0, 0
        self._waiting, self._present = deque[Task](), list[tuple[int, int, Task]]()
        self._order = itertools.count()
        self.pending = 0  # tokens to be read and added

    def submit(self, task: Task) -> None:
        """Let it do a task that is ready no sooner than those before."""
        self._waiting.append(task)
        self.pending += task.reads + task.adds

    def advance(self, until: float = math.inf) -> None:
        """Carry out the passes that begin before then."""
        while self._present or self._waiting:
            begin = self._clock
            if not self._present:
                begin = max(begin, self._waiting[0].ready)
            if begin >= until:
                return
            self._pass(begin)

    def _pass(self, begin: float) -> None:
        joined = self._join(begin)
        read, readers = (
            sum(task.reads for task in joined),
            sum(map(bool, (t.reads for t in joined))),
        )
        self._context += sum(task.asked.prompt for task in joined if not task.reads)
        jobs = len(self._present)
        self._clock = begin + self._cost.seconds(Work(jobs, read, self._context))
        self._passes += 1
        self._context += read + jobs - readers
        self.pending -= read + jobs
        for task in joined:
            if task.reads:
                task.asked.first = self._clock
        while self._present and self._present[0][0] == self._passes:
            task = heapq.heappop(self._present)[-1]
            task.asked.last = self._clock
            self._context -= task.asked.prompt + task.adds - bool(task.reads)

    def _join(self, now: float) -> list[Task]:
        joined = []
        while self._waiting and len(self._present) < self._slots and self._waiting[0].ready <= now:
            task = self._waiting.popleft()
            joined.append(task)
            heapq.heappush(self._present, (self._passes + task.adds, next(self._order), task))
        return joined


def pooled(machines: Sequence[Machine], tasks: Iterable[Task]) -> list[int]:
    """Carry out tasks, in the order in which they are ready; return which machine had each."""
    chosen = []
    for task in tasks:
        for machine in machines:
            machine.advance(task.ready)
        number = min(range(len(machines)), key=lambda n: machines[n].pending)
        machines[number].submit(task)
        chosen.append(number)
    for machine in machines:
        machine.advance()
    return chosen


def mixed(machines: Sequence[Machine], requests: Sequence[Asked]) -> None:
    """Serve requests on machines that each do both."""
    pooled(machines, (Task(one, one.arrival, one.prompt, one.tokens) for one in requests))


def split(
    prompts: Sequence[Machine],
    tokens: Sequence[Machine],
    links: Sequence[Link],
    token_bytes: int,
    requests: Sequence[Asked],
) -> None:
    """Serve requests with prompts on some machines, each with a link, and tokens on others."""
    read_by = pooled(prompts, (Task(one, one.arrival, one.prompt, 1) for one in requests))
    sent = sorted(zip(requests, read_by, strict=True), key=lambda pair: pair[0].first)
    arrived = [
        (links[machine].arrival(token_bytes * one.prompt, one.first), one)
        for one, machine in sent
        if one.tokens > 1
    ]
    arrived.sort(key=lambda pair: pair[0])
    pooled(tokens, (Task(one, ready, 0, one.tokens - 1) for ready, one in arrived))


def alone(cost: Cost, one: Asked) -> tuple[float, float, float]:
    """Return the latencies of a request alone on a machine that does both."""
    asked = Asked(0.0, one.prompt, one.tokens)
    mixed([Machine(cost, 1)], [asked])
    return asked.latencies


def within(requests: Sequence[Asked], expected: Sequence[tuple[float, float, float]]) -> bool:
    """Return whether all limits are kept, given each request's latencies alone."""
    for kind, limits in enumerate(LIMITS):
        slower = [
            one.latencies[kind] / own[kind]
            for one, own in zip(requests, expected, strict=True)
            if own[kind]
        ]
        if slower and any(
            percentile(slower, percent) > limit
            for percent, limit in zip(PERCENTS, limits, strict=True)
        ):
            return False
    return True


def highest_rate(
    serve: Callable[[float], Sequence[Asked]],
    expected: Sequence[tuple[float, float, float]],
    scale: float,
) -> float:
    """Return the highest rate, in requests a second, at which what is served keeps all limits.

    It is sought from a fiftieth of `scale` to eight times that, in logarithms; 0 if there is none.
    """

    def kept(rate: float) -> bool:
        return within(serve(rate), expected)

    return highest(kept, LEAST * scale, MOST * scale, HALVINGS)
