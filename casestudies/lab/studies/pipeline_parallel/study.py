"""Trains by several schedules on ranks and counts what ranks wait for and hold."""

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.measure.differences import largest_relative_difference
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.pipeline_parallel import claims, execution, idle
from casestudies.lab.studies.pipeline_parallel.about import PipelineParameters
from casestudies.lab.studies.pipeline_parallel.execution import (
    INTERLEAVED,
    Gradients,
    Observed,
    Trained,
    Work,
)
from casestudies.lab.train.loop import drawn

VOCABULARY = 512
RECOMPUTED = "gpipe, recomputed"
EXECUTED = [*idle.ORDERS, RECOMPUTED]
TIMED = ["layer split", *idle.ORDERS]
TIMED_RANKS = 2
MIB = 2**20


def run(parameters: PipelineParameters, setup: Setup, report: Report) -> str:
    """Measure all schedules; return the verdict. Raises RanksFailed if a rank ends early."""
    p = parameters
    with report.stage("reading the text and training a tokenizer", 0.1):
        longest = prepared(p, setup, report)
        work = cut(longest, p, p.micro_batches)
    with report.stage("training on one process and on ranks", 0.25):
        error = compare(work, p.ranks, report)
    with report.stage("watching what ranks do and hold", 0.3) as stage:
        counts = [p.ranks * k for k in claims.MULTIPLES if p.curve]
        counts = sorted({p.micro_batches, *counts})
        watched, shares = {}, {}
        for done, count in enumerate(counts):
            stage.at(done / len(counts), f"{count} micro-batches")
            names = EXECUTED if count == p.micro_batches else list(idle.ORDERS)
            watched[count] = watch(cut(longest, p, count), p.ranks, names)
            shares[count] = idle.report_carried_out(count, watched[count], report)
        idle.report_more_workers(report, {(p.ranks, count) for count in counts})
        idle.report_depths(watched[p.micro_batches]["interleaved"], report)
        report_held(watched[p.micro_batches], report)
    with report.stage("weighing ranks", 0.2) as stage:
        saved = report_memory(work, p.ranks, report)
        stage.at(0.3, "the most blocks that fit")
        report_blocks_that_fit(work, p, report)
    with report.stage("timing steps on two ranks", 0.15):
        report_times(work, p.rounds, report)
    return verdict(p, error, saved, watched[p.micro_batches], shares[p.micro_batches])


def prepared(p: PipelineParameters, setup: Setup, report: Report) -> Work:
    """Return the longest steps of all; report what was read.

    Raises ValueError if the text is too short.
    """
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    report.precision = "float32"
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window + 1)
    generator = torch.Generator().manual_seed(setup.seed)
    size = p.sequences * max(p.micro_batches, p.ranks * max(claims.MULTIPLES))
    batches = drawn(windows, generator, size)
    return Work(
        vocabulary=tokenizer.get_vocab_size(),
        width=p.width,
        layers=INTERLEAVED * p.ranks * p.blocks,
        seed=setup.seed,
        device=setup.device,
        batches=np.stack([next(batches).numpy() for _ in range(p.steps)]),
        micro_batches=size // p.sequences,
    )


def cut(work: Work, p: PipelineParameters, micro_batches: int) -> Work:
    """Return the work with so many micro-batches a step, each of as many sequences as ever."""
    batches = work.batches[:, : p.sequences * micro_batches]
    return replace(work, batches=batches, micro_batches=micro_batches)


def compare(work: Work, ranks: int, report: Report) -> float:
    """Train by all schedules; report losses and differences, and return the largest of those."""
    (plain,) = on_ranks(1, execution.alone, work)
    report.measure("training loss", "one process", plain.losses[-1])
    of_ranks = on_ranks(ranks, execution.train, work, EXECUTED)
    errors = {}
    for name in EXECUTED:
        found = together(trained[name] for trained in of_ranks)
        errors[name] = apart(found, plain)
        report.measure("training loss", name, found.losses[-1])
        report.measure("equality error", name, errors[name])
    return max(errors.values())


def together(parts: Iterable[Trained]) -> Trained:
    """Return what the ranks have of the losses and the gradients as one."""
    losses: list[float] = []
    gradients: Gradients = {}
    for part in parts:
        losses += part.losses
        gradients |= part.gradients
    return Trained(losses, gradients)


def apart(found: Trained, expected: Trained) -> float:
    """Return the largest relative difference of a loss or a gradient; raise KeyError for none."""
    return largest_relative_difference(
        found.losses, found.gradients, expected.losses, expected.gradients
    )


def watch(work: Work, ranks: int, names: list[str]) -> dict[str, list[Observed]]:
    """Return what each rank did and held in one step of each schedule."""
    seen = on_ranks(ranks, execution.observe, work, names)
    return {name: [of_rank[name] for of_rank in seen] for name in names}


def report_held(observed: Mapping[str, list[Observed]], report: Report) -> None:
    """Report what each rank kept for backwards, and what ranks sent."""
    for name, of_ranks in observed.items():
        for rank, seen in enumerate(of_ranks):
            kept = seen.saved_bytes / MIB
            held = seen.stashed / idle.stages_of(name)
            report.measure("micro-batches held", name, held, rank=rank)
            report.measure("activation memory", name, kept, rank=rank)
            report.point("activation memory by rank", name, rank, kept)
        sent = statistics.mean(rank.sent_bytes for rank in of_ranks)
        report.measure("bytes sent", name, sent / MIB)


def report_memory(work: Work, ranks: int, report: Report) -> float:
    """Report what ranks hold in all; return the share of GPipe's that 1F1B saves."""
    weighed = on_ranks(ranks, execution.weigh, work, EXECUTED)
    mean = {name: statistics.mean(of[name] for of in weighed) for name in EXECUTED}
    for name, held in mean.items():
        report.measure("rank memory", name, held / MIB)
    return 1 - mean["1f1b"] / mean["gpipe"]


def report_blocks_that_fit(work: Work, p: PipelineParameters, report: Report) -> None:
    """Report the most blocks on ranks that hold no more bytes than one process with its blocks."""
    (most,) = on_ranks(1, execution.weigh_alone, replace(work, layers=p.blocks_alone))
    report.measure("blocks that fit", "one process", p.blocks_alone)
    report.measure("blocks that fit", RECOMPUTED, blocks_that_fit(work, p.ranks, most))


def blocks_that_fit(work: Work, ranks: int, most: int) -> int:
    """Return with how many blocks, a multiple of the ranks, each rank holds so many bytes or less.

    Bytes grow by the same with each block, so two steps say about how many; further ones find it.
    """

    def largest(blocks: int) -> int:
        of_ranks = on_ranks(ranks, execution.weigh, replace(work, layers=blocks), [RECOMPUTED])
        return max(rank[RECOMPUTED] for rank in of_ranks)

    first, second = largest(ranks), largest(2 * ranks)
    blocks = ranks * max(0, 1 + (most - first) // (second - first))
    while blocks and largest(blocks) > most:
        blocks -= ranks
    while largest(blocks + ranks) <= most:
        blocks += ranks
    return blocks


def report_times(work: Work, rounds: int, report: Report) -> None:
    """Report the times of a step on two ranks, as the first saw them: it begins and ends it."""
    taken = on_ranks(TIMED_RANKS, execution.take_time, work, TIMED, rounds)[0]
    for name, times in taken.items():
        report.measure_time("step time", name, times)
    for name, speed in ratios(taken, to="layer split").items():
        report.measure("speed-up", name, speed)


def verdict(
    p: PipelineParameters,
    error: float,
    saved: float,
    observed: Mapping[str, list[Observed]],
    waiting: Mapping[str, float],
) -> str:
    """Return two sentences made of the run's own numbers."""
    kept = {name: max(rank.saved_bytes for rank in observed[name]) / MIB for name in waiting}
    share = {name: f"{100 * waiting[name]:.1f} %" for name in waiting}
    return (
        f"Losses and gradients of {p.ranks} ranks are those of one process but for {error:.0e}."
        f" With {p.micro_batches} micro-batches 1F1B keeps {kept['1f1b']:.2f} MiB on its fullest"
        f" rank for backwards where GPipe keeps {kept['gpipe']:.2f}, and ranks hold"
        f" {100 * saved:.0f} % less in all; GPipe waits in {share['gpipe']} of the slots, 1F1B in"
        f" {share['1f1b']}, interleaved 1F1B in {share['interleaved']}."
    )
