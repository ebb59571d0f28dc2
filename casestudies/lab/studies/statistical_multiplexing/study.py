"""Serves two models on two devices, whole and split, and replays more with what it timed."""

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.outcomes import percentile
from casestudies.lab.studies.statistical_multiplexing.about import (
    BURSTINESS,
    DEADLINES,
    LOADS,
    MultiplexingParameters,
)
from casestudies.lab.studies.statistical_multiplexing.claims import (
    NO_BURSTINESS,
    NO_LOAD,
    SPLIT,
    WHOLE,
)
from casestudies.lab.studies.statistical_multiplexing.queues import (
    MOST_BURSTY,
    STEP,
    Group,
    Seconds,
    Stages,
    Trace,
    bursty,
    highest_load,
    in_time,
    latencies,
    mean_latency,
    placed,
)
from casestudies.lab.studies.statistical_multiplexing.serving import (
    Came,
    Found,
    Work,
    model_of,
    serve_all,
    untied,
)

DEVICES = 2  # that are carried out, each a rank
POISSON = 1.0
NUMBERS = {WHOLE: 1, SPLIT: DEVICES}  # of stages, on two devices
MS, MIB = 1000, 2**20

# Says how good groups are on the trace of this number.
Score = Callable[[Sequence[Group], int], float]


@dataclass(frozen=True)
class Cluster:
    """The devices on paper, and what stages take there, by how many a model has."""

    p: MultiplexingParameters
    seed: int
    stages: dict[int, Stages]

    @property
    def capacity(self) -> float:
        """Return the requests a second that all devices serve with whole models, never idle."""
        return self.p.devices / self.stages[1].whole

    @property
    def deadline(self) -> float:
        """Return the seconds within which a request is to be done."""
        return self.p.deadline * self.stages[1].whole

    def placed(self, stages: int, room: int) -> list[Group]:
        """Return all models on all devices, each in so many stages."""
        return placed(self.p.devices, stages, room, self.stages[stages])

    @cached_property
    def trace(self) -> Callable[[float, int], Trace]:
        """Return what returns the trace of a burstiness and a number, the same for all compared."""
        return lru_cache(256)(partial(trace, self.p.devices, self.p.requests, self.seed))


class Compared(NamedTuple):
    """What whole and split models scored on each trace."""

    whole: list[float]
    split: list[float]

    @property
    def gains(self) -> list[float]:
        """Return the ratios by trace; none where whole models score nothing on one of them."""
        if not all(self.whole):
            return []
        return [split / whole for split, whole in zip(self.split, self.whole, strict=True)]


def run(parameters: MultiplexingParameters, setup: Setup, report: Report) -> str:
    """Measure and replay; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if a rank does not return.
    """
    p = parameters
    report.precision = "float32"
    with report.stage("training two models", 0.2):
        work = prepared(p, setup, report)
    with report.stage("serving on two devices", 0.4):
        ranks = on_ranks(DEVICES, serve_all, work)
    report_counts(work, ranks, report)
    executed = Executed(p, work, ranks)
    report_executed(executed, report)
    cluster = Cluster(p, setup.seed, measured_stages(ranks))
    report_stages(cluster, report)
    with report.stage("replaying", 0.4) as stage:
        rate = report_rates(cluster, report)
        stage.at(0.6, "burstiness")
        bursts = report_burstiness(cluster, report)
        stage.at(0.8, "latency")
        sooner = report_latency(cluster, report)
    return verdict(executed, rate, bursts, sooner)


def prepared(p: MultiplexingParameters, setup: Setup, report: Report) -> Work:
    """Return two trained models and what is asked of them."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    size = small_model.Size(p.width, p.layers, p.steps)
    one, other = (
        small_model.trained(corpus, size, setup.seed ^ number, setup.device) for number in range(2)
    )
    prompts = small_model.prompts(corpus, one.tokenizer, [p.prompt] * p.executed, setup.seed)
    config, weights = untied(one.model)
    both = (weights, untied(other.model)[1])
    traces = {
        variation: came(p, setup.seed, variation) for variation in sorted({POISSON, p.burstiness})
    }
    sizes = (1, *(n for n in range(2, p.devices + 1) if not (p.devices % n or p.layers % n)))
    asked = torch.stack(prompts).numpy()
    return Work(config, both, asked, traces, sizes, p.rounds)


def came(p: MultiplexingParameters, seed: int, variation: float) -> Came:
    """Return a trace for two models at the load, with the time of a whole model as the unit."""
    found = trace(DEVICES, p.executed, seed, variation, 0)
    return Came((found.moments / (p.load * DEVICES)).tolist(), found.models.tolist())


def trace(devices: int, requests: int, seed: int, variation: float, number: int) -> Trace:
    """Return the trace of this number."""
    generator = np.random.default_rng([seed, number, round(1000 * variation)])
    return bursty(devices, requests, variation, generator)


def report_counts(work: Work, ranks: Sequence[Found], report: Report) -> None:
    """Report what is exact: answers, work done, bytes held and sent."""
    alone = logits_alone(work)
    for variant, n in NUMBERS.items():
        counted = [rank.counted[n] for rank in ranks]
        said = {number: row for one in counted for number, row in one.logits.items()}
        same = [said[number].argmax() == row.argmax() for number, row in enumerate(alone)]
        apart = max(float(np.abs(said[number] - row).max()) for number, row in enumerate(alone))
        report.measure("same tokens", variant, float(np.mean(same)))
        report.measure("equality error", variant, apart)
        read = sum(one.read for one in counted) / work.config.layers
        report.measure("tokens read", variant, read)
        report.measure("bytes sent", variant, sum(one.sent for one in counted) / MIB)
        report.measure("weights held", variant, max(one.weights for one in counted) / MIB)


@torch.no_grad()
def logits_alone(work: Work) -> list[Seconds]:
    """Return the last logits of each request by its model alone, in this process."""
    models = [model_of(work.config, weights) for weights in work.weights]
    asked = next(iter(work.traces.values())).models
    prompts = torch.from_numpy(work.prompts)
    return [models[m](prompts[n : n + 1])[0, -1].numpy() for n, m in enumerate(asked)]


def stages_of(ranks: Sequence[Found], rounds: Sequence[int], n: int) -> Stages:
    """Return what n stages take, of all passes in these rounds.

    Passes of equal length are compared, each with that of the whole model beside it, and divided
    among stages by their shares: other work on the machine is sooner seen in what takes long, so
    that stages timed by themselves would come to less than the whole. Who receives from another
    does so before it computes.
    """
    several = [rank.rounds[number] for rank in ranks for number in rounds]
    whole, parts = (np.concatenate([one.stages[k] for one in several]) for k in (1, n))
    totals = parts.sum(axis=1)
    shares = np.median(parts / totals[:, None], axis=0)
    longer = np.median(totals / whole[:, 0])
    each = np.median(whole) * longer * shares / shares.sum()
    each[1:] += statistics.median(one.sending for one in several)
    return Stages.of(each.tolist())


def measured_stages(ranks: Sequence[Found]) -> dict[int, Stages]:
    """Return what stages take by their number, of all rounds."""
    rounds = ranks[0].rounds
    return {n: stages_of(ranks, range(len(rounds)), n) for n in rounds[0].stages}


@dataclass(frozen=True)
class Executed:
    """What two devices carried out."""

    p: MultiplexingParameters
    work: Work
    ranks: Sequence[Found]

    def latencies(self, variant: str, variation: float, number: int) -> Seconds:
        """Return the seconds of each request in a round."""
        key = variation, NUMBERS[variant]
        ended = {r: t for rank in self.ranks for r, t in rank.rounds[number].ends[key].items()}
        came = self._came(variation)
        return np.array([ended[request] for request in range(len(came.moments))]) - came.moments

    def error(self, variant: str, variation: float, number: int) -> float:
        """Return by how many % the replay's mean latency differs from that of the round."""
        n = NUMBERS[variant]
        groups = placed(DEVICES, n, 1, stages_of(self.ranks, [number], n))
        replayed = latencies(groups, self._came(variation), 1.0).mean()
        return 100 * abs(float(replayed / self.latencies(variant, variation, number).mean()) - 1)

    @property
    def deadline(self) -> float:
        """Return the seconds within which a request is to be done."""
        return self.p.deadline * self.ranks[0].unit

    def _came(self, variation: float) -> Trace:
        asked = self.work.traces[variation]
        return Trace(np.array(asked.moments) * self.ranks[0].unit, np.array(asked.models))


def report_executed(executed: Executed, report: Report) -> None:
    """Report the latencies of what was carried out, and how far the replay is off."""
    for variation, variant in itertools.product(executed.work.traces, (WHOLE, SPLIT)):
        numbers = range(executed.p.rounds)
        rounds = [executed.latencies(variant, variation, number) for number in numbers]
        times = {
            "mean latency": [float(one.mean()) for one in rounds],
            "latency, 50 %": [percentile(one.tolist(), 50) for one in rounds],
            "latency, 99 %": [percentile(one.tolist(), 99) for one in rounds],
        }
        for metric, values in times.items():
            report.measure_time(metric, variant, values, burstiness=variation)
        measures = {
            "served in time": [100 * float((one <= executed.deadline).mean()) for one in rounds],
            "prediction error": [executed.error(variant, variation, n) for n in numbers],
        }
        for metric, values in measures.items():
            report.measure(metric, variant, values, burstiness=variation)


def report_stages(cluster: Cluster, report: Report) -> None:
    """Report what stages take, and how far the replay is from the formula for Poisson's process."""
    for n, stages in cluster.stages.items():
        variant = WHOLE if n == 1 else SPLIT
        report.measure_time("time of all stages", variant, stages.whole, stages=n)
        report.measure_time("time of the longest stage", variant, stages.longest, stages=n)
        groups = cluster.placed(n, 1)
        rate = cluster.p.load * cluster.capacity
        if rate / len(groups) * stages.longest < 1:  # else what waits grows without end
            expected = mean_latency(stages, rate / len(groups))
            report.measure(
                "formula error",
                variant,
                [
                    100
                    * abs(latencies(groups, cluster.trace(POISSON, t), rate).mean() / expected - 1)
                    for t in range(1, cluster.p.traces + 1)
                ],
                stages=n,
            )


def compared(cluster: Cluster, room: int, score: Score) -> Compared:
    """Return how whole models and split ones score, in as many stages as are best on trace 0."""
    whole = cluster.placed(1, room)
    several = (cluster.placed(n, room) for n in cluster.stages if n > 1)
    split = max(several, key=lambda groups: score(groups, 0))
    numbers = range(1, cluster.p.traces + 1)
    return Compared(*([score(groups, number) for number in numbers] for groups in (whole, split)))


def report_rates(cluster: Cluster, report: Report) -> Compared:
    """Report the highest loads as asked and under other conditions; return those as asked."""
    p = cluster.p
    asked = p.burstiness, p.deadline, p.room
    rooms = sorted({1, 2, p.devices // 2, p.devices})
    conditions: list[tuple[Mapping[str, float], tuple[float, float, int]]] = [
        ({}, asked),
        *(({"burstiness": v}, (v, p.deadline, p.room)) for v in BURSTINESS),
        *(({"deadline": d}, (p.burstiness, d, p.room)) for d in DEADLINES),
        *(({"room": room}, (p.burstiness, p.deadline, room)) for room in rooms),
    ]
    found = {key: loads(cluster, *key) for _, key in conditions}
    for settings, key in conditions:
        one = found[key]
        for variant, values in ((WHOLE, one.whole), (SPLIT, one.split)):
            report.measure("highest load", variant, values, **settings)
            for name in {"burstiness", "room"} & set(settings):
                y = statistics.median(values)
                report.point(f"highest load by {name}", variant, settings[name], y)
        if one.gains:
            report.measure("gain in rate", SPLIT, one.gains, **settings)
    return found[asked]


def loads(cluster: Cluster, variation: float, deadline: float, room: int) -> Compared:
    """Return the highest loads at which 99 % are done within so many times the time alone."""
    seconds = deadline * cluster.stages[1].whole

    def score(groups: Sequence[Group], number: int) -> float:
        return highest_load(groups, cluster.trace(variation, number), cluster.capacity, seconds)

    return compared(cluster, room, score)


def report_burstiness(cluster: Cluster, report: Report) -> Compared:
    """Report and return the greatest burstiness up to which 99 % are in time at the load."""
    p = cluster.p
    rate = p.load * cluster.capacity

    def score(groups: Sequence[Group], number: int) -> float:
        held = 0.0
        while held < MOST_BURSTY:
            if not in_time(groups, cluster.trace(held + STEP, number), rate, cluster.deadline):
                break
            held += STEP
        return held

    found = compared(cluster, p.room, score)
    report.measure("greatest burstiness", WHOLE, found.whole)
    report.measure("greatest burstiness", SPLIT, found.split)
    if found.gains:
        report.measure("gain in burstiness", SPLIT, found.gains)
    return found


def report_latency(cluster: Cluster, report: Report) -> int:
    """Report whose mean latency is shorter; return at how many loads that of split models is."""
    sooner = 0
    for variation in sorted({POISSON, cluster.p.burstiness}):
        for load in LOADS:
            gains = speeds(cluster, variation, load).gains
            found = statistics.median(gains)
            settings = {"burstiness": variation}
            report.measure("gain in latency", SPLIT, gains, load=load, **settings)
            report.point("gain in latency by load", SPLIT, load, found, **settings)
            sooner += variation == cluster.p.burstiness and found > 1
    return sooner


def speeds(cluster: Cluster, variation: float, load: float) -> Compared:
    """Return one over the mean latencies at a load."""

    def score(groups: Sequence[Group], number: int) -> float:
        found = latencies(groups, cluster.trace(variation, number), load * cluster.capacity)
        return 1 / float(found.mean())

    return compared(cluster, cluster.p.room, score)


def verdict(executed: Executed, rate: Compared, bursts: Compared, sooner: int) -> str:
    """Return two sentences made of the run's own numbers."""
    p = executed.p
    whole, split = (statistics.median(values) for values in rate)
    faster = f"{statistics.median(rate.gains):.2f} x" if rate.gains else f"but {NO_LOAD}"
    burstier = NO_BURSTINESS
    if bursts.gains:
        burstier = f"split models bear {statistics.median(bursts.gains):.2f} x the burstiness"
    means = [
        MS * statistics.median(executed.latencies(name, p.burstiness, n).mean() for n in numbers)
        for name, numbers in itertools.product((SPLIT, WHOLE), [range(p.rounds)])
    ]
    return (
        f"On paper, with requests whose gaps vary by {p.burstiness:g} and a deadline of"
        f" {p.deadline:g} times the time alone, 99 % are in time up to a load of {split:.3f} with"
        f" split models and of {whole:.3f} with whole ones, {faster}, and at a load of"
        f" {p.load:g} {burstier}. The mean latency of split models is the shorter one at {sooner}"
        f" of {len(LOADS)} loads on paper; for one trace of {p.executed} requests on two devices it"
        f" was {means[0]:.0f} ms, and {means[1]:.0f} with whole models."
    )
