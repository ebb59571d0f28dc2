"""Changes the number of ranks amid training, and replays serving on instances that come and go."""

import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.alone import alone_among
from casestudies.lab.distributed.launched import this_launch
from casestudies.lab.distributed.ranks import on_ranks, started_here
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.report import Report, Stage
from casestudies.lab.serving.arrivals import Request, arrivals, at_rate
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import serve
from casestudies.lab.serving.outcomes import completion, percentile
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.elastic.about import FEWER, MORE, ElasticParameters
from casestudies.lab.studies.elastic.claims import (
    ELASTIC,
    GAIN,
    LOST,
    MIGRATED,
    ONE,
    RESTARTED,
    SCRATCH,
    TRACES,
    TWO,
)
from casestudies.lab.studies.elastic.migration import Change, ElasticPasses, Stalls
from casestudies.lab.studies.elastic.moving import Moved, move, read_weights
from casestudies.lab.train import loop
from casestudies.lab.train.resumable import Carried, Ending, Task, Training, carried_out

VOCABULARY = 512
BY_LOAD = "P99 by load time, by replay"
LONGEST_LOAD, PER_DECADE = 10.0, 4  # seconds, and load times tried
MIB = 2**20

Round = Mapping[str, Carried]  # by variant
WORLDS = {TWO: [2], ONE: [1], ELASTIC: [2, 1, 2]}


@dataclass(frozen=True)
class Service:
    """What is asked, the moments at which it comes, what a pass costs and how many a second fit."""

    requests: Sequence[Request]
    moments: Sequence[float]
    slots: int
    costs: PricedPasses
    rate: float

    @property
    def seconds(self) -> float:
        """Return the time in which requests come."""
        return self.moments[-1] / self.rate

    def p99(self, variant: str, trace: str, stalls: Stalls) -> tuple[float, list[float]]:
        """Return the latency that 99 % of the requests do not exceed, and each change's stall.

        All are in seconds.
        """
        changes = [Change(self.seconds * at, instances) for at, instances in TRACES[trace]]
        passes = ElasticPasses(self.costs, changes, stalls, variant)
        coming = at_rate(self.requests, self.moments, self.rate)
        served = serve(coming, self.slots, iteration_level, passes)
        return percentile(map(completion, served.jobs), 99), passes.stalled


def run(parameters: ElasticParameters, setup: Setup, report: Report) -> str:
    """Train with changes, and replay serving with changes; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if ranks fail that nobody killed.
    """
    p = parameters
    report.precision = "float32"
    with report.stage("reading the text", 0.05):
        task = prepare(p, setup, report)
    rounds = list[Round]()
    with report.stage("training on two ranks, on one, and on both in turn", 0.65) as stage:
        for n in range(p.rounds):
            rounds.append(train_round(task, stage, n / p.rounds, p))
    report_training(rounds, report)
    report_changes(rounds, task, report)
    with report.stage("timing passes and changes of serving", 0.15):
        service = prepare_service(task, p, setup)
        stalls = measured_stalls(task, p.rounds, report)
    with report.stage("replaying traces", 0.15):
        gains = report_traces(service, stalls, report)
    return verdict(rounds, gains)


def prepare(p: ElasticParameters, setup: Setup, report: Report) -> Task:
    """Return what is trained on ranks of one number."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window + 1)
    drawn = loop.drawn(windows, torch.Generator().manual_seed(setup.seed), p.sequences)
    batches = torch.stack([batch for _, batch in zip(range(p.steps), drawn, strict=False)])
    vocabulary = tokenizer.get_vocab_size()
    return Task(vocabulary, p.width, p.layers, setup.seed, batches.numpy(), p.checkpoint_every)


def train_round(task: Task, stage: Stage, done: float, p: ElasticParameters) -> Round:
    """Return how training goes on two ranks, on one, and when their number changes."""
    endings = Ending(task.steps // 3, killed=1), Ending(2 * task.steps // 3)
    changing = replace(task, endings=endings)
    found = {}
    for n, (variant, worlds) in enumerate(WORLDS.items()):
        stage.at(done + n / len(WORLDS) / p.rounds, variant)
        found[variant] = carried_out(changing if variant == ELASTIC else task, worlds)
    return found


def report_training(rounds: Sequence[Round], report: Report) -> None:
    """Report how far each way is from two ranks, its steps, and its time."""
    for variant, worlds in WORLDS.items():
        several = [one[variant] for one in rounds]
        report.measure("training loss", variant, several[0].losses[-1])
        report.measure("steps done", variant, max(len(one.of("step")) for one in several))
        if variant != TWO:
            apart = max(one[variant].apart(one[TWO]) for one in rounds)
            report.measure("equality error", variant, apart)
            ratios = [one[variant].seconds / one[TWO].seconds for one in rounds]
            report.measure("time over two ranks", variant, ratios)
        for ranks in sorted(set(worlds)):
            taken = [
                note.seconds
                for one in several
                for note in one.of("step")
                if one.generations[note.generation].world == ranks
            ]
            report.measure_time("step time", variant, taken, ranks=ranks)
        for seconds, step in several[0].progress:
            report.point("steps by time", variant, seconds, step)


def report_changes(rounds: Sequence[Round], task: Task, report: Report) -> None:
    """Report what the changes took, and what each rank holds before and after them."""
    several = [one[ELASTIC] for one in rounds]
    for n, change in enumerate((FEWER, MORE)):
        taken = []
        for one in several:
            last = max(note.at for note in one.noted if note.generation == n)
            ready = next(note.at for note in one.of("ready") if note.generation == n + 1)
            taken.append(ready - last)
        report.measure_time("change time", ELASTIC, taken, change=change)
    lost = [one.of("killed")[0].step - one.of("ready")[1].step for one in several]
    report.measure("steps lost", ELASTIC, max(lost))
    for ranks in (1, 2):
        with alone_among(ranks):
            held = Training(task).share.nbytes
        report.measure("state on a rank", ELASTIC, held / MIB, ranks=ranks)


def prepare_service(task: Task, p: ElasticParameters, setup: Setup) -> Service:
    """Return requests for a model of the same shape, with costs of its passes for all of them."""
    model = task.model().requires_grad_(False).eval()
    rows = torch.from_numpy(task.batches).flatten()
    generator = torch.Generator().manual_seed(setup.seed)
    begins = torch.randint(len(rows) - p.prompt, (p.requests,), generator=generator).tolist()
    requests = [Request(rows[begin : begin + p.prompt], p.answer) for begin in begins]
    moments = arrivals(p.requests, "poisson", generator)
    serve(requests[:1], p.slots, iteration_level, ModelPasses(model))  # the first is slow
    # As many as are needed to see full and half empty passes.
    seen = requests[: 2 * p.slots + 1]
    served = serve(seen, p.slots, iteration_level, ModelPasses(model))
    costs = PricedPasses.measured(served.passes)
    waiting = serve(requests, p.slots, iteration_level, costs)
    return Service(requests, moments, p.slots, costs, p.load * p.requests / waiting.seconds)


def measured_stalls(task: Task, rounds: int, report: Report) -> Stalls:
    """Report and return what it takes to start again, to regroup, and to read or send weights."""
    model, launch = task.model(), this_launch()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.safetensors"
        save_file(model.state_dict(), file)
        # Processes of their own, also where torchrun has started as many.
        starting = {RESTARTED: lambda: started_here(2, read_weights, task, str(file))}
        started = partial(alternately, starting, rounds)
        start = (launch.on_first(started) if launch else started())[RESTARTED]
        moved, _ = on_ranks(2, move, task, str(file), rounds)
    for variant, seconds in (
        (RESTARTED, start),
        (SCRATCH, [one.grouped + one.read for one in moved]),
        (MIGRATED, [one.grouped + one.sent for one in moved]),
    ):
        report.measure_time("time without service", variant, seconds)
    usual = Moved(*map(statistics.median, zip(*moved, strict=True)))
    weights = 4 * sum(weight.numel() for weight in model.parameters())
    cache = KeyValueCache(model.config, 1, 1)
    cache.advance(1)
    return Stalls(
        start=statistics.median(start),
        regroup=usual.grouped,
        load=usual.read,
        weights=weights,
        token=cache.bytes,
        rate=weights / usual.sent,
    )


def report_traces(service: Service, stalls: Stalls, report: Report) -> dict[str, float]:
    """Report latencies on each trace, and by the time of loading; return what migration gains."""
    gains = {}
    for trace in TRACES:
        latency = {}
        for variant in (RESTARTED, SCRATCH, LOST, MIGRATED):
            latency[variant], stalled = service.p99(variant, trace, stalls)
            mean = statistics.mean(stalled)
            report.measure_time("stall, by replay", variant, mean, trace=trace)
            report.measure_time("P99 latency, by replay", variant, latency[variant], trace=trace)
        for variant in (RESTARTED, SCRATCH, LOST):
            gain = latency[variant] / latency[MIGRATED]
            report.measure(GAIN, variant, gain, trace=trace)
        gains[trace] = latency[SCRATCH] / latency[MIGRATED]
        for load in load_times(stalls.load):
            slow, _ = service.p99(SCRATCH, trace, replace(stalls, load=load))
            report.point(BY_LOAD, SCRATCH, load, slow / latency[MIGRATED], trace=trace)
    return gains


def load_times(measured: float) -> list[float]:
    """Return the measured load time and longer ones, evenly on a logarithmic scale."""
    scale = [LONGEST_LOAD * 10 ** (-n / PER_DECADE) for n in range(4 * PER_DECADE, -1, -1)]
    return [measured, *(seconds for seconds in scale if seconds > measured)]


def verdict(rounds: Sequence[Round], gains: Mapping[str, float]) -> str:
    """Return a few sentences made of the run's own numbers."""
    apart = max(one[ELASTIC].apart(one[TWO]) for one in rounds)
    alike = "to the last bit" if apart == 0 else f"but for {apart:.1e}"
    slower = statistics.median(one[ELASTIC].seconds / one[TWO].seconds for one in rounds)
    return (
        f"Training that loses a rank and gets one again ends as on two ranks {alike}, and takes"
        f" {slower:.2f} x as long. By replay of requests on instances that come and go, 99 % are"
        f" answered within a time that is {min(gains.values()):.2f} to"
        f" {max(gains.values()):.2f} x as long if all is read and begun anew as if weights and"
        " caches move."
    )
