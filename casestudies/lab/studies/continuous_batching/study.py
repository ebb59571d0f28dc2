"""Serves the same requests one at a time, in batches, and with a batch for each iteration."""

import operator
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share, same_tokens
from casestudies.lab.serving.arrivals import Request, arrivals, at_rate, lengths
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import (
    Carry,
    Policy,
    Served,
    Serving,
    serving,
    together,
)
from casestudies.lab.serving.outcomes import Limits, first_token
from casestudies.lab.serving.policies import iteration_level, request_level, request_level_padded
from casestudies.lab.studies.continuous_batching.about import ContinuousBatchingParameters
from casestudies.lab.studies.continuous_batching.claims import ALONE, ITERATION, PADDED, REQUEST
from casestudies.lab.studies.continuous_batching.points import Point, rate_at

POLICIES: dict[str, Policy] = {
    ALONE: iteration_level,  # with one slot
    PADDED: request_level_padded,
    REQUEST: request_level,
    ITERATION: iteration_level,
}
AT_LOADS = (REQUEST, PADDED, ITERATION)
GAINS = {"gain at equal latency": REQUEST, "gain over padded batches": PADDED}
SHORTEST_SHARE = 8  # of the longest prompt, the shortest
LATENCY = 2.0  # at which throughputs are compared, in times of a request alone
MS = 1000


@dataclass(frozen=True)
class Trace:
    """What is asked of a model, the moments at which it comes, and the slots."""

    model: LanguageModel
    requests: list[Request]
    moments: list[float]
    slots: int

    @cached_property
    def alone(self) -> list[list[int]]:
        """Return the tokens that each request gets by itself."""
        return [answer(self.model, request) for request in self.requests]

    def coming(self, rate: float) -> list[Request]:
        """Return the requests as they come at so many a second."""
        return at_rate(self.requests, self.moments, rate)

    def serving(self, variant: str, requests: Sequence[Request], carry: Carry) -> Serving:
        """Serve the requests that way."""
        slots = 1 if variant == ALONE else self.slots
        return serving(requests, slots, POLICIES[variant], carry)

    def waiting(self, requests: Sequence[Request]) -> dict[str, Served]:
        """Return how the requests are served in each of the ways, pass by pass in turn."""
        return together(
            {name: self.serving(name, requests, ModelPasses(self.model)) for name in POLICIES}
        )


@dataclass(frozen=True)
class Round:
    """What was served in one round: with everyone waiting, and at each load.

    `predicted` is what the replay says of the loads, with costs of the passes of this round that
    were carried out with everyone waiting.
    """

    waiting: dict[str, Served]
    loads: dict[tuple[str, float], Served]
    predicted: dict[tuple[str, float], Point]

    @property
    def alone(self) -> float:
        """Return the median seconds that a token of a request takes which is served alone."""
        jobs = self.waiting[ALONE].jobs
        ends = [0.0, *(job.times[-1] for job in jobs)]
        taken = (end - begin for begin, end in pairwise(ends))
        return statistics.median(t / job.request.tokens for t, job in zip(taken, jobs, strict=True))

    def speed_up(self, variant: str) -> float:
        """Return the time of request-level batches divided by the variant's, everyone waiting."""
        return self.waiting[REQUEST].seconds / self.waiting[variant].seconds

    def rate_at_equal_latency(self, variant: str) -> float | None:
        """Return the tokens per second at twice the latency of a request alone, if reached."""
        found = [Point.of(served) for (name, _), served in self.loads.items() if name == variant]
        return rate_at(LATENCY * self.alone, [Point(0, self.alone), *found])

    def errors(self, variant: str) -> list[float]:
        """Return how far the replay is from what was carried out at the loads, in percent."""
        return [
            100 * error
            for key, served in self.loads.items()
            if key[0] == variant
            for error in self.predicted[key].errors(Point.of(served))
        ]


def run(parameters: ContinuousBatchingParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.15):
        trace = prepared(p, setup, report)
    loads = [round((step + 1) / p.loads, 3) for step in range(p.loads)]
    rounds = list[Round]()
    with report.stage("serving", 0.85) as stage:
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            rounds.append(serve_round(trace, loads))
    for variant in POLICIES:
        report_waiting(trace, variant, rounds, report)
    report.measure_time("normalized latency", ALONE, [one.alone for one in rounds])
    for variant in AT_LOADS:
        report_comparison(variant, rounds, report)
        for load in loads:
            report_load(variant, load, rounds, p, report)
    return verdict(trace, rounds)


def prepared(p: ContinuousBatchingParameters, setup: Setup, report: Report) -> Trace:
    """Return a trained model and what is asked of it."""
    size = small_model.Size(p.width, p.layers, p.steps)
    corpus, trained = small_model.trained_here(size, setup, report)
    generator = torch.Generator().manual_seed(setup.seed)
    shortest = p.longest_prompt // SHORTEST_SHARE
    read = lengths(p.requests, shortest, p.longest_prompt, "uniform", generator)
    added = lengths(p.requests, 1, p.longest_answer, p.answers, generator)
    requests = small_model.requests(corpus, trained.tokenizer, read, added, setup)
    moments = arrivals(p.requests, p.arrivals, generator)
    return Trace(trained.model, requests, moments, p.slots)


def serve_round(trace: Trace, loads: Sequence[float]) -> Round:
    """Return what is served with everyone waiting, and at each of the loads."""
    trace.waiting(trace.requests[:1])  # what is only done the first time is not counted
    waiting = trace.waiting(trace.requests)
    costs = PricedPasses.measured([one for found in waiting.values() for one in found.passes])
    rate = len(trace.requests) / waiting[ITERATION].seconds
    coming = {(name, load): trace.coming(load * rate) for load in loads for name in AT_LOADS}
    served = together(
        {
            key: trace.serving(key[0], requests, ModelPasses(trace.model))
            for key, requests in coming.items()
        }
    )
    on_paper = together(
        {key: trace.serving(key[0], requests, costs) for key, requests in coming.items()}
    )
    return Round(waiting, served, {key: Point.of(found) for key, found in on_paper.items()})


def report_waiting(trace: Trace, variant: str, rounds: Sequence[Round], report: Report) -> None:
    """Report tokens, passes and times of a way if all requests wait from the beginning."""
    several = [one.waiting[variant] for one in rounds]
    same = min(same_share(served, trace.alone) for served in several)
    report.measure("same tokens", variant, same)
    report.measure("passes", variant, len(several[0].passes))
    report.measure("tokens per second", variant, [one.tokens_per_second for one in several])
    if variant != ALONE:
        report.measure("slot use", variant, several[0].slot_use(trace.slots))
    if variant != REQUEST:
        report.measure("speed-up", variant, [one.speed_up(variant) for one in rounds])


def report_load(
    variant: str,
    load: float,
    rounds: Sequence[Round],
    p: ContinuousBatchingParameters,
    report: Report,
) -> None:
    """Report what serving at a load was like."""
    several = [one.loads[variant, load] for one in rounds]
    rates = [served.tokens_per_second for served in several]
    latencies = [Point.of(served).latency for served in several]
    firsts = [statistics.median(map(first_token, served.jobs)) for served in several]
    goodput = [
        Limits(p.first_token_limit * t, p.per_token_limit * t).goodput(served)
        for served, t in zip(several, (one.alone for one in rounds), strict=True)
    ]
    report.measure("tokens per second", variant, rates, load=load)
    report.measure_time("normalized latency", variant, latencies, load=load)
    report.measure_time("time to first token", variant, firsts, load=load)
    report.measure("goodput", variant, goodput, load=load)
    middle = statistics.median
    latency = MS * middle(latencies)
    report.point("normalized latency by throughput", variant, middle(rates), latency)
    report.point("goodput by load", variant, load, middle(goodput))


def report_comparison(variant: str, rounds: Sequence[Round], report: Report) -> None:
    """Report the throughput at the latency that all are compared at, and the replay's error."""
    if found := at_equal_latency(variant, rounds):
        report.measure("throughput at equal latency", variant, found)
    for metric, other in GAINS.items():
        if variant == ITERATION and (several := gains(other, rounds)):
            report.measure(metric, variant, several)
    report.measure("prediction error", variant, [e for one in rounds for e in one.errors(variant)])


def at_equal_latency(variant: str, rounds: Sequence[Round]) -> list[float]:
    """Return by round the throughput at that latency, or nothing if some round did not reach it."""
    found = [one.rate_at_equal_latency(variant) for one in rounds]
    reached = [rate for rate in found if rate is not None]
    return reached if len(reached) == len(found) else []


def gains(other: str, rounds: Sequence[Round]) -> list[float]:
    """Return by round how many times the other's throughput a batch for each pass has.

    That is at equal latency; nothing is returned where it was not reached.
    """
    ours, theirs = (at_equal_latency(name, rounds) for name in (ITERATION, other))
    return list(map(operator.truediv, ours, theirs))


def verdict(trace: Trace, rounds: Sequence[Round]) -> str:
    """Return a few sentences made of the run's own numbers."""
    waiting = rounds[0].waiting
    passes = {name: len(waiting[name].passes) for name in (REQUEST, ITERATION)}
    use = {name: 100 * waiting[name].slot_use(trace.slots) for name in passes}
    same = min(same_share(one.waiting[ITERATION], trace.alone) for one in rounds)
    speed = statistics.median(one.speed_up(ITERATION) for one in rounds)
    return (
        f"{same_tokens(same)} as alone,"
        f" in {passes[ITERATION]} passes where batches that stay together need"
        f" {passes[REQUEST]}: {use[ITERATION]:.0f} % of the slots are used, not"
        f" {use[REQUEST]:.0f} %. With every request waiting that is {speed:.2f} x the throughput."
        f" {gained(rounds)}"
    )


def gained(rounds: Sequence[Round]) -> str:
    """Return a sentence on what is gained at equal latency."""
    several = [gains(other, rounds) for other in GAINS.values()]
    if not all(several):
        return "Twice the latency of a request alone was not reached."
    whole, padded = map(statistics.median, several)
    return (
        f"At twice the latency of a request alone it is {whole:.2f} x, and {padded:.2f} x that of"
        " padded batches, Orca's own baseline."
    )
