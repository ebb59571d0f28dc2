"""Serves the same requests one at a time, in batches, and with a batch for each iteration."""

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share
from casestudies.lab.serving.arrivals import Request, arrivals, at_rate, lengths
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import Policy, Served, serve, serving, together
from casestudies.lab.serving.outcomes import Limits, first_token
from casestudies.lab.serving.policies import iteration_level, request_level, request_level_padded
from casestudies.lab.studies.continuous_batching.about import ContinuousBatchingParameters
from casestudies.lab.studies.continuous_batching.claims import ALONE, ITERATION, PADDED, REQUEST
from casestudies.lab.studies.continuous_batching.points import Point, rate_at

POLICIES: dict[str, Policy] = {
    PADDED: request_level_padded,
    REQUEST: request_level,
    ITERATION: iteration_level,
}
AT_LOADS = (REQUEST, ITERATION)
CARRIED_OUT, ON_PAPER = "carried out", "on paper"
SHORTEST_SHARE = 8  # of the longest prompt, the shortest
LATENCY = 2.0  # at which throughputs are compared, in times of a request alone
MS = 1000


@dataclass(frozen=True)
class Batch:
    """A model, what it is asked for, and the slots."""

    model: LanguageModel
    requests: list[Request]
    slots: int

    def served(self, variants: Iterable[str]) -> dict[str, Served]:
        """Return how it serves its requests in each of these ways, pass by pass in turn."""
        return together(
            {
                name: serving(self.requests, self.slots, POLICIES[name], ModelPasses(self.model))
                for name in variants
            }
        )

    def first(self) -> "Batch":
        """Return the same asked for the first request only."""
        return replace(self, requests=self.requests[:1])

    def replayed(self, variant: str, passes: PricedPasses) -> Served:
        """Return the same on paper."""
        return serve(self.requests, self.slots, POLICIES[variant], passes)


@dataclass(frozen=True)
class Alone:
    """The tokens of each request by itself, and the seconds that one of them took."""

    tokens: list[list[int]]
    latencies: list[float]
    tokens_per_second: float

    @property
    def latency(self) -> float:
        """Return the median seconds a token."""
        return statistics.median(self.latencies)


@dataclass(frozen=True)
class Round:
    """What was served in one round: one at a time, with everyone waiting, and at each load.

    `predicted` is what the replay says of the loads, with costs of the passes of this round that
    were carried out with everyone waiting.
    """

    alone: Alone
    waiting: dict[str, Served]
    loads: dict[tuple[str, float], Served]
    predicted: dict[tuple[str, float], Point]

    def same(self, variant: str) -> float:
        """Return the share of tokens that are those of the requests alone."""
        return same_share(self.waiting[variant], self.alone.tokens)

    def speed_up(self, variant: str) -> float:
        """Return the time of request-level batches divided by the variant's, everyone waiting."""
        return self.waiting[REQUEST].seconds / self.waiting[variant].seconds

    def rate_at_equal_latency(self, variant: str) -> float:
        """Return the tokens per second at twice the latency of a request alone."""
        found = [Point.of(served) for (name, _), served in self.loads.items() if name == variant]
        return rate_at(LATENCY * self.alone.latency, [Point(0, self.alone.latency), *found])

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
        batch, moments = prepared(p, setup, report)
    loads = [round((step + 1) / p.loads, 3) for step in range(p.loads)]
    rounds = list[Round]()
    with report.stage("serving", 0.85) as stage:
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            rounds.append(serve_round(batch, moments, loads))
    report_alone(rounds, report)
    report_waiting(batch, rounds, report)
    for variant in AT_LOADS:
        report_comparison(variant, rounds, report)
        for load in loads:
            report_load(variant, load, rounds, p, report)
    return verdict(rounds, p.slots)


def prepared(
    p: ContinuousBatchingParameters, setup: Setup, report: Report
) -> tuple[Batch, list[float]]:
    """Return a trained model with what it is asked for, and the moments at which that comes."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    size = small_model.Size(p.width, p.layers, p.steps)
    trained = small_model.trained(corpus, size, setup.seed, setup.device)
    generator = torch.Generator().manual_seed(setup.seed)
    shortest = p.longest_prompt // SHORTEST_SHARE
    read = lengths(p.requests, shortest, p.longest_prompt, "uniform", generator)
    added = lengths(p.requests, 1, p.longest_answer, p.answers, generator)
    prompts = small_model.prompts(corpus, trained.tokenizer, read, setup.seed)
    requests = [Request(row.to(setup.device), n) for row, n in zip(prompts, added, strict=True)]
    moments = arrivals(p.requests, p.arrivals, generator)
    return Batch(trained.model, requests, p.slots), moments


def serve_round(batch: Batch, moments: Sequence[float], loads: Sequence[float]) -> Round:
    """Return what is served one at a time, with everyone waiting, and at each of the loads."""
    batch.first().served(POLICIES)  # what is only done the first time is not counted
    alone = serve_alone(batch)
    waiting = batch.served(POLICIES)
    costs = PricedPasses.measured([one for found in waiting.values() for one in found.passes])
    rate = len(batch.requests) / waiting[ITERATION].seconds
    served, predicted = dict[tuple[str, float], Served](), dict[tuple[str, float], Point]()
    for load in loads:
        coming = replace(batch, requests=at_rate(batch.requests, moments, load * rate))
        for variant, found in coming.served(AT_LOADS).items():
            served[variant, load] = found
            predicted[variant, load] = Point.of(coming.replayed(variant, costs))
    return Round(alone, waiting, served, predicted)


def serve_alone(batch: Batch) -> Alone:
    """Return what each request gets by itself."""
    tokens, taken = list[list[int]](), list[float]()
    for request in batch.requests:
        start = time.perf_counter()
        tokens.append(answer(batch.model, request))
        taken.append(time.perf_counter() - start)
    asked = [request.tokens for request in batch.requests]
    latencies = [one / count for one, count in zip(taken, asked, strict=True)]
    return Alone(tokens, latencies, sum(asked) / sum(taken))


def report_alone(rounds: Sequence[Round], report: Report) -> None:
    """Report what serving one at a time was like."""
    report.measure("tokens per second", ALONE, [one.alone.tokens_per_second for one in rounds])
    report.measure("normalized latency", ALONE, [MS * one.alone.latency for one in rounds])
    report.measure("passes", ALONE, sum(map(len, rounds[0].alone.tokens)), how=CARRIED_OUT)


def report_waiting(batch: Batch, rounds: Sequence[Round], report: Report) -> None:
    """Report tokens, passes and times of each way if all requests wait from the beginning."""
    for variant in POLICIES:
        several = [one.waiting[variant] for one in rounds]
        on_paper = batch.replayed(variant, PricedPasses.units())
        report.measure("same tokens", variant, [one.same(variant) for one in rounds])
        report.measure("passes", variant, len(several[0].passes), how=CARRIED_OUT)
        report.measure("passes", variant, len(on_paper.passes), how=ON_PAPER)
        report.measure("slot use", variant, several[0].slot_use(batch.slots))
        report.measure("tokens per second", variant, [one.tokens_per_second for one in several])
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
    latencies = [MS * Point.of(served).latency for served in several]
    firsts = [MS * statistics.median(map(first_token, served.jobs)) for served in several]
    goodput = [
        Limits(p.first_token_limit * t, p.per_token_limit * t).goodput(served)
        for served, t in zip(several, (one.alone.latency for one in rounds), strict=True)
    ]
    report.measure("tokens per second", variant, rates, load=load)
    report.measure("normalized latency", variant, latencies, load=load)
    report.measure("time to first token", variant, firsts, load=load)
    report.measure("goodput", variant, goodput, load=load)
    middle = statistics.median
    report.point("normalized latency by throughput", variant, middle(rates), middle(latencies))
    report.point("goodput by load", variant, load, middle(goodput))


def report_comparison(variant: str, rounds: Sequence[Round], report: Report) -> None:
    """Report the throughput at the latency that all are compared at, and the replay's error."""
    found = [one.rate_at_equal_latency(variant) for one in rounds]
    report.measure("throughput at equal latency", variant, found)
    if variant != REQUEST:
        report.measure("gain at equal latency", variant, gains(rounds))
    report.measure("prediction error", variant, [e for one in rounds for e in one.errors(variant)])


def gains(rounds: Sequence[Round]) -> list[float]:
    """Return by round how many times the throughput is that of batches that stay together."""
    return [
        one.rate_at_equal_latency(ITERATION) / one.rate_at_equal_latency(REQUEST) for one in rounds
    ]


def verdict(rounds: Sequence[Round], slots: int) -> str:
    """Return a few sentences made of the run's own numbers."""
    waiting = rounds[0].waiting
    passes = {name: len(waiting[name].passes) for name in (REQUEST, ITERATION)}
    use = {name: 100 * waiting[name].slot_use(slots) for name in passes}
    same = min(one.same(ITERATION) for one in rounds)
    said = "The same tokens" if same == 1 else f"{100 * same:.1f} % of the tokens are the same"
    speed = statistics.median(one.speed_up(ITERATION) for one in rounds)
    gain = statistics.median(gains(rounds))
    return (
        f"{said} as alone, in {passes[ITERATION]} passes where batches that stay together need"
        f" {passes[REQUEST]}: {use[ITERATION]:.0f} % of the slots are used, not"
        f" {use[REQUEST]:.0f} %. With every request waiting that is {speed:.2f} x the throughput,"
        f" at twice the latency of a request alone {gain:.2f} x."
    )
