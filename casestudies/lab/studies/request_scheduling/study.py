"""Serves one trace with three queues, and with memory held by two rules, on one engine."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share
from casestudies.lab.serving.arrivals import Request, arrivals, at_rate, lengths
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import (
    Carry,
    Job,
    Served,
    Serving,
    serve,
    serving,
    together,
)
from casestudies.lab.serving.memory import WithinMemory
from casestudies.lab.serving.outcomes import Limits, completion, mean_completion, percentile
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.serving.queues import Arrival, Feedback, Queue, Shortest
from casestudies.lab.studies.request_scheduling.about import RequestSchedulingParameters
from casestudies.lab.studies.request_scheduling.claims import (
    FEEDBACK,
    FIRST,
    LOADS,
    PREDICTED,
    SHORTEST,
    WORST,
)

SHORTEST_SHARE, SHORTEST_ANSWER = 8, 4  # of the longest prompt the shortest; tokens
BUCKETS = 10  # lengths that a predictor tells apart
MANY = 16  # times the slots where only memory limits how many are served at once
BY_ITSELF = 8  # requests served one at a time, for the time of a pass for one
PERCENTILES = {
    "median completion time": 50,
    "completion time, 95 %": 95,
    "completion time, 99 %": 99,
}
MIB = 2**20


QUEUES = (FIRST, SHORTEST, FEEDBACK)
RESERVED = (WORST, PREDICTED)


@dataclass(frozen=True)
class Trace:
    """What is asked of a model, the moments at which it comes, and predicted answers' lengths."""

    p: RequestSchedulingParameters
    model: LanguageModel
    requests: list[Request]
    moments: list[float]
    predicted: Mapping[Request, int]

    @cached_property
    def alone(self) -> list[list[int]]:
        """Return the tokens that each request gets by itself."""
        return [answer(self.model, request) for request in self.requests]

    def serving(self, variant: str, carry: Carry, requests: Sequence[Request]) -> Serving:
        """Serve the requests that way."""
        longest = self.p.longest_prompt + self.p.longest_answer
        reserve = self._predicted if variant == PREDICTED else self._longest
        policy = WithinMemory(self._queue(variant), self.p.slots * longest, longest, reserve)
        slots = self.p.slots * (MANY if variant in RESERVED else 1)
        return serving(requests, slots, policy, carry)

    def coming(self, rate: float) -> list[Request]:
        """Return the requests as they come at so many a second."""
        return at_rate(self.requests, self.moments, rate)

    def _queue(self, variant: str) -> Queue:
        if variant == FEEDBACK:
            return Feedback(self.p.quantum, self.p.levels, self.p.patience)
        return Shortest() if variant == SHORTEST else Arrival()

    def _longest(self, job: Job) -> int:
        return len(job.request.prompt) + self.p.longest_answer

    def _predicted(self, job: Job) -> int:
        return len(job.request.prompt) + self.predicted[job.request]


@dataclass(frozen=True)
class Round:
    """What was served in one round: with everyone waiting, and at each load by each queue.

    `alone` are the seconds of a pass for one request, and `on_paper` what the replay says of the
    loads. `carried` are the passes of each way, of a queue those at the first load.
    """

    alone: float
    waiting: dict[str, Served]
    loads: dict[tuple[str, float], Served]
    on_paper: dict[tuple[str, float], Served]
    carried: dict[str, ModelPasses]

    def done(self, variant: str, percent: int | None = None) -> float:
        """Return what so many percent of the completion times do not exceed, or their mean.

        They are those of a queue at the first load.
        """
        served = self.loads[variant, LOADS[0]]
        if percent is None:
            return mean_completion(served)
        return percentile(map(completion, served.jobs), percent)

    def gain(self, variant: str, percent: int | None = None) -> float:
        """Return the same of first come, first served, divided by the queue's."""
        return self.done(FIRST, percent) / self.done(variant, percent)

    def errors(self, variant: str) -> list[float]:
        """Return how far the replay's mean completion times are from those of the run, in %."""
        return [
            100 * abs(mean_completion(self.on_paper[key]) / mean_completion(served) - 1)
            for key, served in self.loads.items()
            if key[0] == variant
        ]


def run(parameters: RequestSchedulingParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.15):
        trace = prepared(p, setup, report)
    rounds = list[Round]()
    with report.stage("serving", 0.85) as stage:
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            rounds.append(serve_round(trace, LOADS[: p.loads]))
    for variant in QUEUES:
        report_completion(variant, rounds, report)
        report_queue(trace, variant, rounds, report)
        for load in LOADS[: p.loads]:
            report_load(variant, load, rounds, p, report)
    report_reserved(trace, rounds, report)
    return verdict(rounds)


def prepared(p: RequestSchedulingParameters, setup: Setup, report: Report) -> Trace:
    """Return a trained model and what is asked of it."""
    size = small_model.Size(p.width, p.layers, p.steps)
    corpus, trained = small_model.trained_here(size, setup, report)
    generator = torch.Generator().manual_seed(setup.seed)
    shortest = p.longest_prompt // SHORTEST_SHARE
    read = lengths(p.requests, shortest, p.longest_prompt, "uniform", generator)
    added = lengths(p.requests, SHORTEST_ANSWER, p.longest_answer, p.answers, generator)
    requests = small_model.requests(corpus, trained.tokenizer, read, added, setup)
    moments = arrivals(p.requests, p.arrivals, generator)
    found = predictions(added, p.longest_answer, p.predicted_right, generator)
    predicted = dict(zip(requests, found, strict=True))
    return Trace(p, trained.model, requests, moments, predicted)


def predictions(
    tokens: Sequence[int], longest: int, right: float, generator: torch.Generator
) -> list[int]:
    """Return for each answer the end of the tenth of the longest that it is predicted to be in.

    That is its own with a chance of `right`, and else any of the ten.
    """
    hits = torch.rand(len(tokens), generator=generator) < right
    others = torch.randint(1, BUCKETS + 1, (len(tokens),), generator=generator).tolist()
    buckets = [
        math.ceil(BUCKETS * count / longest) if hit else other
        for count, hit, other in zip(tokens, hits.tolist(), others, strict=True)
    ]
    return [math.ceil(bucket * longest / BUCKETS) for bucket in buckets]


def serve_round(trace: Trace, loads: Sequence[float]) -> Round:
    """Return what is served with everyone waiting, and at each of the loads by each queue."""
    # The first request by itself, since what is only done the first time is not counted.
    for requests in (trace.requests[:1], trace.requests):
        carried = {name: ModelPasses(trace.model) for name in RESERVED}
        waiting = together(
            {name: trace.serving(name, carried[name], requests) for name in RESERVED}
        )
    single = serve(trace.requests[:BY_ITSELF], 1, iteration_level, ModelPasses(trace.model))
    passes = [one for served in (single, *waiting.values()) for one in served.passes]
    costs = PricedPasses.measured(passes)
    rate = capacity(waiting[WORST], trace.p.slots)
    coming = {(name, load): trace.coming(load * rate) for load in loads for name in QUEUES}
    carries = {key: ModelPasses(trace.model) for key in coming}
    served = together({key: trace.serving(key[0], carries[key], coming[key]) for key in coming})
    on_paper = together({key: trace.serving(key[0], costs, coming[key]) for key in coming})
    carried |= {name: carries[name, loads[0]] for name in QUEUES}
    alone = statistics.median(one.seconds for one in single.passes)
    return Round(alone, waiting, served, on_paper, carried)


def capacity(served: Served, slots: int) -> float:
    """Return the requests a second that so many slots serve while none of them is empty."""
    full = [one.seconds / one.work.jobs for one in served.passes if one.work.jobs >= slots]
    # In a trace of few requests all slots may never be in use.
    each = full or [one.seconds / one.work.jobs for one in served.passes]
    return len(served.jobs) / (served.tokens * statistics.mean(each))


def report_queue(trace: Trace, variant: str, rounds: Sequence[Round], report: Report) -> None:
    """Report what holds of a queue at all loads: tokens, work, and the replay's error."""
    several = [s for one in rounds for (name, _), s in one.loads.items() if name == variant]
    same = [same_share(served, trace.alone) for served in several]
    report.measure("same tokens", variant, min(same))
    report.measure("tokens read", variant, rounds[0].carried[variant].tokens_read)
    moved = [one.carried[variant].moved_bytes / MIB for one in rounds]
    report.measure("bytes moved", variant, statistics.mean(moved))
    report.measure("prediction error", variant, [e for one in rounds for e in one.errors(variant)])


def report_completion(variant: str, rounds: Sequence[Round], report: Report) -> None:
    """Report when how many requests were done by a queue at the first load."""
    for metric, percent in PERCENTILES.items():
        report.measure(metric, variant, [one.done(variant, percent) for one in rounds])
    if variant != FIRST:
        means = [one.gain(variant) for one in rounds]
        report.measure("gain in mean completion", variant, means)
        report.measure(
            "gain in completion, 95 %", variant, [one.gain(variant, 95) for one in rounds]
        )


def report_load(
    variant: str,
    load: float,
    rounds: Sequence[Round],
    p: RequestSchedulingParameters,
    report: Report,
) -> None:
    """Report what serving by a queue at a load was like."""
    several = [one.loads[variant, load] for one in rounds]
    means = list(map(mean_completion, several))
    report.measure("mean completion time", variant, means, load=load)
    goodput = [
        Limits(p.first_token_limit * t, p.per_token_limit * t).goodput(served)
        for served, t in zip(several, (one.alone for one in rounds), strict=True)
    ]
    report.measure("goodput", variant, goodput, load=load)
    report.point("mean completion time by load", variant, load, statistics.median(means))


def report_reserved(trace: Trace, rounds: Sequence[Round], report: Report) -> None:
    """Report how both rules of holding memory did with everyone waiting."""
    for variant in RESERVED:
        several = [one.waiting[variant] for one in rounds]
        report.measure("same tokens", variant, min(same_share(s, trace.alone) for s in several))
        report.measure("tokens read", variant, rounds[0].carried[variant].tokens_read)
        report.measure("tokens per second", variant, [s.tokens_per_second for s in several])
        jobs = [one.work.jobs for one in several[0].passes]
        report.measure("requests at once", variant, statistics.mean(jobs))
    short = [request.tokens > length for request, length in trace.predicted.items()]
    report.measure_share("too short", PREDICTED, statistics.mean(short))
    report.measure("speed-up", PREDICTED, speed_ups(rounds))


def speed_ups(rounds: Sequence[Round]) -> list[float]:
    """Return by round how many times faster all are served with room for the predicted."""
    return [one.waiting[WORST].seconds / one.waiting[PREDICTED].seconds for one in rounds]


def verdict(rounds: Sequence[Round]) -> str:
    """Return a few sentences made of the run's own numbers."""
    fed, fed_tail, told, told_tail = (
        statistics.median(one.gain(variant, percent) for one in rounds)
        for variant in (FEEDBACK, SHORTEST)
        for percent in (None, 95)
    )
    faster = statistics.median(speed_ups(rounds))
    return (
        f"At a load of {LOADS[0]} the mean completion time of first come, first served is"
        f" {fed:.2f} x that of multi-level feedback, and the 95th percentile {fed_tail:.2f} x. Of"
        f" the shortest first, which must know all lengths, they are {told:.2f} x and"
        f" {told_tail:.2f} x. Room for the predicted answer instead of the longest serves all"
        f" {faster:.2f} x as fast."
    )
