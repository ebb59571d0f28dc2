"""Which layers form a stage, and how many ranks share it: what a plan costs, and the best plan.

A step is synchronous: m micro-batches pass all stages forward and backward (1F1B), then the ranks
of each stage add up their gradients. Times in seconds, sizes in bytes, all for one micro-batch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from casestudies.lab.equations.communication import all_reduce_seconds
from casestudies.lab.equations.pipeline import one_f_one_b_live

STATE_BYTES = 4  # of state for each byte of weights: weight, gradient and Adam's two numbers


@dataclass(frozen=True)
class Layer:
    """What one layer costs: its forward and backward pass, and the bytes that it has or keeps."""

    seconds: float
    weight_bytes: float
    output_bytes: float
    kept_bytes: float = 0.0


class Stage(NamedTuple):
    """The layers from `first` until before `end`, on so many ranks that share micro-batches."""

    first: int
    end: int
    ranks: int


Plan = tuple[Stage, ...]


@dataclass(frozen=True)
class Problem:
    """What is to be planned: layers in their order, on ranks that are joined by such links."""

    layers: Sequence[Layer]
    ranks: int
    micro_batches: int
    link_rate: float
    memory: float = inf

    def seconds(self, stage: Stage) -> float:
        """Return the time of a micro-batch in the stage, shared by its ranks."""
        return sum(layer.seconds for layer in self.layers[stage.first : stage.end]) / stage.ranks

    def sending(self, end: int) -> float:
        """Return the time of a micro-batch over the boundary before layer `end`, there and back."""
        if not 0 < end < len(self.layers):
            return 0.0
        return 2 * self.layers[end - 1].output_bytes / self.link_rate

    def adding_up(self, stage: Stage) -> float:
        """Return the time in which the stage's ranks add up their gradients."""
        size = self.weight_bytes(stage)
        if stage.ranks == 1 or not size:
            return 0.0
        return all_reduce_seconds(
            ranks=stage.ranks, payload_bytes=size, latency_seconds=0, link_rate=self.link_rate
        )

    def weight_bytes(self, stage: Stage) -> float:
        """Return the bytes of the stage's weights."""
        return sum(layer.weight_bytes for layer in self.layers[stage.first : stage.end])

    def held(self, stage: Stage, after: int) -> float:
        """Return the bytes that each rank of the stage holds if so many stages come after it."""
        kept = sum(layer.kept_bytes for layer in self.layers[stage.first : stage.end])
        live = one_f_one_b_live(stages=after + 1, micro_batches=self.micro_batches, rank=0)
        return STATE_BYTES * self.weight_bytes(stage) + live * kept / stage.ranks

    def step_seconds(self, plan: Plan) -> float:
        """Return the time of a step: all stages once, then the slowest for each other micro-batch.

        Alpa's equation 2, links counting as stages as in DAPPLE, and the longest all-reduce, which
        nothing hides here. DAPPLE's own formula is `dapple_seconds`, which is never longer.
        """
        passes = [self.seconds(stage) for stage in plan]
        passes += [self.sending(stage.end) for stage in plan]
        longest = max(self.adding_up(stage) for stage in plan)
        return sum(passes) + (self.micro_batches - 1) * max(passes) + longest

    def fits(self, plan: Plan) -> bool:
        """Return whether no rank holds more than its memory."""
        held = (self.held(stage, len(plan) - 1 - n) for n, stage in enumerate(plan))
        return all(size <= self.memory for size in held)


class Label(NamedTuple):
    """The cost of a plan's last stages: the sum and the longest of passes, the longest all-reduce.

    It says all that what comes before them can add to, so a label that another beats in all three
    is no part of a best plan.
    """

    total: float
    slowest: float
    adding_up: float
    plan: Plan

    def beats(self, other: "Label") -> bool:
        """Return whether this is nowhere worse."""
        return all(own <= its for own, its in zip(self[:3], other[:3], strict=True))


def search(problem: Problem) -> Plan | None:
    """Return the plan of the shortest step that fits, on all ranks; None if no plan fits.

    A dynamic program over the last s stages, the layers from k on and d ranks, as Alpa's
    (algorithm 1): how much a stage keeps depends on how many come after it. Alpa goes through
    limits of the slowest stage; here each state keeps all labels that no other beats instead.
    """
    layers = len(problem.layers)
    best: list[Label] = []
    ahead: dict[tuple[int, int], list[Label]] = {(layers, 0): [Label(0.0, 0.0, 0.0, ())]}
    for after in range(min(layers, problem.ranks)):
        here: dict[tuple[int, int], list[Label]] = {}
        for (end, used), labels in ahead.items():
            for stage in _stages_before(end, problem.ranks - used):
                if problem.held(stage, after) > problem.memory:
                    continue
                state = here.setdefault((stage.first, used + stage.ranks), [])
                for label in labels:
                    _keep(state, _extended(problem, stage, label))
        best += here.get((0, problem.ranks), [])
        ahead = here
    cost = {label.plan: problem.step_seconds(label.plan) for label in best}
    return min(cost, key=cost.__getitem__, default=None)


def every_plan(problem: Problem) -> Iterator[Plan]:
    """Yield all plans that use all ranks, also those that do not fit."""

    def plans(end: int, ranks: int) -> Iterator[Plan]:
        if not end and not ranks:
            yield ()
        for stage in _stages_before(end, ranks):
            for before in plans(stage.first, ranks - stage.ranks):
                yield (*before, stage)

    return plans(len(problem.layers), problem.ranks)


def exhaustive(problem: Problem) -> Plan | None:
    """Return the plan of the shortest step among all that fit, each priced; None if none fits."""
    fitting = filter(problem.fits, every_plan(problem))
    return min(fitting, key=problem.step_seconds, default=None)


def dapple_seconds(problem: Problem, plan: Plan) -> float:
    """Return the time of a step by DAPPLE's formula (Fan et al. 2020, section 4, from memory).

    Warming up until the pivot has its first micro-batch, the pivot's other micro-batches, and the
    end, until each stage's last pass back and its all-reduce. The pivot is the stage that waits
    least: looked for from the last on, one that is slower than the pivot and all between them.
    """
    both, back, adding_up = [], [], []
    for stage in plan:
        own, sent = problem.seconds(stage), problem.sending(stage.end)
        both += [own, sent]
        back += [2 * own / 3, sent / 2]  # passes back take twice as long as those forward
        adding_up += [problem.adding_up(stage), 0.0]
    others = problem.micro_batches - 1
    pivot = len(both) - 2  # nothing is sent after the last stage
    for n in reversed(range(pivot)):
        if others * both[n] > others * both[pivot] + sum(both[n + 1 : pivot]):
            pivot = n
    warming_up = sum(both[: pivot + 1]) - sum(back[: pivot + 1])
    ends = [
        sum(back[n : pivot + 1]) if n <= pivot else -sum(back[pivot + 1 : n + 1])
        for n in range(len(both))
    ]
    return warming_up + others * both[pivot] + max(map(sum, zip(ends, adding_up, strict=True)))


def pipedream(problem: Problem) -> Plan:
    """Return the plan of PipeDream's planner (Narayanan et al. 2019, section 3.1, from memory).

    It makes the slowest stage as fast as it can, with weights sent after each micro-batch and
    behind the computation: what holds in its asynchronous steady state. A(j, m), the time of the
    slowest stage of the first j layers on m ranks, is the least of one stage on all m and of
    any last stage on m' ranks behind A(i, m - m'). A stage of W bytes on m ranks takes, with
    computing alone C, max(C, 2 (m - 1) W / link) / m.
    """

    def slowest(stage: Stage) -> float:
        others = stage.ranks - 1
        sending = 2 * others * problem.weight_bytes(stage) / problem.link_rate
        return max(problem.seconds(stage), sending / stage.ranks)

    best: dict[tuple[int, int], tuple[float, Plan]] = {(0, 0): (0.0, ())}
    for end in range(1, len(problem.layers) + 1):
        for ranks in range(1, problem.ranks + 1):
            found = []
            for stage in _stages_before(end, ranks):
                before = best.get((stage.first, ranks - stage.ranks))
                if before:
                    time = max(before[0], problem.sending(stage.first), slowest(stage))
                    found.append((time, (*before[1], stage)))
            if found:
                best[end, ranks] = min(found)
    return best[len(problem.layers), problem.ranks][1]


def _stages_before(end: int, ranks: int) -> Iterator[Stage]:
    for first in range(end):
        for shared in range(1, ranks + 1):
            yield Stage(first, end, shared)


def _extended(problem: Problem, stage: Stage, label: Label) -> Label:
    """Return the label with one stage more before it."""
    own, sent = problem.seconds(stage), problem.sending(stage.end)
    return Label(
        label.total + own + sent,
        max(label.slowest, own, sent),
        max(label.adding_up, problem.adding_up(stage)),
        (stage, *label.plan),
    )


def _keep(labels: list[Label], new: Label) -> None:
    """Add a label unless another beats it, and drop those that it beats."""
    if not any(label.beats(new) for label in labels):
        labels[:] = [label for label in labels if not new.beats(label)] + [new]
