"""Serves on two machines, phases together and apart, and replays clusters with what that took."""

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.distributed.link import Link
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer
from casestudies.lab.serving.arrivals import Request, arrivals, lengths
from casestudies.lab.serving.carrying import Cost
from casestudies.lab.serving.engine import Pass
from casestudies.lab.serving.outcomes import percentile
from casestudies.lab.studies.phase_splitting.about import PhaseSplittingParameters
from casestudies.lab.studies.phase_splitting.claims import CHEAPER, EQUAL, MIXED, NO_RATE, SPLIT
from casestudies.lab.studies.phase_splitting.designs import (
    H100,
    Budget,
    Design,
    Pool,
    mixed_designs,
    split_designs,
)
from casestudies.lab.studies.phase_splitting.machines import (
    Asked,
    Machine,
    alone,
    highest_rate,
    mixed,
    split,
)
from casestudies.lab.studies.phase_splitting.phases import (
    MACHINES,
    Found,
    Served,
    Work,
    serve_rounds,
)

WAIT = 95  # percent of the requests whose answers stand still no longer
MS, MIB, MB = 1000, 2**20, 1e6
SHORTEST_SHARE, SHORTEST_ANSWER = 4, 2  # of the longest prompt the shortest; tokens


class Sizes(NamedTuple):
    """Tokens of prompts and answers, and the moments at which they come, one each unit of time."""

    prompts: list[int]
    tokens: list[int]
    moments: list[float]


@dataclass(frozen=True)
class Cluster:
    """What clusters on paper are made of, and what is asked of them."""

    p: PhaseSplittingParameters
    seed: int
    cost: Cost
    token_bytes: int

    @cached_property
    def traces(self) -> list[Sizes]:
        """Return the traces: on the first the clusters are chosen."""
        generator = torch.Generator().manual_seed(self.seed)
        return [sizes(self.p, self.p.requests, generator) for _ in range(1 + self.p.traces)]

    @cached_property
    def expected(self) -> list[list[tuple[float, float, float]]]:
        """Return the latencies of each request alone on the slower kind of machine."""
        return [
            [
                alone(self.cost, Asked(0, *both))
                for both in zip(one.prompts, one.tokens, strict=True)
            ]
            for one in self.traces
        ]

    def rate(self, design: Design, number: int) -> float:
        """Return the highest rate at which a design keeps the limits on a trace, 0 for none."""
        found, expected = self.traces[number], self.expected[number]
        one_by_one = statistics.mean(whole for *_, whole in expected)

        def serve(rate: float) -> list[Asked]:
            asked = [
                Asked(moment / rate, prompt, tokens)
                for prompt, tokens, moment in zip(*found, strict=True)
            ]
            self._serve(design, asked)
            return asked

        return highest_rate(serve, expected, self.p.machines / one_by_one)

    def _serve(self, design: Design, asked: Sequence[Asked]) -> None:
        if design.tokens is None:
            mixed(self._pool(design.prompts, self.p.slots), asked)
            return
        links = [Link(self.p.bandwidth * MB) for _ in range(design.prompts.machines)]
        prompts, tokens = self._pool(design.prompts, 1), self._pool(design.tokens, self.p.slots)
        split(prompts, tokens, links, self.token_bytes, asked)

    def _pool(self, pool: Pool, slots: int) -> list[Machine]:
        cost = self.cost.scaled(pool.kind.prompts, pool.kind.tokens)
        return [Machine(cost, slots) for _ in range(pool.machines)]


def run(parameters: PhaseSplittingParameters, setup: Setup, report: Report) -> str:
    """Measure and replay; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if a rank does not return.
    """
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.2):
        work, said = prepared(p, setup, report)
    with report.stage("serving on two machines", 0.3):
        ranks = on_ranks(MACHINES, serve_rounds, work, p.rounds)
    executed = Executed(work, ranks, said)
    waits = {variant: report_executed(executed, variant, report) for variant in (MIXED, SPLIT)}
    passes = passes_of(s for rank in ranks for one in rank.rounds for s in one.values())
    cluster = Cluster(p, setup.seed, Cost.measured(passes), token_bytes(work))
    with report.stage("replaying", 0.5) as stage:
        cheaper = report_budget(cluster, CHEAPER, report)
        stage.at(0.5, EQUAL)
        equal = report_budget(cluster, EQUAL, report)
    return verdict(cheaper, equal, waits)


def sizes(p: PhaseSplittingParameters, count: int, generator: torch.Generator) -> Sizes:
    """Return so many requests' sizes and moments."""
    shortest = p.longest_prompt // SHORTEST_SHARE
    return Sizes(
        lengths(count, shortest, p.longest_prompt, "uniform", generator),
        lengths(count, SHORTEST_ANSWER, p.longest_answer, "uniform", generator),
        arrivals(count, p.arrivals, generator),
    )


def prepared(
    p: PhaseSplittingParameters, setup: Setup, report: Report
) -> tuple[Work, list[list[int]]]:
    """Return a trained model with what is asked of it, and what each request gets alone."""
    size = small_model.Size(p.width, p.layers, p.steps)
    corpus, trained = small_model.trained_here(size, setup, report)
    asked = sizes(p, p.executed, torch.Generator().manual_seed(setup.seed))
    prompts = small_model.prompts(corpus, trained.tokenizer, asked.prompts, setup.seed)
    said = [
        answer(trained.model, Request(row, tokens))
        for row, tokens in zip(prompts, asked.tokens, strict=True)
    ]
    weights = {name: tensor.numpy() for name, tensor in trained.model.state_dict().items()}
    moments = [moment / (p.load * MACHINES) for moment in asked.moments]
    rows, rate = [row.numpy() for row in prompts], p.bandwidth * MB
    work = Work(trained.model.config, weights, rows, asked.tokens, moments, p.slots, rate)
    return work, said


def token_bytes(work: Work) -> int:
    """Return the bytes of a token's keys and values: 2 L K D numbers of four bytes."""
    config = work.config
    width = config.width // config.heads * config.key_value_heads
    return 2 * config.layers * width * 4


def passes_of(served: Iterable[Served]) -> list[Pass]:
    """Return all passes of what was served."""
    return [one for several in served for one in several.passes]


@dataclass(frozen=True)
class Executed:
    """What two machines carried out, and the tokens that each request gets alone."""

    work: Work
    ranks: Sequence[Found]
    said: Sequence[Sequence[int]]

    @cached_property
    def moments(self) -> list[float]:
        """Return when requests came, in seconds."""
        return [self.ranks[0].unit * moment for moment in self.work.moments]

    def served(self, variant: str, number: int) -> list[Served]:
        """Return what both ranks did in a round."""
        return [rank.rounds[number][variant] for rank in self.ranks]

    def times(self, variant: str, number: int) -> list[list[float]]:
        """Return by request when its tokens were there, in seconds, whichever rank added them."""
        both = self.served(variant, number)
        requests = range(len(self.moments))
        return [[time for one in both for time in one.times.get(n, [])] for n in requests]

    def same_share(self, variant: str, number: int) -> float:
        """Return the share of tokens that are those of the requests alone, to the first other."""
        both, same = self.served(variant, number), 0
        for request, tokens in enumerate(self.said):
            found = [token for one in both for token in one.said.get(request, [])]
            pairs = enumerate(zip(found, tokens, strict=True))
            same += next((n for n, (own, other) in pairs if own != other), len(tokens))
        return same / sum(map(len, self.said))

    def error(self, variant: str, number: int) -> float:
        """Return by how many % the replay's mean completion time differs from that of the round."""
        passes = passes_of(s for rank in self.ranks for s in rank.rounds[number].values())
        asked = replayed(self.work, self.moments, Cost.measured(passes), variant)
        on_paper = statistics.mean(one.last - one.arrival for one in asked)
        times = self.times(variant, number)
        ends = (own[-1] - came for own, came in zip(times, self.moments, strict=True))
        return 100 * abs(on_paper / statistics.mean(ends) - 1)


def report_executed(executed: Executed, variant: str, report: Report) -> float:
    """Report what was carried out and how far the replay is off; return the longest wait, in ms."""
    numbers = range(len(executed.ranks[0].rounds))
    same = min(executed.same_share(variant, number) for number in numbers)
    report.measure("same tokens", variant, same)
    sent = sum(one.sent for one in executed.served(variant, 0))
    report.measure("bytes sent", variant, sent / MIB)
    rows = [noticed(executed.moments, executed.times(variant, number)) for number in numbers]
    for metric in rows[0]:
        report.measure_time(metric, variant, [row[metric] for row in rows])
    report.measure("prediction error", variant, [executed.error(variant, n) for n in numbers])
    return MS * statistics.median(row["longest wait for a token"] for row in rows)


def noticed(moments: Sequence[float], times: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the seconds that those who wait notice, by metric."""
    gaps = [[later - sooner for sooner, later in itertools.pairwise(own)] for own in times]
    firsts, whole = (
        [own[place] - came for own, came in zip(times, moments, strict=True)] for place in (0, -1)
    )
    return {
        "time to first token": statistics.median(firsts),
        "time per token": statistics.median(map(statistics.mean, gaps)),
        "longest wait for a token": percentile(map(max, gaps), WAIT),
        "mean completion time": statistics.mean(whole),
        "completion time, 99 %": percentile(whole, 99),
    }


def replayed(work: Work, moments: Sequence[float], cost: Cost, variant: str) -> list[Asked]:
    """Return what becomes of the trace on paper, with the same two machines."""
    asked = [
        Asked(moment, len(prompt), tokens)
        for moment, prompt, tokens in zip(moments, work.prompts, work.tokens, strict=True)
    ]
    if variant == MIXED:
        for first in range(MACHINES):
            mixed([Machine(cost, work.slots)], asked[first::MACHINES])
    else:
        pools = [Machine(cost, 1)], [Machine(cost, work.slots)]
        split(*pools, [Link(work.rate)], token_bytes(work), asked)
    return asked


def budgets(machines: int) -> dict[str, tuple[Budget, Budget]]:
    """Return by name what mixed machines, and what split pools, may cost and draw."""
    dollars, watts = machines * H100.dollars, machines * H100.watts
    return {
        CHEAPER: (Budget(dollars), Budget(0.8 * dollars)),
        EQUAL: (Budget(dollars, watts), Budget(dollars, watts)),
    }


def report_budget(cluster: Cluster, name: str, report: Report) -> list[float]:
    """Report the best clusters of a budget.

    Returns the gains by trace, none if on one of them mixed machines keep the limits at no rate.
    """
    whole, apart = budgets(cluster.p.machines)[name]
    designs = {MIXED: list(mixed_designs(whole)), SPLIT: list(split_designs(apart))}
    chosen = {
        variant: {design: cluster.rate(design, 0) for design in several}
        for variant, several in designs.items()
    }
    if name == EQUAL:
        report_curves(chosen[SPLIT], max(chosen[MIXED].values()), report)
    found: dict[str, list[float]] = {}
    for variant, rates in chosen.items():
        best = max(rates, key=rates.__getitem__)
        numbers = range(1, 1 + cluster.p.traces)
        found[variant] = [cluster.rate(best, number) for number in numbers]
        report.measure("rate within limits", variant, found[variant], budget=name)
        report_machines(variant, best, name, report)
    if not all(found[MIXED]):
        return []
    gains = [own / base for own, base in zip(found[SPLIT], found[MIXED], strict=True)]
    report.measure("gain in rate", SPLIT, gains, budget=name)
    if name == EQUAL:
        report.measure("gain in rate", SPLIT, gains)
    return gains


def report_machines(variant: str, best: Design, budget: str, report: Report) -> None:
    """Report how many machines the best cluster has for each phase."""
    settings = {"budget": budget, "kinds": best.name}
    report.measure("machines for prompts", variant, best.prompts.machines, **settings)
    tokens = best.tokens or best.prompts
    report.measure("machines for tokens", variant, tokens.machines, **settings)


def report_curves(chosen: Mapping[Design, float], level: float, report: Report) -> None:
    """Draw the rates of all split designs, by kinds, and that of mixed machines beside them."""
    for design, rate in chosen.items():
        x = design.prompts.machines
        report.point("rate by machines for prompts", SPLIT, x, rate, kinds=design.name)
    for x in {design.prompts.machines for design in chosen}:
        report.point("rate by machines for prompts", MIXED, x, level)


def verdict(cheaper: Sequence[float], equal: Sequence[float], waits: Mapping[str, float]) -> str:
    """Return a few sentences made of the run's own numbers."""
    return (
        f"On two machines {WAIT} % of the answers stand still for {waits[SPLIT]:.1f} ms at most"
        f" with phases split, and for {waits[MIXED]:.1f} on machines that do both. On paper, within"
        f" Splitwise's limits of latency, {gained(EQUAL, equal)}, and {gained(CHEAPER, cheaper)}."
    )


def gained(budget: str, gains: Sequence[float]) -> str:
    """Return in words what was gained within a budget."""
    if not gains:
        return f"at {budget} {NO_RATE}"
    served = f"serve {statistics.median(gains):.2f} x the requests of the best mixed machines"
    return f"at {budget} the best split pools {served}"
