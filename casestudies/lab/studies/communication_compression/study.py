"""Trains on ranks with what is sent compressed in several ways, and counts and times it."""

import statistics
from collections.abc import Iterator, Mapping, Sequence

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.communication_compression import ranks
from casestudies.lab.studies.communication_compression.about import (
    BFLOAT16,
    FLOAT32,
    LINKS,
    PER_NODE,
    POWERSGD,
    RANKS,
    REPLICATED,
    SIXTEEN_BITS,
    TIMED_RANKS,
    WAYS,
    ZERO3,
    ZEROPP,
    CommunicationCompressionParameters,
)
from casestudies.lab.studies.communication_compression.ranks import Observed, Plan, Task
from casestudies.lab.train import loop

VOCABULARY, WINDOW, EVALUATED = 1024, 64, 64
TIMED = (FLOAT32, BFLOAT16, POWERSGD, ZERO3, ZEROPP)
BY: tuple[float | None, ...] = (None, *LINKS)
MIB = 2**20
Found = Sequence[Mapping[str, Observed]]  # what each rank found, by variant


def run(parameters: CommunicationCompressionParameters, setup: Setup, report: Report) -> str:
    """Train, count and time; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if a rank does not return.
    """
    p = parameters
    report.precision = "float32, rounded as it is sent"
    with report.stage("reading the text", 0.05):
        task = prepare(p, setup, report)
    with report.stage(f"training on {RANKS} ranks, all ways in turn", 0.45):
        report_training(task, report)
    with report.stage(f"counting and timing on {RANKS} ranks in two nodes", 0.2):
        ways = tuple(WAYS)
        plan = Plan(PER_NODE, ways, timed=ways, links=[p.link], rounds=p.rounds)
        found = on_ranks(RANKS, ranks.observe, task, plan)
        report_nodes(found, p.link, report)
    with report.stage(f"timing on {TIMED_RANKS} ranks by several links", 0.3):
        plan = Plan(1, (*REPLICATED, *WAYS), TIMED, BY, p.rounds)
        found = on_ranks(TIMED_RANKS, ranks.observe, task, plan)
        report_links(found, report)
    return verdict(p, report)


def prepare(parameters: CommunicationCompressionParameters, setup: Setup, report: Report) -> Task:
    """Return what the ranks do with the text."""
    p = parameters
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    training, kept_apart = (
        text.windows(documents, tokenizer, WINDOW + 1)
        for documents in (corpus.calibration, corpus.evaluation)
    )
    drawn = loop.drawn(training, torch.Generator().manual_seed(setup.seed))
    batches = torch.stack([next(drawn) for _ in range(p.steps)])
    evaluated = min(EVALUATED, len(kept_apart)) // RANKS * RANKS
    evaluation = text.spaced(kept_apart, max(RANKS, evaluated))
    return Task(
        vocabulary=tokenizer.get_vocab_size(),
        width=p.width,
        layers=p.layers,
        block=p.block,
        rank=p.gradient_rank,
        seed=setup.seed,
        batches=batches.numpy(),
        evaluation=evaluation.numpy(),
    )


def report_training(task: Task, report: Report) -> None:
    """Report how each way of training ends, and how far what it applied is from the truth."""
    found = on_ranks(RANKS, ranks.train, task, PER_NODE, (*REPLICATED, *WAYS))[0]
    for variant, one in found.items():
        report.measure("loss", variant, one.loss)
        report.measure_share("gradient drift", variant, one.drift)
        if variant != FLOAT32:
            report.measure("loss increase", variant, one.loss - found[FLOAT32].loss)
        if one.apart is not None:
            report.measure("equality error", variant, one.apart)


def report_nodes(found: Found, link: float, report: Report) -> None:
    """Report what passes between nodes and within them, and steps over the link between them."""
    at = {"ranks": RANKS, "link": link}
    across = {variant: sum(rank[variant].across for rank in found) for variant in WAYS}
    taken = {variant: slowest(found, variant, link) for variant in WAYS}
    for variant, sent in across.items():
        one = found[0][variant]
        within = sum(rank[variant].inside for rank in found)
        report.measure("bytes between nodes", variant, sent / MIB)
        report.measure("bytes within nodes", variant, within / MIB)
        report.measure("volume reduction", variant, across[ZERO3] / sent)
        if one.copy:
            report.measure("second copy", variant, one.copy / one.numbers)
        report.measure_time("step time", variant, taken[variant], **at)
        of_link = one.across * PER_NODE / (link * 1e6)
        report.measure_share("link share", variant, [of_link / s for s in taken[variant]], **at)
    for variant, speed in ratios(taken, to=ZERO3).items():
        report.measure("speed-up", variant, speed, **at)


def report_links(found: Found, report: Report) -> None:
    """Report what a rank sends, and how long steps take by each link and without one."""
    for variant, one in found[0].items():
        report.measure("bytes sent", variant, one.across / MIB)
    for link in BY:
        at = {"ranks": TIMED_RANKS} | ({"link": link} if link else {})
        taken = {variant: slowest(found, variant, link) for variant in TIMED}
        for variant, times in taken.items():
            report.measure_time("step time", variant, times, **at)
        for variant, base in SIXTEEN_BITS.items():
            speed = ratios({name: taken[name] for name in (base, variant)}, to=base)[variant]
            report.measure("speed-up", variant, speed, **at)
            if link:
                report.point("speed-up by link", variant, link, statistics.median(speed))
    for variant, base in SIXTEEN_BITS.items():
        fewer = found[0][base].across - found[0][variant].across
        longer = statistics.median(besides_the_link(found, variant, base))
        if fewer > 0 and longer > 0:
            report.measure("break-even link", variant, fewer / longer / 1e6)


def besides_the_link(found: Found, variant: str, base: str) -> Iterator[float]:
    """Yield how many seconds longer than the base's each step took, what the link took left out."""
    fewer = found[0][base].across - found[0][variant].across
    for link in BY:
        saved = fewer / (link * 1e6) if link else 0.0
        times = zip(slowest(found, variant, link), slowest(found, base, link), strict=True)
        yield from (own - other + saved for own, other in times)


def slowest(found: Found, variant: str, link: float | None) -> list[float]:
    """Return the seconds of each round, of the rank that took longest."""
    of_ranks = [rank[variant].seconds[link] for rank in found]
    return [max(times) for times in zip(*of_ranks, strict=True)]


def verdict(p: CommunicationCompressionParameters, report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    found = {(m.metric, m.variant): m.value for m in report.measurements if not m.settings}

    def apart(variant: str) -> str:
        return f"{found['loss increase', variant]:+.3f} nats"

    def share(variant: str) -> float:
        return found["bytes sent", variant] / found["bytes sent", SIXTEEN_BITS[variant]]

    def until(variant: str) -> str:
        base = SIXTEEN_BITS[variant]
        break_even = found.get(("break-even link", variant))
        if share(variant) >= 1:
            return f"{variant} sends no less than {base}"
        if break_even is None:
            return f"{variant} takes no longer than {base} even without a link"
        return f"{variant} saves time against {base} on links slower than {break_even:.0f} MB/s"

    return (
        f"Between nodes ZeRO++ sends {found['volume reduction', ZEROPP]:.2f} times fewer bytes than"
        f" ZeRO-3 in 16 bits, and after {p.steps} steps its loss is {apart(ZEROPP)} from that of"
        f" float32, {found['loss', FLOAT32]:.3f}; PowerSGD at rank {p.gradient_rank} sends"
        f" {100 * share(POWERSGD):.1f} % of the bytes of an all-reduce in 16 bits, and is"
        f" {apart(POWERSGD)} away. Here {until(ZEROPP)}, and {until(POWERSGD)}."
    )
