"""Trains on a fast and a slow rank, with even and with balanced shares, and counts who waits."""

import statistics
from collections.abc import Mapping, Sequence

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.measure.differences import largest_relative_difference
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.replay import schedules
from casestudies.lab.replay.events import Event, Replay, replay
from casestudies.lab.replay.schedules import Slot
from casestudies.lab.report import Report
from casestudies.lab.studies.heterogeneous_ranks import partition, ranks
from casestudies.lab.studies.heterogeneous_ranks.about import (
    BATCH,
    BATCH_EVEN,
    EVEN,
    ONE,
    RANKS,
    SLOWDOWNS,
    STAGES,
    STAGES_EVEN,
    WAYS,
    HeterogeneousRanksParameters,
    is_pipeline,
)
from casestudies.lab.studies.heterogeneous_ranks.ranks import Pace, Share, Task, Timed, Trained
from casestudies.lab.train.loop import drawn

VOCABULARY = 512
PASS = {"forward": 1.0, "backward": 2.0}  # in the replay; a backward computes two products for one
MIB = 2**20


def run(parameters: HeterogeneousRanksParameters, setup: Setup, report: Report) -> str:
    """Train, replay and time; return the verdict. Raises RanksFailed if a rank ends early."""
    p = parameters
    report.precision = "float32"
    with report.stage("reading the text", 0.05):
        task = prepare(p, setup, report)
    plans = [(f, shares(task, p.micro_batches, f)) for f in sorted({*SLOWDOWNS, p.slowdown})]
    with report.stage("replaying", 0.05):
        for slowdown, ways in plans:
            report_replay(task, p.micro_batches, slowdown, ways, report)
        report_replayed_gain(task, p, dict(plans)[p.slowdown], report)
    with report.stage(f"training on {RANKS} ranks", 0.45):
        ways = [Share(ONE, ()), *dict(plans)[p.slowdown]]
        report_training(on_ranks(RANKS, ranks.train, task, ways), report)
    with report.stage("timing, in turn", 0.45):
        first, *others = plans
        timed = [(first[0], [Share(ONE, ()), *first[1]]), *others]
        found = on_ranks(RANKS, ranks.times, task, timed, p.rounds)
        report_times([of_rank for _, of_rank in found], found[0][0], p, report)
    return verdict(p, report)


def prepare(p: HeterogeneousRanksParameters, setup: Setup, report: Report) -> Task:
    """Return what the ranks do with the text; raises ValueError if it is too short."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window + 1)
    generator = torch.Generator().manual_seed(setup.seed)
    batches = drawn(windows, generator, p.micro_batches * p.sequences)
    rows = torch.stack([next(batches) for _ in range(p.steps)])
    cut = rows.view(p.steps, p.micro_batches, p.sequences, p.window + 1).numpy()
    return Task(tokenizer.get_vocab_size(), p.width, p.layers, setup.seed, cut)


def shares(task: Task, micro_batches: int, slowdown: float) -> list[Share]:
    """Return what each rank has in each way, if the second is so many times slower.

    The head goes to the last rank, whoever shares out.
    """
    slowdowns, pieces = (1.0, slowdown), [1.0] * micro_batches
    first, last = partition.evenly(task.layers, RANKS)
    return [
        Share(STAGES_EVEN, (first, last + 1)),
        Share(STAGES, tuple(partition.balanced(task.costs, slowdowns))),
        Share(BATCH_EVEN, tuple(partition.evenly(micro_batches, RANKS))),
        Share(BATCH, tuple(partition.balanced(pieces, slowdowns))),
    ]


def replayed(task: Task, micro_batches: int, slowdown: float, share: Share) -> Replay:
    """Return the step on paper; a layer's forward pass on the fast rank takes one slot."""
    costs, slowdowns = task.costs, (1.0, slowdown)
    whole = sum(PASS.values())
    if not is_pipeline(share.variant):
        taken = (sum(costs) * whole * n * f for n, f in zip(share.counts, slowdowns, strict=True))
        return replay([[Event(rank, time)] for rank, time in enumerate(taken)])
    stages = partition.times(costs, slowdowns, share.counts)

    def duration(slot: Slot) -> float:
        return PASS[slot.kind] * stages[slot.stage]

    return schedules.replayed(schedules.gpipe(RANKS, micro_batches), RANKS, duration)


def report_replay(
    task: Task, micro_batches: int, slowdown: float, ways: Sequence[Share], report: Report
) -> None:
    """Report who has what at this slowdown, and how long each rank waits on paper."""
    alone = sum(task.costs) * sum(PASS.values()) * micro_batches
    for share in ways:
        found = replayed(task, micro_batches, slowdown, share)
        speed = alone / found.duration
        report.measure("replayed speed-up", share.variant, speed, slowdown=slowdown)
        report.point("replayed speed-up by slowdown", share.variant, slowdown, speed)
        for rank, (count, idle) in enumerate(zip(share.counts, found.idle, strict=True)):
            at = {"slowdown": slowdown, "rank": rank}
            report.measure("share", share.variant, count, **at)
            report.measure("idle share", share.variant, idle / found.duration, **at)
        report.point(
            "idle share by slowdown", share.variant, slowdown, found.idle[0] / found.duration
        )


def report_replayed_gain(
    task: Task, p: HeterogeneousRanksParameters, ways: Sequence[Share], report: Report
) -> None:
    """Report how much longer even shares take on paper, at the slowdown that was set."""
    taken = {s.variant: replayed(task, p.micro_batches, p.slowdown, s).duration for s in ways}
    for variant, even in EVEN.items():
        report.measure("replayed gain", variant, taken[even] / taken[variant])


def report_training(found: Sequence[Mapping[str, Trained]], report: Report) -> None:
    """Report how each way was trained, and how far it is from one process."""
    single = found[0][ONE]
    report.measure("training loss", ONE, single.losses[-1])
    for variant in WAYS:
        of_ranks = [rank[variant] for rank in found]
        report.measure("training loss", variant, of_ranks[-1].losses[-1])
        report.measure("equality error", variant, apart(of_ranks, single))
        report.measure("bytes sent", variant, sum(one.bytes_sent for one in of_ranks) / MIB)
        for rank, one in enumerate(of_ranks):
            report.measure("trainable parameters", variant, one.weights, rank=rank)


def apart(of_ranks: Sequence[Trained], single: Trained) -> float:
    """Return the largest relative difference of a loss or a gradient; raise KeyError for none."""
    gradients = {name: own for one in of_ranks for name, own in one.gradients.items()}
    return largest_relative_difference(
        of_ranks[-1].losses, gradients, single.losses, single.gradients
    )


def report_times(
    found: Sequence[Mapping[tuple[float, str], Timed]],
    pace: Pace,
    p: HeterogeneousRanksParameters,
    report: Report,
) -> None:
    """Report how long steps take, as the first rank saw them, and beside it the bound."""
    report.measure_time("layer time", ONE, pace.forward + pace.backward)
    alone = found[0][SLOWDOWNS[0], ONE]
    report.measure_time("step time", ONE, alone.seconds)
    for (slowdown, variant), one in found[0].items():
        if variant == ONE:
            continue
        report.measure_time("step time", variant, one.seconds, slowdown=slowdown)
        speed = ratios({ONE: alone.seconds, variant: one.seconds}, to=ONE)[variant]
        report.measure("speed-up", variant, speed, slowdown=slowdown)
        report.point("speed-up by slowdown", variant, slowdown, statistics.median(speed))
        if is_pipeline(variant):
            bounds = bounds_of([rank[slowdown, variant] for rank in found], p.micro_batches)
            over = [100 * (s / b - 1) for s, b in zip(one.seconds, bounds, strict=True)]
            report.measure_time("bound", variant, bounds, slowdown=slowdown)
            report.measure("time over the bound", variant, over, slowdown=slowdown)
    for variant, even in EVEN.items():
        taken = {name: found[0][p.slowdown, name].seconds for name in (variant, even)}
        report.measure("gain", variant, ratios(taken, to=even)[variant])


def bounds_of(of_ranks: Sequence[Timed], micro_batches: int) -> list[float]:
    """Return, round by round, how long a step may take by each stage's longest passes in it."""
    forward = zip(*(one.forward for one in of_ranks), strict=True)
    backward = zip(*(one.backward for one in of_ranks), strict=True)
    return [
        partition.bound(ahead, back, micro_batches)
        for ahead, back in zip(forward, backward, strict=True)
    ]


def verdict(p: HeterogeneousRanksParameters, report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    found = {(m.metric, m.variant): m.value for m in report.measurements if not m.settings}
    at = {
        (m.metric, m.variant, m.settings.get("rank")): m.value
        for m in report.measurements
        if m.settings.get("slowdown") == p.slowdown
    }

    def split(variant: str) -> str:
        return " and ".join(f"{at['share', variant, rank]:.0f}" for rank in range(RANKS))

    def speed(variant: str) -> str:
        return f"{at['speed-up', variant, None]:.2f}"

    apart = max(found["equality error", variant] for variant in WAYS)
    return (
        f"With a rank {p.slowdown:g} times slower, balanced stages of {split(STAGES)} pieces take"
        f" a step {found['gain', STAGES]:.2f} times as fast as even ones (on paper"
        f" {found['replayed gain', STAGES]:.2f}), and {split(BATCH)} micro-batches"
        f" {found['gain', BATCH]:.2f} times as fast as even ones. Even shares are"
        f" {speed(STAGES_EVEN)} (pipeline) and {speed(BATCH_EVEN)} (data parallel) times as fast as"
        f" the fast rank alone, balanced ones {speed(STAGES)} and {speed(BATCH)}; more than"
        f" {1 + 1 / p.slowdown:.2f} there is not. Losses and gradients are those of one process but"
        f" for {apart:.0e}."
    )
