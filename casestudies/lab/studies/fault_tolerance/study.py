"""Kills ranks amid training and goes on, and replays with its costs what should be done instead."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.equations import duration
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.models import shapes
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.fault_tolerance import intervals, redundancy
from casestudies.lab.studies.fault_tolerance.about import (
    BEST,
    DALY,
    FORMULA,
    RANKS,
    YOUNG,
    FaultToleranceParameters,
)
from casestudies.lab.studies.fault_tolerance.claims import (
    GAIN,
    HOURLY,
    REDUNDANT,
    RESTARTED,
    SAVING,
    UNDISTURBED,
)
from casestudies.lab.studies.fault_tolerance.redundancy import Fleet, Loss, Pipeline
from casestudies.lab.train import loop
from casestudies.lab.train.adamw import adamw
from casestudies.lab.train.resumable import Carried, Ending, Task, carried_out

VOCABULARY = 512
FAILURES = 4000  # of the replay of intervals
HALF_OCTAVES = 6  # the intervals tried are up to so many half octaves from Daly's
LONGEST_RESTART, PER_DECADE = 1000.0, 8  # seconds, and restart times tried
STAGE_ROUNDS = 15
NOTABLE = 1.01  # a gain that is more than rounding to whole steps
BY_RESTART = "samples over restarting by restart time, by replay"
BY_INTERVAL = "time over work by interval, by replay"
MIB = 2**20


@dataclass(frozen=True)
class Costs:
    """Seconds of the training that was carried out, medians of all rounds.

    `noticed` is from a kill until it is known, `restart` from then until ranks are ready, and
    `regroup` what of that goes by before they build the model and read the checkpoint.
    """

    step: float
    save: float
    noticed: float
    restart: float
    regroup: float


Round = Mapping[str, Carried]  # by variant


def run(parameters: FaultToleranceParameters, setup: Setup, report: Report) -> str:
    """Train, kill and replay; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if ranks fail that nobody killed.
    """
    p = parameters
    report.precision = "float32"
    with report.stage("reading the text", 0.05):
        task = prepare(p, setup, report)
    rounds = list[Round]()
    with report.stage("training, with and without kills", 0.75) as stage:
        for n in range(p.rounds):
            rounds.append(train_round(task, stage, n / p.rounds, p))
    report_training(rounds, task, report)
    costs = report_costs(rounds, report)
    with report.stage("replaying intervals", 0.05):
        report_intervals(costs, p, setup, report)
    with report.stage("timing a stage and replaying pipelines", 0.15):
        gains, even = report_redundancy(costs, p, setup, report)
    return verdict(rounds, costs, gains, even)


def prepare(p: FaultToleranceParameters, setup: Setup, report: Report) -> Task:
    """Return what is trained, and in which steps which rank is killed."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window + 1)
    generator = torch.Generator().manual_seed(setup.seed)
    drawn = loop.drawn(windows, generator, p.sequences)
    batches = torch.stack([batch for _, batch in zip(range(p.steps), drawn, strict=False)])
    every = min(p.checkpoint_every, p.steps)
    # In the first step nothing could be lost; one kill at least comes after a save, if it can.
    order = (2 + torch.randperm(p.steps - 1, generator=generator)).tolist()
    order.insert(0, order.pop(next((n for n, step in enumerate(order) if step > every), 0)))
    steps = sorted(order[: p.kills])
    ranks = torch.randint(RANKS, (len(steps),), generator=generator)
    kills = zip(steps, ranks.tolist(), strict=True)
    return Task(
        tokenizer.get_vocab_size(),
        p.width,
        p.layers,
        setup.seed,
        batches.numpy(),
        every,
        tuple(Ending(step, killed=rank) for step, rank in kills),
    )


def train_round(task: Task, stage: Stage, done: float, p: FaultToleranceParameters) -> Round:
    """Return how training goes that is not disturbed, that saves, and whose ranks are killed."""
    ways = {
        UNDISTURBED: (replace(task, every=0, endings=()), 1),
        SAVING: (replace(task, endings=()), 1),
        RESTARTED: (task, 1 + len(task.endings)),
    }
    found = {}
    for n, (variant, (own, generations)) in enumerate(ways.items()):
        stage.at(done + n / len(ways) / p.rounds, variant)
        found[variant] = carried_out(own, [RANKS] * generations)
    return found


def report_training(rounds: Sequence[Round], task: Task, report: Report) -> None:
    """Report how far each way is from undisturbed training, its steps, and its time."""
    for variant in (UNDISTURBED, SAVING, RESTARTED):
        several = [one[variant] for one in rounds]
        report.measure("training loss", variant, several[0].losses[-1])
        report.measure("steps done", variant, max(len(one.of("step")) for one in several))
        taken = [note.seconds for one in several for note in one.of("step")]
        report.measure_time("step time", variant, taken)
        if variant != UNDISTURBED:
            apart = max(one[variant].apart(one[UNDISTURBED]) for one in rounds)
            report.measure("equality error", variant, apart)
            ratios = [one[variant].seconds / one[UNDISTURBED].seconds for one in rounds]
            report.measure("time over undisturbed", variant, ratios)
            numbers = 3 * len(several[0].weights)
            report.measure("checkpoint size", variant, 4 * numbers / MIB)
        for seconds, step in several[0].progress:
            report.point("steps by time", variant, seconds, step)
    report.measure("steps lost", RESTARTED, max(n for one in rounds for n in lost(one[RESTARTED])))


def lost(carried: Carried) -> list[int]:
    """Return how many steps each kill took, the one under way among them."""
    begun = {note.generation: note.step for note in carried.of("ready")}
    return [note.step - begun[note.generation + 1] for note in carried.of("killed")]


def report_costs(rounds: Sequence[Round], report: Report) -> Costs:
    """Report what a save and a kill cost, and how well that adds up; return it."""
    noticed, restart, regroup = [], [], []
    for one in rounds:
        killed = one[RESTARTED]
        ready = {note.generation: note for note in killed.of("ready")}
        for note in killed.of("killed"):
            gone = killed.generations[note.generation].ended
            following = ready[note.generation + 1]
            noticed.append(gone - note.at)
            restart.append(following.at - gone)
            regroup.append(following.at - following.seconds - gone)
    saves = {
        v: [n.seconds for one in rounds for n in one[v].of("saved")] for v in (SAVING, RESTARTED)
    }
    steps = [note.seconds for one in rounds for note in one[SAVING].of("step")]
    for variant, taken in saves.items():
        if taken:
            report.measure_time("save time", variant, taken)
    report.measure_time("detection time", RESTARTED, noticed)
    report.measure_time("restart time", RESTARTED, restart)
    costs = Costs(*map(statistics.median, (steps, saves[SAVING], noticed, restart, regroup)))
    errors = [100 * abs(predicted(one, costs) / one[RESTARTED].seconds - 1) for one in rounds]
    report.measure("prediction error", RESTARTED, errors)
    return costs


def predicted(one: Round, costs: Costs) -> float:
    """Return the time of the disturbed run by the costs, and by the steps of the round that saves.

    A step that a kill ends counts as half a step.
    """
    saving, killed = one[SAVING], one[RESTARTED]
    each = statistics.mean(note.seconds for note in saving.of("step"))
    steps = len(killed.of("step")) + len(killed.of("killed")) / 2
    return (
        steps * each
        + len(killed.of("saved")) * costs.save
        + len(killed.of("killed")) * (costs.noticed + costs.restart)
    )


def report_intervals(
    costs: Costs, p: FaultToleranceParameters, setup: Setup, report: Report
) -> None:
    """Report the time by the interval between checkpoints, in the replay and by the formula."""
    generator = torch.Generator().manual_seed(setup.seed)
    gaps = intervals.gaps(p.between_failures, FAILURES, generator)
    restart, rates = costs.noticed + costs.restart, {"failure_seconds": p.between_failures}
    chosen = {
        YOUNG: duration.young_interval(save_seconds=costs.save, **rates),
        DALY: duration.daly_interval(save_seconds=costs.save, **rates),
    }
    steps = {name: max(1, round(work / costs.step)) for name, work in chosen.items()}
    halves = range(-HALF_OCTAVES, HALF_OCTAVES + 1)
    tried = {max(1, round(chosen[DALY] / costs.step * 2 ** (n / 2))) for n in halves}
    times = {}
    for interval in sorted({*tried, *steps.values()}):
        work = interval * costs.step
        times[interval] = intervals.time_over_work(gaps, work, costs.save, restart)
        expected = duration.expected_seconds(
            restart_seconds=restart,
            interval_seconds=work,
            save_seconds=costs.save,
            work_seconds=1.0,
            **rates,
        )
        report.point(BY_INTERVAL, RESTARTED, interval, times[interval])
        report.point(BY_INTERVAL, FORMULA, interval, expected)
    steps[BEST] = min(times, key=times.__getitem__)
    for name, interval in steps.items():
        report.measure("best interval, by replay", RESTARTED, interval, interval=name)
        report.measure("time over work, by replay", RESTARTED, times[interval], interval=name)


def report_redundancy(
    costs: Costs, p: FaultToleranceParameters, setup: Setup, report: Report
) -> tuple[dict[int, float], dict[int, float]]:
    """Report pipelines on paper; return gains and break-even restart times by preemptions."""
    pipeline = timed_stage(p, setup)
    for variant, workers, step in (
        (RESTARTED, "all there", pipeline.step),
        (REDUNDANT, "all there", pipeline.redundant_step),
        (REDUNDANT, "one missing", pipeline.step_of_fewer),
    ):
        report.measure_time("pipeline step, by replay", variant, step, workers=workers)
    fleet = Fleet(pipeline, p.pipelines, costs.save, costs.noticed, costs.restart, costs.regroup)
    gains, even = {}, {}
    for hourly in HOURLY:
        generator = torch.Generator().manual_seed(setup.seed)
        lost = redundancy.losses(fleet.workers, hourly / 100, p.hours, generator)
        gains[hourly] = report_gain(fleet, lost, hourly, p, report)
        longest_first = reversed(report_restarts(fleet, lost, hourly, p, report))
        gaining = [
            restart for restart, _ in takewhile(lambda one: one[1] >= NOTABLE, longest_first)
        ]
        if gaining:
            even[hourly] = gaining[-1]
            at = {"preemptions": hourly}
            report.measure("break-even restart, by replay", REDUNDANT, gaining[-1], **at)
    return gains, even


def report_gain(
    fleet: Fleet, lost: Sequence[Loss], hourly: int, p: FaultToleranceParameters, report: Report
) -> float:
    """Report samples an hour of both ways with the costs measured; return their ratio."""
    restarting = fleet.steps_restarting(lost, p.hours)
    redundant = fleet.steps_redundant(lost, p.hours)
    samples = p.pipelines * p.micro_batches * (p.sequences // RANKS) / p.hours
    at = {"preemptions": hourly}
    report.measure("samples, by replay", RESTARTED, samples * restarting, **at)
    report.measure("samples, by replay", REDUNDANT, samples * redundant, **at)
    report.measure(GAIN, REDUNDANT, redundant / restarting, **at)
    return redundant / restarting


def report_restarts(
    fleet: Fleet, lost: Sequence[Loss], hourly: int, p: FaultToleranceParameters, report: Report
) -> list[tuple[float, float]]:
    """Report the gain if restarts took longer; return both, as long as a step is kept at all."""
    found = []
    for restart in restart_times(fleet.restart):
        slower = replace(fleet, restart=restart)
        if kept := slower.steps_restarting(lost, p.hours):
            gain = slower.steps_redundant(lost, p.hours) / kept
            report.point(BY_RESTART, REDUNDANT, restart, gain, preemptions=hourly)
            found.append((restart, gain))
    return found


def restart_times(measured: float) -> list[float]:
    """Return the measured restart time and longer ones, evenly on a logarithmic scale."""
    count = PER_DECADE * 3
    scale = [LONGEST_RESTART * 10 ** (n / PER_DECADE - 3) for n in range(count + 1)]
    return [measured, *(seconds for seconds in scale if seconds > measured)]


def timed_stage(p: FaultToleranceParameters, setup: Setup) -> Pipeline:
    """Return the pipeline on paper, whose stages take what one block takes with one thread."""
    generator = torch.Generator().manual_seed(setup.seed)
    block = shapes.small(VOCABULARY, p.width, 1, generator).blocks[0]
    weights = list(block.parameters())
    shape = p.sequences // RANKS, p.window, p.width
    hidden = torch.randn(shape, generator=generator, requires_grad=True)
    output = block(hidden)
    row = torch.cat([weight.detach().flatten() for weight in weights])
    states = row.clone(), torch.zeros_like(row), torch.zeros_like(row)
    ways = {
        "forward": lambda: block(hidden),
        "backward": lambda: torch.autograd.grad(
            output.sum(), [hidden, *weights], retain_graph=True
        ),
        "update": lambda: adamw(states, row, 1, loop.PEAK_RATE),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = alternately(ways, STAGE_ROUNDS)
    finally:
        torch.set_num_threads(threads)
    seconds = {name: statistics.median(times) for name, times in taken.items()}
    return Pipeline(p.stages, p.micro_batches, **seconds)


def verdict(
    rounds: Sequence[Round], costs: Costs, gains: Mapping[int, float], even: Mapping[int, float]
) -> str:
    """Return a few sentences made of the run's own numbers."""
    apart = max(one[RESTARTED].apart(one[UNDISTURBED]) for one in rounds)
    alike = "to the last bit" if apart == 0 else f"but for {apart:.1e}"
    kills = len(rounds[0][RESTARTED].of("killed"))
    most = max(n for one in rounds for n in lost(one[RESTARTED]))
    slow = max(HOURLY)
    pays = f"; redundancy gains from restarts of {even[slow]:.2f} s on" if slow in even else ""
    return (
        f"Training whose ranks were killed in {kills} of its steps ends as undisturbed {alike}; a"
        f" kill took at most {most} steps, is noticed after {1000 * costs.noticed:.0f} ms, and"
        f" {1000 * costs.restart:.0f} ms later training goes on. With such restarts, by replay,"
        f" redundant neighbours give {gains[slow]:.2f} x the samples of checkpoint and restart"
        f" when {slow} % of the workers are taken in an hour{pays}."
    )
