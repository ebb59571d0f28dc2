"""Asks two models in turn what follows a text, and measures what choosing between them is worth."""

from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.models import files
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.cascade.about import (
    DOCUMENTED,
    EXIT,
    PERFECT,
    RANDOM,
    CascadeParameters,
)
from casestudies.lab.studies.cascade.bench import Asked, Bench
from casestudies.lab.studies.cascade.cascade import Mixing, Queries, Thresholds, paired
from casestudies.lab.studies.cascade.claims import (
    AIMS,
    AS_ACCURATE,
    EARLY_EXIT,
    LARGE,
    SAME_COST,
    SMALL,
    SMALL_TO_LARGE,
)
from casestudies.lab.studies.cascade.latency import check_ends, report_latency, time_steps
from casestudies.lab.studies.cascade.steps import Small, train_small

FIRST_STEPS = {SMALL_TO_LARGE: SMALL, EARLY_EXIT: EXIT}
GIGA, PERCENT = 1e9, 100.0
DRAWN = 40  # points of a curve
ENDS = 8  # queries that are asked one at a time at both ends
LAST_STEPS = 10  # over which the training loss is averaged


@dataclass(frozen=True)
class Texts:
    """Windows (count, T) of different documents."""

    training: Tensor
    thresholds: Tensor
    evaluation: Tensor


@dataclass(frozen=True)
class Case:
    """A cascade on the queries of a text, with their operations as costs."""

    cascade: str
    queries: Queries
    mixing: Mixing  # of its first step's model and the large one
    windows: int

    @classmethod
    def of(cls, cascade: str, asked: Asked, bench: Bench) -> "Case":
        """Return the cascade on all queries that were asked."""
        everything = torch.arange(len(asked.truth), device=asked.truth.device)
        costs = bench.operations(cascade, asked.lengths)
        queries = asked.queries(cascade, costs, everything)
        alone = bench.operations_alone(asked.lengths)
        mixing = Mixing(
            (costs[0].mean().item(), queries.first.double().mean().item()),
            (alone.mean().item(), queries.last.double().mean().item()),
        )
        return cls(cascade, queries, mixing, len(asked.windows))


@dataclass(frozen=True)
class Chosen:
    """A threshold, and what it makes of the evaluation text."""

    threshold: float
    gain: float  # points over the large model
    error: float  # its standard error
    saved: float  # % of its operations
    over_mixing: float  # points


def run(parameters: CascadeParameters, setup: Setup, report: Report) -> str:
    """Measure both cascades; return the verdict. Raises ValueError if the text is too short."""
    p, report.precision = parameters, "float32"
    with report.stage("reading the model and the text", 0.15):
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = _corpus(p, setup)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        texts = _texts(corpus, pretrained, p, setup)
    with report.stage("training the small model", 0.35) as stage:
        small, loss = _trained(texts.training, pretrained.model, p, setup, stage)
        report.measure("training loss", SMALL, loss)
        windows = text.spaced(texts.training, p.exit_windows)
        bench = Bench(pretrained.model, small, p.exit_after, windows)
    with report.stage("asking about the text for thresholds", 0.15) as stage:
        known = bench.asked(texts.thresholds, stage)
    with report.stage("asking about other text", 0.15) as stage:
        asked = bench.asked(texts.evaluation, stage)
        chosen = {name: choose(name, known, asked, bench, report) for name in bench.steps}
    with report.stage("timing queries one at a time", 0.2) as stage:
        sample = timed_queries(asked, p.timed, setup.seed)
        check_ends(bench, asked, sample[:ENDS], report)
        taken = time_steps(bench, asked, sample, p.rounds, stage)
        thresholds = {
            name: {aim: of.threshold for aim, of in aims.items()} for name, aims in chosen.items()
        }
        report_latency(asked, sample, taken, thresholds, report)
    return verdict(chosen)


def timed_queries(asked: Asked, number: int, seed: int) -> Tensor:
    """Return the queries to be timed, in random order.

    They are spread evenly over how sure the small model is, so that a threshold keeps the same
    share of them as of all queries.
    """
    order = asked.first[SMALL_TO_LARGE].confidence.argsort()
    spread = order[torch.arange(number, device=order.device) * len(order) // number]
    generator = torch.Generator().manual_seed(seed)
    return spread[torch.randperm(number, generator=generator).to(order.device)]


def choose(
    cascade: str, known: Asked, asked: Asked, bench: Bench, report: Report
) -> dict[str, Chosen]:
    """Report and return, by aim, what thresholds chosen on one text make of another."""
    before, case = (Case.of(cascade, of, bench) for of in (known, asked))
    report_alone(case, report)
    report_curves(case, report)
    curve, (cost, accuracy) = Thresholds.of(before.queries), before.mixing.large
    thresholds = {aim: curve.cheapest(accuracy + more / PERCENT) for aim, more in AIMS.items()}
    thresholds[SAME_COST] = curve.most_accurate(cost)
    return {aim: outcome(case, aim, threshold, report) for aim, threshold in thresholds.items()}


def outcome(case: Case, aim: str, threshold: float, report: Report) -> Chosen:
    """Report and return what a threshold makes of the queries."""
    queries, alone = case.queries, case.mixing.large[0]
    right, cost = queries.right(threshold), queries.costs(threshold).mean().item()
    accuracy = right.double().mean().item()
    _, error = paired(right, queries.last, case.windows)
    # In whole answers, so that as many right ones are no difference at all.
    gain = (right.sum() - queries.last.sum()).item() / len(right)
    found = Chosen(
        threshold,
        gain=PERCENT * gain,
        error=PERCENT * error,
        saved=PERCENT * (1 - cost / alone),
        over_mixing=PERCENT * (accuracy - case.mixing.accuracy(cost)),
    )
    for metric, value in (
        ("accuracy", PERCENT * accuracy),
        ("accuracy gain", found.gain),
        ("standard error", found.error),
        ("gain over mixing", found.over_mixing),
        ("kept", PERCENT * queries.kept(threshold).double().mean().item()),
        ("operations", cost / GIGA),
        ("operations saved", found.saved),
    ):
        report.measure(metric, case.cascade, value, aim=aim)
        if aim == AS_ACCURATE:
            report.measure(metric, case.cascade, value)
    return found


def report_curves(case: Case, report: Report) -> None:
    """Report accuracy by cost for the cascade and for random mixing of its two models."""
    curve, alone = Thresholds.of(case.queries), case.mixing.large[0]
    number = len(curve.cost)
    for row in torch.linspace(0, number - 1, min(DRAWN, number)).long().tolist():
        cost, accuracy = curve.cost[row].item(), curve.accuracy[row].item()
        x, over = PERCENT * (1 - cost / alone), accuracy - case.mixing.accuracy(cost)
        report.point("accuracy by operations saved", case.cascade, x, PERCENT * accuracy)
        report.point("gain over mixing by operations saved", case.cascade, x, PERCENT * over)
    for cost, accuracy in (case.mixing.small, case.mixing.large):
        x, y = PERCENT * (1 - cost / alone), PERCENT * accuracy
        report.point("accuracy by operations saved", RANDOM, x, y, cascade=case.cascade)


def report_alone(case: Case, report: Report) -> None:
    """Report accuracy and operations of each model by itself, and of a perfect choice."""
    ends = {FIRST_STEPS[case.cascade]: case.mixing.small}
    if case.cascade == SMALL_TO_LARGE:
        ends[LARGE] = case.mixing.large
    for variant, (cost, accuracy) in ends.items():
        report.measure("accuracy", variant, PERCENT * accuracy)
        report.measure("operations", variant, cost / GIGA)
    accuracy, cost = case.queries.perfect()
    report.measure("accuracy", PERFECT, PERCENT * accuracy, cascade=case.cascade)
    report.measure("operations", PERFECT, cost / GIGA, cascade=case.cascade)


def verdict(chosen: dict[str, dict[str, Chosen]]) -> str:
    """Return a few sentences made of the run's own numbers."""
    ours, early = (chosen[name][AS_ACCURATE] for name in (SMALL_TO_LARGE, EARLY_EXIT))
    best = chosen[SMALL_TO_LARGE][SAME_COST]
    return (
        f"With thresholds chosen on other text to be as accurate as the large model, a small model"
        f" before it saves {ours.saved:.1f} % of the operations at {ours.gain:+.2f} points of"
        f" accuracy, {_beside_mixing(ours)}; an early exit saves {early.saved:.1f} % at"
        f" {early.gain:+.2f} points, {_beside_mixing(early)}. The most accurate threshold gains"
        f" {best.gain:+.2f} points (standard error {best.error:.2f}) over the large model."
    )


def _beside_mixing(found: Chosen) -> str:
    if found.over_mixing >= 0.05:
        return f"{found.over_mixing:.1f} points above mixing both at random for as much"
    return "which is not above mixing both at random for as much"


def _corpus(p: CascadeParameters, setup: Setup) -> text.Corpus:
    if setup.text or not p.docstrings:
        return text.corpus(setup.text)
    name = "Python reference (pydoc_data.topics) and docstrings of NumPy and pandas"
    return text.split(name, text.python_reference() + text.docstrings(DOCUMENTED))


def _texts(
    corpus: text.Corpus, pretrained: files.Pretrained, p: CascadeParameters, setup: Setup
) -> Texts:
    """Return the windows; thresholds are chosen on each fourth of the documents to train on."""
    training = [d for number, d in enumerate(corpus.calibration) if number % 4]
    parts = (
        text.windows(documents, pretrained.tokenizer, p.window).to(setup.device)
        for documents in (training, corpus.calibration[::4], corpus.evaluation)
    )
    found = Texts(*parts)
    return Texts(
        found.training,
        text.spaced(found.thresholds, p.threshold_windows),
        text.spaced(found.evaluation, p.evaluation_windows),
    )


def _trained(
    windows: Tensor, large: LanguageModel, p: CascadeParameters, setup: Setup, stage: Stage
) -> tuple[Small, float]:
    """Return the small model and its training loss over the last steps."""
    losses: list[float] = []

    def observe(step: int, loss: float) -> None:
        stage.at(0.9 * step / p.steps, f"step {step} of {p.steps}")
        losses.append(loss)

    generator = torch.Generator().manual_seed(setup.seed)
    shape = large.config.vocabulary, p.width, p.layers
    small = train_small(windows, shape, p.steps, generator, observe)
    latest = losses[-LAST_STEPS:]
    return small, sum(latest) / len(latest)
