"""Trains on one, two and four ranks in all ways, and counts what a rank of many more would hold."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.zero.about import (
    ALONE,
    AMONG,
    COUNTED,
    LIBRARY,
    PLAIN,
    STAGES,
    TIMED,
    ZeroParameters,
    by_formula,
    bytes_of,
)
from casestudies.lab.studies.zero.held import PARTS, Held
from casestudies.lab.studies.zero.training import Task, Trained, held_among, train

VOCABULARY = 512
MIB = 2**20
Ranks = Sequence[Mapping[str, Trained]]  # what each rank found, by variant


def run(parameters: ZeroParameters, setup: Setup, report: Report) -> str:
    """Train and count; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if a rank does not return.
    """
    with report.stage("reading the text", 0.05):
        task = prepare(parameters, setup, report)
    with report.stage("training in one process, in mixed precision", 0.05):
        single = on_ranks(1, train, replace(task, variants=(PLAIN,)))
        report_held(single, task, 1, report)
    with report.stage(f"training on {TIMED} ranks, all ways in turn", 0.5):
        two = on_ranks(TIMED, train, task)
        report_held(two, task, TIMED, report)
        report_agreement(two[0], single[0][PLAIN], report)
        report_times(two[0], report)
    with report.stage(f"counting on {COUNTED} ranks", 0.3):
        others = tuple(variant for variant in task.variants if variant != ALONE)
        # Two steps: in the first one the libraries' optimizers have no state yet.
        short = replace(task, variants=others, batches=task.batches[:2])
        four = on_ranks(COUNTED, train, short)
        report_held(four, task, COUNTED, report)
        report_trade(four, task, report)
    with report.stage("counting on one rank of many", 0.1) as stage:
        once = replace(task, batches=task.batches[:1, :1])
        for done, world in enumerate(AMONG):
            stage.at(done / len(AMONG), f"{world} ranks")
            for variant in STAGES:
                if variant != PLAIN:  # it holds as much on any number of ranks
                    held = held_among(world, variant, once)
                    report_states(variant, world, [held], task, report)
    return verdict(report)


def prepare(parameters: ZeroParameters, setup: Setup, report: Report) -> Task:
    """Return what the ranks do with the text."""
    p = parameters
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    report.precision = "bfloat16 with float32 copies by hand, else float32"
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window)
    windows = text.sample(windows, min(len(windows), p.steps * p.sequences), setup.seed)
    rows = torch.arange(p.steps * p.sequences) % len(windows)  # a short text begins again
    batches = windows[rows].view(p.steps, p.sequences, p.window).numpy()
    vocabulary = tokenizer.get_vocab_size()
    return Task((*LIBRARY, *STAGES), vocabulary, p.width, p.layers, setup.seed, p.rate, batches)


def report_held(found: Ranks, task: Task, ranks: int, report: Report) -> None:
    """Report what these ranks hold at most, and what they send."""
    for variant in found[0]:
        number = 1 if variant == ALONE else ranks
        held = [rank[variant].held for rank in found]
        report_states(variant, number, held, task, report)
        if number > 1:
            sent = max(rank[variant].bytes_sent for rank in found)
            report.measure("bytes sent", variant, sent / MIB, ranks=number)


def report_states(
    variant: str, ranks: int, held: Sequence[Held], task: Task, report: Report
) -> None:
    """Report the bytes of a parameter that the fullest of the ranks holds."""
    states = max(one.most for one in held) / task.parameters
    excess = 100 * (states / by_formula(variant, ranks) - 1)
    report.measure("model states", variant, states, ranks=ranks)
    report.measure("excess over the formula", variant, excess, ranks=ranks)
    for part in PARTS:
        most = max(one.parts[part] for one in held) / task.parameters
        report.measure(part, variant, most, ranks=ranks)
    if variant in STAGES:
        report.point("model states by ranks", variant, ranks, states)


def report_trade(found: Ranks, task: Task, report: Report) -> None:
    """Report how much less the fullest rank holds than if nothing were shared, and the volume."""
    ranks = len(found)
    most = {variant: max(rank[variant].held.most for rank in found) for variant in found[0]}
    for variant, held in most.items():
        whole = most[PLAIN if variant in STAGES else "DDP"]
        report.measure("memory saved", variant, whole / held)
        sent = max(rank[variant].bytes_sent for rank in found)
        numbers = sent / bytes_of(variant)["gradients"] * ranks / (ranks - 1)
        report.measure("communication volume", variant, numbers / task.parameters)


def report_agreement(found: Mapping[str, Trained], single: Trained, report: Report) -> None:
    """Report how far each variant is from what it should be equal to."""
    for variant, one in found.items():
        report.measure("training loss", variant, one.losses[-1])
        same = single if variant == PLAIN else found[PLAIN if variant in STAGES else ALONE]
        apart = (abs(a - b) for a, b in zip(one.losses, same.losses, strict=True))
        report.measure("equality error", variant, max(apart))
        if variant != PLAIN:
            report.measure("weight difference", variant, one.weight_difference)


def report_times(found: Mapping[str, Trained], report: Report) -> None:
    """Report the first rank's time of a step, and how that compares with one process."""
    taken = {variant: one.seconds for variant, one in found.items()}
    for variant, seconds in taken.items():
        report.measure_time("step time", variant, seconds)
    for variant, speed in ratios(taken, to=ALONE).items():
        report.measure("speed-up", variant, speed)


def verdict(report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    found = {(m.metric, m.variant, m.settings.get("ranks")): m.value for m in report.measurements}

    def states(variant: str) -> str:
        return f"{found['model states', variant, COUNTED]:.1f}"

    def volume(variant: str) -> str:
        return f"{found['communication volume', variant, None]:.2f}"

    shared = [variant for variant in STAGES if variant != PLAIN]
    apart = max(found["weight difference", variant, None] for variant in shared)
    alike = "the same weights to the last bit" if apart == 0 else f"weights {apart:.1e} apart"
    return (
        f"On each of {COUNTED} ranks a parameter takes {states(PLAIN)} bytes, {states('stage 2')}"
        f" with stage 2 and {states('stage 3')} with stage 3, which sends {volume('stage 3')}"
        f" numbers for it instead of {volume(PLAIN)}; all stages end with {alike}."
        f" PyTorch’s FSDP2 takes {states('FSDP2')} bytes, and its ZeRO-1 sends"
        f" {volume('ZeRO-1, library')} numbers."
    )
