"""Trains in one process and split in several ways, counts what a block asks for, times steps."""

import statistics
from collections.abc import Mapping, Sequence

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.communication import (
    tensor_parallel_bytes,
    tensor_parallel_message_bytes,
)
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.models.language_model import Config
from casestudies.lab.report import Report
from casestudies.lab.studies.tensor_parallel import ranks
from casestudies.lab.studies.tensor_parallel.about import (
    BOTH_CORES,
    BY_HAND,
    COUNTED_RANKS,
    DATA_PARALLEL,
    LINKS,
    ONE,
    ONLY_COUNTED,
    PER_LAYER,
    PER_MODULE,
    SEQUENCE,
    SPLIT,
    TIMED_RANKS,
    TensorParallelParameters,
)
from casestudies.lab.studies.tensor_parallel.ranks import Counted, OfBlock, Task, Trained

VOCABULARY, EVALUATED = 512, 64
WAYS = (ONE, DATA_PARALLEL, *SPLIT)
TIMED = (ONE, BOTH_CORES, DATA_PARALLEL, BY_HAND, PER_LAYER, PER_MODULE)
BY: tuple[float | None, ...] = (None, *LINKS)
FLOAT32, MIB = 4, 2**20
# Touvron et al. 2023, LLaMA, table 2; the feed-forward width as its code rounds it.
LARGE_NAME, LARGE = "LLaMA-65B", Config(32_000, 8_192, 22_016, 80, 64, 64, 10_000.0, 1e-5)
LARGE_TOKENS = 2048


def run(parameters: TensorParallelParameters, setup: Setup, report: Report) -> str:
    """Train, count and time; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if a rank does not return.
    """
    p = parameters
    report.precision = "float32"
    with report.stage("reading the text", 0.05):
        task = prepare(p, setup, report)
    with report.stage(f"training on {TIMED_RANKS} ranks, all ways in turn", 0.35):
        (trained, _) = on_ranks(TIMED_RANKS, ranks.train, task, WAYS)
        report_training(trained, report)
    with report.stage("counting on ranks", 0.15) as stage:
        (alone,) = on_ranks(1, ranks.count, task, (ONE,))
        report_counts(1, alone, task, report)
        for done, world in enumerate((TIMED_RANKS, COUNTED_RANKS)):
            stage.at(done / 2, f"{world} ranks")
            found = on_ranks(world, ranks.count, task, WAYS[1:])[0]
            report_counts(world, found, task, report)
    with report.stage("counting on one rank of many", 0.05):
        for world in ONLY_COUNTED:
            for variant in SPLIT:
                block = ranks.of_block_among(world, variant, LARGE, LARGE_TOKENS)
                report_volume(variant, world, block, LARGE_TOKENS * LARGE.width, report)
    with report.stage(f"timing on {TIMED_RANKS} ranks by several links", 0.4):
        timed = on_ranks(TIMED_RANKS, ranks.times, task, TIMED, BY, p.rounds)[0]
        report_times(timed, report)
    return verdict(p, report)


def prepare(p: TensorParallelParameters, setup: Setup, report: Report) -> Task:
    """Return what the ranks do with the text."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows = text.windows(corpus.calibration, tokenizer, p.window + 1)
    kept_apart = text.windows(corpus.evaluation, tokenizer, p.window + 1)
    generator = torch.Generator().manual_seed(setup.seed)
    rows = torch.randint(len(windows), (p.steps, p.sequences), generator=generator)
    evaluation = text.spaced(kept_apart, min(EVALUATED, len(kept_apart)))
    vocabulary = tokenizer.get_vocab_size()
    return Task(
        vocabulary, p.width, p.layers, setup.seed, windows[rows].numpy(), evaluation.numpy()
    )


def report_training(trained: Mapping[str, Trained], report: Report) -> None:
    """Report how each way was trained, and how far it is from one process."""
    for variant, one in trained.items():
        report.measure("loss", variant, one.evaluation)
        if variant != ONE:
            apart = zip(one.losses, trained[ONE].losses, strict=True)
            report.measure("equality error", variant, max(abs(a - b) for a, b in apart))
            report.measure("gradient difference", variant, one.apart)


def report_counts(world: int, counted: Mapping[str, Counted], task: Task, report: Report) -> None:
    """Report what the first of so many ranks sends and keeps."""
    sequences, tokens = task.batches.shape[1], task.batches.shape[2] - 1
    for variant, found in counted.items():
        kept = found.block.saved_bytes / MIB
        report.measure("trainable parameters", variant, found.weights, ranks=world)
        report.measure("bytes sent", variant, found.bytes_sent / MIB, ranks=world)
        report.measure("activation memory", variant, kept, ranks=world)
        if variant in (ONE, BY_HAND, SEQUENCE):
            report.point("activation memory by ranks", variant, world, kept)
        if variant in SPLIT:
            report_volume(variant, world, found.block, sequences * tokens * task.width, report)


def report_volume(variant: str, world: int, block: OfBlock, hidden: int, report: Report) -> None:
    """Report the collectives of a block and what they carry, for so many numbers of the state."""
    message = tensor_parallel_message_bytes(tokens=hidden, batch=1, hidden=1, number_bytes=FLOAT32)
    formula = tensor_parallel_bytes(
        tensor_ranks=world, tokens=hidden, batch=1, hidden=1, number_bytes=FLOAT32
    )
    at = {"ranks": world} | ({"model": LARGE_NAME} if world in ONLY_COUNTED else {})
    report.measure("block volume", variant, block.bytes_sent / message, **at)
    excess = 100 * (block.bytes_sent / formula - 1)
    report.measure("excess over the formula", variant, excess, **at)
    if world == TIMED_RANKS:
        forward, backward = sum(block.forward.values()), sum(block.backward.values())
        report.measure("forward collectives", variant, forward)
        report.measure("backward collectives", variant, backward)
        report.measure("collectives", variant, forward + backward)


def report_times(
    timed: Mapping[str, Mapping[float | None, Sequence[float]]], report: Report
) -> None:
    """Report how long steps take by each link and without one."""
    for link in BY:
        at = {"link": link} if link else {}
        taken = {variant: list(by_link[link]) for variant, by_link in timed.items()}
        for variant, times in taken.items():
            report.measure_time("step time", variant, times, **at)
        for variant, speed in ratios(taken, to=ONE).items():
            report.measure("speed-up", variant, speed, **at)
            if link:
                report.point("speed-up by link", variant, link, statistics.median(speed))


def verdict(p: TensorParallelParameters, report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    found = {(m.metric, m.variant): m.value for m in report.measurements if not m.settings}
    slowest = {
        m.variant: m.value
        for m in report.measurements
        if m.metric == "speed-up" and m.settings.get("link") == LINKS[0]
    }

    def collectives(variant: str) -> str:
        one_way = (found[f"{way} collectives", variant] for way in ("forward", "backward"))
        return " + ".join(f"{number:.0f}" for number in one_way)

    def speed(variant: str) -> str:
        return f"{found['speed-up', variant]:.2f} ({slowest[variant]:.2f}) times"

    apart = max(found["equality error", variant] for variant in SPLIT)
    return (
        f"A block takes {collectives(BY_HAND)} all-reduces by hand, forward and backward, and"
        f" {collectives(PER_MODULE)} by a plan that names its parts, but"
        f" {collectives(PER_LAYER)} by one that names its linear layers. Over {p.steps} steps no"
        f" split model’s loss is more than {apart:.0e} nats from that of one process, which ends at"
        f" {found['loss', ONE]:.3f} on other text. Without a link (and on one of {LINKS[0]:g} MB/s)"
        f" a step of {TIMED_RANKS} ranks by hand is {speed(BY_HAND)} as fast as one process with"
        f" one thread, by the plan of parts {speed(PER_MODULE)}, data parallel"
        f" {speed(DATA_PARALLEL)}. One process with the cores of both ranks is"
        f" {found['speed-up', BOTH_CORES]:.2f} times as fast."
    )
