"""Trains a small GPT, and compares, counts and times a step of it on ranks."""

import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations import activations
from casestudies.lab.measure.rounds import lengths, ratios
from casestudies.lab.models.gpt import Dropout, Gpt, fused
from casestudies.lab.report import Report
from casestudies.lab.studies.sequence_parallel import ranks
from casestudies.lab.studies.sequence_parallel.about import (
    ALONE,
    COUNTED,
    DROPOUT,
    EVEN,
    FUSED,
    HEAD_WIDTH,
    RING,
    SELECTIVE,
    SEQUENCE,
    SHORTEST,
    STAGES,
    TENSOR,
    TERAPIPE,
    TIMED,
    ULYSSES,
    UNITS,
    WAYS,
    WHOLE,
    WITH_SCORES,
    WITHOUT,
    ZIG_ZAG,
    SequenceParallelParameters,
)
from casestudies.lab.studies.sequence_parallel.ranks import Counted, Task
from casestudies.lab.studies.sequence_parallel.terapipe import best_slices, replayed
from casestudies.lab.train import loop

VOCABULARY = 1024
TOLERANCE = 1e-9  # float64: of a loss, and of a gradient as a share of its largest number
ALONE_WAYS, SHARED_WAYS = (ALONE, FUSED), (*WITH_SCORES, *WITHOUT)
KIB, MIB = 2**10, 2**20
BY_LENGTH = (FUSED, TENSOR, SELECTIVE, ZIG_ZAG, ULYSSES)


class NotEqual(AssertionError):
    """Ranks did not find what one process finds; the message says which and by how much."""


def run(parameters: SequenceParallelParameters, setup: Setup, report: Report) -> str:
    """Train, compare, count and time; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if a rank does not return, and NotEqual
    if ranks find something else than one process.
    """
    p = parameters
    report.precision = (
        "float32; bytes kept and sent in bfloat16, ranks held against one process in float64"
    )
    with report.stage("training in one process", 0.35):
        model, longest = trained(p, setup, report)
        task = Task.of(model, longest[:, : p.context + 1])
    with report.stage(f"comparing {COUNTED} ranks with one process", 0.25):
        compare(task, report)
    with report.stage("counting what a rank keeps and sends", 0.1):
        for world, names in ((1, ALONE_WAYS), (TIMED, SHARED_WAYS), (COUNTED, SHARED_WAYS)):
            report_counts(on_ranks(world, ranks.count, task, names), task, world, report)
    with report.stage("measuring memory as sequences grow", 0.1):
        several = lengths(SHORTEST, p.longest, 2)
        held = on_ranks(COUNTED, ranks.peaks, Task.of(model, longest), BY_LENGTH, several)
        report_memory(held, report)
    with report.stage("timing slices of a sequence, and replaying a pipeline", 0.05):
        (taken,) = on_ranks(1, ranks.slices, task, UNITS, p.rounds)
        report_pipeline(taken, report)
    with report.stage(f"timing {TIMED} ranks, all ways in turn", 0.15):
        report_times(on_ranks(TIMED, ranks.timed, task, tuple(WAYS), p.rounds), report)
    return verdict(p, report)


def trained(p: SequenceParallelParameters, setup: Setup, report: Report) -> tuple[Gpt, Tensor]:
    """Return a model that one process has trained, and the longest sequence, of text kept apart."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    training = text.windows(corpus.calibration, tokenizer, p.context + 1)
    kept_apart = text.windows(corpus.evaluation, tokenizer, max(p.context, p.longest) + 1)
    random = torch.Generator().manual_seed(setup.seed)
    model = Gpt(VOCABULARY, p.width, p.layers, p.width // HEAD_WIDTH, random)
    model.dtype = torch.float32
    dropout = Dropout(DROPOUT, random)

    def loss_of(batch: Tensor) -> loop.Loss:
        return loop.Loss(loop.token_loss(model(batch[:, :-1], fused, dropout), batch))

    batches = loop.drawn(training, random, size=1)
    schedule = loop.Schedule(p.training_steps)
    loop.train(model.parameters(), loss_of, batches, schedule, lambda step, loss: None)
    return model, text.spaced(kept_apart, 1)


def compare(task: Task, report: Report) -> None:
    """Report how far loss and gradients on ranks are from one process's; raise NotEqual."""
    (exact,) = on_ranks(1, ranks.exact, task, ALONE_WAYS)
    for name, one in exact.items():
        report.measure("loss", name, one.loss)
    against = dict.fromkeys(WITH_SCORES, ALONE) | dict.fromkeys(WITHOUT, FUSED)
    found = on_ranks(COUNTED, ranks.compare, task, exact, against)
    for name in against:
        of_loss = [rank[name].of_loss for rank in found]
        of_gradient = [rank[name].of_gradient for rank in found]
        if not all(n < TOLERANCE for n in (*of_loss, *of_gradient)):  # nor what is no number
            raise NotEqual(f"{name}: the loss is off by {of_loss}, a gradient by {of_gradient}")
        report.measure("loss", name, found[0][name].loss)
        report.measure("equality error", name, max(of_loss))
        report.measure("gradient error", name, max(of_gradient))


def report_counts(
    found: Sequence[Mapping[str, Counted]], task: Task, world: int, report: Report
) -> None:
    """Report what the rank that keeps most keeps and sends of a layer, and each one's work."""
    tokens = task.windows.shape[1] - 1
    for name in found[0]:
        kept = max(rank[name].kept for rank in found)
        beyond = kept / kept_by_formula(task, name, world) - 1
        sent = max(rank[name].sent for rank in found)
        of_weights = max(rank[name].sent_of_weights for rank in found)
        report.measure("kept by a layer", name, kept / tokens / KIB, ranks=world)
        report.measure_share("beyond the formula", name, beyond, ranks=world)
        report.measure("bytes sent", name, sent / MIB, ranks=world)
        report.measure("gradients sent", name, of_weights / MIB, ranks=world)
    if world == COUNTED:
        for name in (RING, ZIG_ZAG):
            pairs = [rank[name].pairs for rank in found]
            report.measure("busiest rank", name, max(pairs) * world / sum(pairs))
            for rank, own in enumerate(pairs):
                report.measure("share of the work", name, own / sum(pairs), rank=rank)
                report.point("share of the work by rank", name, rank, own / sum(pairs))


def kept_by_formula(task: Task, name: str, world: int) -> float:
    """Return the bytes that a rank keeps of a layer, without the statistics of norms and softmax.

    Ulysses keeps attention's output twice, by heads and by tokens: 2sbh/t beyond 34sbh/t.
    """
    batch, tokens = task.windows.shape
    hidden = task.weights[0].shape[1]
    shape = {"tokens": tokens - 1, "batch": batch, "hidden": hidden}
    heads, once = hidden // HEAD_WIDTH, (tokens - 1) * batch * hidden
    if name == ALONE:
        return activations.layer_activation_bytes(**shape, heads=heads)
    if name == FUSED:
        return activations.selective_activation_bytes(**shape, tensor_ranks=1)
    if name == TENSOR:
        return activations.tensor_parallel_activation_bytes(
            **shape, heads=heads, tensor_ranks=world
        )
    if name == SEQUENCE:
        return activations.sequence_parallel_activation_bytes(
            **shape, heads=heads, tensor_ranks=world
        )
    kept = activations.sequence_parallel_selective_activation_bytes(**shape, tensor_ranks=world)
    return kept + (2 * once / world if name == ULYSSES else 0)


def report_memory(found: Sequence[Mapping[tuple[str, int], int]], report: Report) -> None:
    """Report what the rank that holds most holds in a step on sequences of each length."""
    for name, length in found[0]:
        held = max(rank.get((name, length), 0) for rank in found) / MIB
        report.measure("step memory", name, held, length=length)
        report.point("step memory by length", name, length, held)


def report_times(found: Sequence[Mapping[str, list[float]]], report: Report) -> None:
    """Report how long steps take, of the rank that took longest in each round."""
    taken = {
        name: [max(times) for times in zip(*(rank[name] for rank in found), strict=True)]
        for name in WAYS
    }
    for name, times in taken.items():
        report.measure_time("step time", name, times, ranks=TIMED)
    for name, faster in ratios(taken, to=FUSED).items():
        report.measure("speed-up", name, faster, ranks=TIMED)


def report_pipeline(taken: Mapping[tuple[int, int], list[float]], report: Report) -> None:
    """Report how long a pipeline takes for the whole sequence, even slices, and the best ones.

    They are chosen by every other round and replayed with the rest, so that slices that were quick
    by chance do not seem better than they are.
    """
    choosing, replaying = (
        {one: statistics.median(times[first::2]) for one, times in taken.items()}
        for first in (0, 1)
    )
    best = best_slices(choosing, UNITS, STAGES)
    report.log(f"TeraPipe cuts {UNITS} units into slices of {best}")
    for name, slices in ((WHOLE, (UNITS,)), (EVEN, (1,) * UNITS), (TERAPIPE, best)):
        report.measure_time("replayed time", name, replayed(replaying, slices, STAGES))


def verdict(p: SequenceParallelParameters, report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    found = {(m.metric, m.variant, *m.settings.values()): m.value for m in report.measurements}
    furthest = max(found["gradient error", name] for name in SHARED_WAYS)

    def each(metric: str, digits: int) -> str:
        tensor, sequence, selective, ring, ulysses = (
            f"{found[metric, name, COUNTED]:.{digits}f}"
            for name in (TENSOR, SEQUENCE, SELECTIVE, ZIG_ZAG, ULYSSES)
        )
        return (
            f"{tensor} with tensor parallelism, {sequence} with the sequence shared too,"
            f" {selective} with scores computed again, {ring} with a ring, {ulysses} with Ulysses"
        )

    ratio = found["kept by a layer", TENSOR, COUNTED] / found["kept by a layer", SELECTIVE, COUNTED]
    return (
        f"{COUNTED} ranks that share a sequence of {p.context:,} tokens find one process’s loss,"
        f" {found['loss', ALONE]:.3f}, in all ways, and no gradient is off by more than"
        f" {furthest:.0e} of the largest. KiB that a rank keeps of a token in a layer:"
        f" {each('kept by a layer', 1)}; scores computed again make it {ratio:.1f} times less."
        f" MiB that it sends for a layer: {each('bytes sent', 2)}. The ring’s busiest rank"
        f" has {found['busiest rank', RING]:.2f} times the mean of attention’s work in order and"
        f" {found['busiest rank', ZIG_ZAG]:.2f} in zig-zag. Computed by replay, {STAGES} stages"
        f" take {found['replayed time', WHOLE]:.0f} ms for the whole sequence,"
        f" {found['replayed time', EVEN]:.0f} in even slices and"
        f" {found['replayed time', TERAPIPE]:.0f} in TeraPipe’s."
    )
