"""Rounds two models' weights and activations to 4 bits and measures quality, bytes and speed."""

import math
import statistics
from dataclasses import dataclass

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.models import files
from casestudies.lab.report import Report, Stage
from casestudies.lab.serving import small_model
from casestudies.lab.studies.outlier_codes import activations, tails
from casestudies.lab.studies.outlier_codes.about import (
    BOTH,
    BY_LAYER,
    BY_TOKEN,
    CLIPPED,
    CURVE,
    EIGHT_BITS,
    GPTQ,
    INT4_CLIPPED,
    INT4_NEAREST,
    OLIVE,
    OLIVE_FLINT,
    OTHERS,
    PRETRAINED,
    TRAINED,
    VICTIMS,
    WEIGHTS,
    OutlierCodesParameters,
    groups_of,
)
from casestudies.lab.studies.outlier_codes.activations import FourBits
from casestudies.lab.studies.outlier_codes.models import Bench, RoundedWeights, check_order
from casestudies.lab.studies.outlier_codes.packed import ROUNDINGS
from casestudies.lab.studies.outlier_codes.speed import TOKENS, speeds

GROUPS = (0, 128, 32)  # of the trained model, beside the reader's
DYNAMIC = (INT4_NEAREST, OLIVE)  # measured with one scale a token, too


@dataclass(frozen=True)
class Plan:
    """The model, its ways of ROUNDINGS, and the groups that its weights are rounded in."""

    model: str
    names: list[str]
    groups: list[int]


@dataclass(frozen=True)
class Outcome:
    """What a run found of one model: ratios of perplexity by way, and errors of weights."""

    dense: float
    weights: dict[str, float]
    both: dict[str, float]
    errors: dict[str, float]  # %


@torch.no_grad()
def run(parameters: OutlierCodesParameters, setup: Setup, report: Report) -> str:
    """Measure all of it; return the verdict.

    Raises FileNotFoundError or UnsupportedModel if there is no model, ValueError if the text is too
    short, and BrokenPromise if a matrix is not in its bytes as the code promises.
    """
    p = parameters
    report.precision = "4-bit and 8-bit numbers, multiplied in float32; timed products in bfloat16"
    with report.stage("reading the model and the text", 0.1):
        corpus = text.corpus(setup.text)
        report.source("text", corpus.name, corpus.sha256)
        found = files.load(setup.model, setup.device, setup.shared)
        report.source("model", found.name, found.sha256)
        parts = (corpus.calibration, corpus.evaluation)
        calibration, evaluation = (
            text.windows(documents, found.tokenizer, p.window).to(setup.device)
            for documents in parts
        )
        pretrained = Bench(
            found.model,
            text.sample(calibration, p.calibration_windows, setup.seed),
            text.spaced(evaluation, p.evaluation_windows),
            p.blocks,
        )
    with report.stage("training a small model", 0.1), torch.enable_grad():
        trained = small_bench(corpus, p, setup)
    with report.stage("rounding the trained model", 0.1) as stage:
        groups = list(dict.fromkeys([p.group, *GROUPS]))
        small = round_model(Plan(TRAINED, list(ROUNDINGS), groups), trained, report, stage)
    names = [name for name in ROUNDINGS if p.flint4 or name != OLIVE_FLINT]
    with report.stage("rounding the pretrained model", 0.55) as stage:
        large = round_model(Plan(PRETRAINED, names, [p.group]), pretrained, report, stage)
    with report.stage("outliers clipped or victims pruned", 0.1):
        pruned = prune(pretrained, large.dense, setup.seed, report)
    with report.stage("timing products", 0.05):
        pretrained.put()
        generator = torch.Generator().manual_seed(setup.seed)
        times = {}
        for tokens in TOKENS:
            of_layers = speeds(list(pretrained.weights.values()), tokens, p.rounds, generator)
            for variant, ratios in of_layers.items():
                report.measure("product speed", variant, ratios, tokens=tokens)
            times[tokens] = statistics.median(of_layers[OLIVE])
    return verdict(large, small, pruned, times)


def small_bench(corpus: text.Corpus, p: OutlierCodesParameters, setup: Setup) -> Bench:
    """Return a model trained in the run. Raises ValueError if the text is too short."""
    size = small_model.Size(p.width, p.layers, p.steps)
    made = small_model.trained(corpus, size, setup.seed, setup.device)
    calibration, evaluation = (
        text.windows(documents, made.tokenizer, small_model.TRAINED_WINDOW).to(setup.device)
        for documents in (corpus.calibration, corpus.evaluation)
    )
    return Bench(
        made.model,
        text.sample(calibration, p.trained_windows, setup.seed),
        text.spaced(evaluation, p.trained_windows),
        0,
    )


def round_model(plan: Plan, bench: Bench, report: Report, stage: Stage) -> Outcome:
    """Report weights in groups of each size, and with the first size activations, too."""
    dense = bench.perplexity()
    report.measure("perplexity", "float32", dense, model=plan.model)
    outcomes: list[Outcome] = []
    for done, group in enumerate(plan.groups):
        stage.at(done / len(plan.groups), f"weights in {groups_of(group)}")
        found = {name: bench.rounded(name, group) for name in plan.names}
        check_order(found)
        if not outcomes:
            found[EIGHT_BITS] = bench.in_int8()
        if plan.model == TRAINED:
            # The pretrained model's weights were on a grid of 4 bits before.
            found[GPTQ] = bench.by_gptq(group)
        ratios = {}
        for name, rounded in found.items():
            ratios[name] = bench.perplexity(rounded.weights) / dense
            settings = {"model": plan.model, "part": WEIGHTS, "group": groups_of(group)}
            report.measure("perplexity ratio", name, ratios[name], **settings)
            report.measure("bits per weight", name, rounded.bits, **settings)
            report.measure("rounding error", name, bench.percent(rounded), **settings)
            report.measure("victims", name, 100 * rounded.victims, **settings)
            if name != EIGHT_BITS:
                report.point(CURVE, name, rounded.bits, bench.percent(rounded), model=plan.model)
        if not outcomes:
            stage.at(0.5, "weights and activations")
            both = round_both(plan, bench, found, dense, report)
            errors = {name: bench.percent(rounded) for name, rounded in found.items()}
            outcomes.append(Outcome(dense, ratios, both, errors))
    return outcomes[0]


def round_both(
    plan: Plan,
    bench: Bench,
    found: dict[str, RoundedWeights],
    dense: float,
    report: Report,
) -> dict[str, float]:
    """Report what is left with weights and activations in 4 bits, and in 8; return the ratios.

    They are those with one scale a layer. Of the pretrained model they are measured without
    settings.
    """
    steps, ratios = activations.calibrated(bench, plan.names), {}
    ways = [(name, BY_LAYER) for name in plan.names] + [(name, BY_TOKEN) for name in DYNAMIC]
    for name, scale in ways:
        read = FourBits(ROUNDINGS[name], steps[name] if scale == BY_LAYER else None)
        ratio = activations.perplexity_reading(bench, read, found[name].weights) / dense
        settings = {"model": plan.model, "part": BOTH, "scale": scale}
        own = {} if (plan.model, scale) == (PRETRAINED, BY_LAYER) else settings
        report.measure("perplexity ratio", name, ratio, **own)
        report.measure("loss increase", name, math.log(ratio), **own)
        report.measure("rounding error", name, 100 * read.error / read.energy, **own)
        report.measure("victims", name, 100 * read.victims / read.numbers, **own)
        if name in (OLIVE, OLIVE_FLINT):
            shifted = 100 * activations.shifted(bench, read, found[name])
            report.measure("products with a shift", name, shifted, **own)
        if scale == BY_LAYER:
            ratios[name] = ratio
    eight = activations.perplexity_reading(bench, activations.in_int8, found[EIGHT_BITS].weights)
    settings = {"model": plan.model, "part": BOTH, "scale": BY_TOKEN}
    report.measure("perplexity ratio", EIGHT_BITS, eight / dense, **settings)
    report.measure("loss increase", EIGHT_BITS, math.log(eight / dense), **settings)
    return ratios


def prune(bench: Bench, dense: float, seed: int, report: Report) -> dict[str, float]:
    """Report and return the ratios of the model with outliers clipped, or others made zero."""
    ratios = {}
    for how in (CLIPPED, VICTIMS, OTHERS):
        ratios[how] = tails.perplexity_changed(bench, how, seed) / dense
        report.measure("loss increase, not rounded", how, math.log(ratios[how]))
    return ratios


def verdict(
    large: Outcome, small: Outcome, pruned: dict[str, float], times: dict[int, float]
) -> str:
    """Return a few sentences made of the run's own numbers."""
    order = (OLIVE, INT4_NEAREST, INT4_CLIPPED)
    errors, weights, both = (
        [found[name] for name in order] for found in (large.errors, large.weights, large.both)
    )
    perplexities, with_activations = (
        f"{_times(row[0])}, {_times(row[1])} and {_times(row[2])}" for row in (weights, both)
    )
    return (
        f"In the same bits OliVe's pairs, int4 and int4 clipped leave {errors[0]:.2f},"
        f" {errors[1]:.2f} and {errors[2]:.2f} % of the pretrained model's weights squared as"
        f" error; perplexity is {perplexities} x that in float32 and, with activations in 4 bits,"
        f" too, {with_activations} x. Of the trained model, whose tails are light, it is"
        f" {_times(small.weights[OLIVE])} x with OliVe's weights and"
        f" {_times(small.weights[GPTQ])} x with GPTQ's. Unrounded, zeros for victims make it"
        f" {_times(pruned[VICTIMS])} x, outliers clipped {_times(pruned[CLIPPED])} x. Without its"
        f" circuit, decoding by a table, one token's products run at {times[1]:.2f} x float32."
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
