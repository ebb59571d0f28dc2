"""A trained model with adapters, and the requests that it is asked to serve in several ways."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share
from casestudies.lab.serving.arrivals import Request, lengths
from casestudies.lab.serving.carrying import ModelPasses
from casestudies.lab.serving.engine import Policy, Served, serving, together
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.multi_lora.about import MultiLoraParameters
from casestudies.lab.studies.multi_lora.adapters import (
    Adapter,
    Bias,
    Kind,
    LowRank,
    Sparse,
    drawn,
    merge,
    sizes_of,
)
from casestudies.lab.studies.multi_lora.claims import (
    BACKBONE,
    BY_TASK,
    COPIES,
    GATHERED,
    LOOP,
    SWITCH,
)
from casestudies.lab.studies.multi_lora.gathered import ManyTasks
from casestudies.lab.studies.multi_lora.pool import PAGE, Pool, pages_of
from casestudies.lab.studies.multi_lora.ways import (
    Carrying,
    CopiesPasses,
    GatheredPasses,
    SwitchedPasses,
    task_by_task,
)

KINDS = 3  # low rank, biases and a few changed weights in turn


class Way(NamedTuple):
    """Who shares a pass, and what makes the passes anew for each time that all is served."""

    policy: Policy
    passes: Callable[[], Carrying]


class Outcome(NamedTuple):
    """What was served, and the bytes that were brought in for it."""

    served: Served
    moved: int


@dataclass(frozen=True)
class Case:
    """Requests, the tokens that each gets from a copy of its own, and how they are served."""

    requests: list[Request]
    own: list[list[int]]
    ways: Mapping[str, Way]
    rounds: list[dict[str, Outcome]] = field(default_factory=list)

    def serve(self, slots: int) -> None:
        """Serve all requests in each of the ways, pass by pass in turn."""
        self.rounds.append(self.outcomes(self.requests, slots))

    def outcomes(self, requests: Sequence[Request], slots: int) -> dict[str, Outcome]:
        """Return what becomes of the requests in each of the ways."""
        passes = {name: way.passes() for name, way in self.ways.items()}
        served = together(
            {
                name: serving(requests, slots, way.policy, passes[name])
                for name, way in self.ways.items()
            }
        )
        return {name: Outcome(served[name], passes[name].moved_bytes) for name in self.ways}

    def each(self, name: str, value: Callable[[Served], float]) -> list[float]:
        """Return a value of what was served in one of the ways, round by round."""
        return [value(one[name].served) for one in self.rounds]

    def rate(self, name: str) -> list[float]:
        """Return the requests per second, round by round."""
        return self.each(name, lambda served: len(served.jobs) / served.seconds)

    def gain(self, name: str, over: str) -> list[float]:
        """Return the time of another way divided by that of this one, round by round."""
        return [one[over].served.seconds / one[name].served.seconds for one in self.rounds]

    def same(self, name: str) -> float:
        """Return the least share of tokens that are those of a copy of its own."""
        return min(self.each(name, lambda served: same_share(served, self.own)))


@dataclass(frozen=True)
class Bench:
    """A trained model, prompts, the lengths of their answers, and adapters."""

    p: MultiLoraParameters
    model: LanguageModel
    requests: list[Request]
    adapters: list[Adapter]  # all of low rank
    mixed: list[Adapter]  # of three kinds in turn
    generator: torch.Generator

    @property
    def device(self) -> str:
        """Return where it computes."""
        return self.model.embedding.weight.device.type

    @property
    def model_bytes(self) -> int:
        """Return the bytes of a full copy of the model."""
        return sum(weight.nbytes for weight in self.model.parameters())

    @property
    def adapter_bytes(self) -> int:
        """Return the bytes of the pages of an adapter of low rank."""
        return pages_of(self.adapters[0]) * PAGE * 4

    def room(self, count: int) -> int:
        """Return for how many adapters the pool has room, if there are so many."""
        return min(count, self.p.slots + self.p.spare)

    def gathered(self, adapters: Sequence[Adapter], *, one_by_one: bool = False) -> GatheredPasses:
        """Return passes with adapters beside the weights."""
        pool = Pool.with_room_for(self.room(len(adapters)), adapters, self.device)
        return GatheredPasses(ManyTasks(self.model, pool, one_by_one=one_by_one))

    def case(
        self, requests: list[Request], adapters: Sequence[Adapter], ways: Mapping[str, Way]
    ) -> Case:
        """Return the case, with what each request gets from a copy of its own."""
        return Case(requests, own_answers(self.model, requests, adapters), ways)


def prepared(p: MultiLoraParameters, setup: Setup, report: Report) -> Bench:
    """Return a trained model, what is asked of it, and adapters."""
    size = small_model.Size(p.width, p.layers, p.steps)
    corpus, trained = small_model.trained_here(size, setup, report)
    generator = torch.Generator().manual_seed(setup.seed)
    count, longest = max(p.adapters * p.requests_each, p.slots), p.longest_prompt
    read = lengths(count, longest // 2, longest, "uniform", generator)
    added = lengths(count, 1, p.longest_answer // 2, "uniform", generator)
    requests = small_model.requests(corpus, trained.tokenizer, read, added, setup)
    sizes, low = sizes_of(trained.model), LowRank(p.rank)
    several: tuple[Kind, ...] = (low, Bias(), Sparse())
    tasks = range(max(p.adapters, p.slots))
    adapters = [drawn(low, sizes, generator) for _ in tasks]
    mixed = [drawn(several[task % KINDS], sizes, generator) for task in tasks]
    return Bench(p, trained.model, requests, adapters, mixed, generator)


def own_answers(
    model: LanguageModel, requests: Iterable[Request], adapters: Sequence[Adapter]
) -> list[list[int]]:
    """Return the tokens of each request from a copy that its adapter is merged into."""
    own, found = copy.deepcopy(model), []
    for request in requests:
        merge(model, adapters[request.task], own)
        found.append(answer(own, request))
    return found


def shared_case(bench: Bench, count: int) -> Case:
    """Return all requests, about as many for each of so many tasks, in a random order."""
    asked = bench.requests[: bench.p.adapters * bench.p.requests_each]
    order = torch.randperm(len(asked), generator=bench.generator).tolist()
    requests = [
        replace(request, task=place % count) for request, place in zip(asked, order, strict=True)
    ]
    adapters = bench.adapters[:count]
    ways = {
        BACKBONE: Way(iteration_level, partial(ModelPasses, bench.model)),
        SWITCH: Way(task_by_task, partial(SwitchedPasses, bench.model, adapters)),
        LOOP: Way(iteration_level, partial(bench.gathered, adapters, one_by_one=True)),
        GATHERED: Way(iteration_level, partial(bench.gathered, adapters)),
    }
    return bench.case(requests, adapters, ways)


def each_its_own(bench: Bench) -> Case:
    """Return one batch of requests, each with its own adapter and a longest answer."""
    requests = [
        replace(request, task=number, tokens=bench.p.longest_answer)
        for number, request in enumerate(bench.requests[: bench.p.slots])
    ]
    adapters = bench.adapters[: bench.p.slots]
    copies = CopiesPasses(bench.model, adapters)  # made once: their making is not served time
    ways = {
        BACKBONE: Way(iteration_level, partial(ModelPasses, bench.model)),
        COPIES: Way(task_by_task, lambda: copies),
        LOOP: Way(iteration_level, partial(bench.gathered, adapters, one_by_one=True)),
        GATHERED: Way(iteration_level, partial(bench.gathered, adapters)),
    }
    return bench.case(requests, adapters, ways)


def mixed_kinds(bench: Bench, each: int) -> Case:
    """Return queries of one token, so many for each task, and the kinds of tasks mixed."""
    tasks = max(KINDS, bench.p.adapters // each)
    requests = [
        replace(request, task=number % tasks, tokens=1)
        for number, request in enumerate(bench.requests[: bench.p.adapters])
    ]
    adapters = bench.mixed[:tasks]
    passes = partial(bench.gathered, adapters)
    ways = {BY_TASK: Way(task_by_task, passes), GATHERED: Way(iteration_level, passes)}
    return bench.case(requests, adapters, ways)
