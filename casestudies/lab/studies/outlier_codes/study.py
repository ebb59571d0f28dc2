"""Rounds a model's weights and activations to 4 bits and measures error, bytes and loss."""

import math

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.models import files
from casestudies.lab.report import Report
from casestudies.lab.studies.outlier_codes import tails
from casestudies.lab.studies.outlier_codes.about import (
    BOTH,
    BY_LAYER,
    BY_TOKEN,
    CLIPPED,
    CURVE,
    EIGHT_BITS,
    INT4_CLIPPED,
    INT4_NEAREST,
    OLIVE,
    OTHERS,
    VICTIMS,
    WEIGHTS,
    OutlierCodesParameters,
)
from casestudies.lab.studies.outlier_codes.bench import (
    Bench,
    FourBits,
    RoundedWeights,
    check_order,
    in_int8,
)
from casestudies.lab.studies.outlier_codes.packed import ROUNDINGS, check, pack

TIMES = (1, 2, 3, 5, 8, 12)  # how much larger outliers are drawn than other numbers
DYNAMIC = (INT4_NEAREST, OLIVE)  # measured with one scale a token, too

Ratios = dict[str, float]  # of perplexity, by variant


@torch.no_grad()
def run(parameters: OutlierCodesParameters, setup: Setup, report: Report) -> str:
    """Measure all of it; return the verdict.

    Raises FileNotFoundError or UnsupportedModel if there is no model, ValueError if the text is too
    short, and BrokenPromise if a matrix is not in its bytes as the code promises.
    """
    p = parameters
    report.precision = "4-bit and 8-bit numbers, multiplied in float32"
    with report.stage("rounding drawn numbers", 0.05):
        round_drawn(setup, report)
    with report.stage("reading the model and the text", 0.1):
        bench = read_model(p, setup, report)
        dense = bench.losses()
        report.measure("perplexity", "float32", math.exp(dense.mean()))
    with report.stage("rounding weights", 0.35):
        rounded = {name: bench.rounded(way, p.group) for name, way in ROUNDINGS.items()}
        check_order(rounded)
        weights = measure_weights(bench, rounded, dense, report)
    with report.stage("rounding activations, too", 0.35):
        both = measure_both(bench, rounded, dense, report)
    with report.stage("outliers clipped or victims zero", 0.15):
        unrounded = {}
        for how in (CLIPPED, VICTIMS, OTHERS):
            increase = tails.losses_changed(bench, how, setup.seed) - dense
            report.measure("loss increase, not rounded", how, increase.tolist())
            unrounded[how] = math.exp(increase.mean())
    return verdict(weights, both, unrounded)


def round_drawn(setup: Setup, report: Report) -> None:
    """Report the errors of normal numbers with outliers of several sizes, one scale a row."""
    for times in TIMES:
        x = tails.drawn(times, torch.Generator().manual_seed(setup.seed)).to(setup.device)
        for name, rounding in ROUNDINGS.items():
            packed = pack(x, rounding, 0)
            check(x, packed, rounding)
            error = (packed.weights() - x).square().sum() / x.square().sum()
            report.point(CURVE, name, times, 100 * error.item())


def read_model(p: OutlierCodesParameters, setup: Setup, report: Report) -> Bench:
    """Return the bundled model, or the reader's, with its texts."""
    corpus = text.corpus(setup.text)
    report.source("text", corpus.name, corpus.sha256)
    found = files.load(setup.model, setup.device, setup.shared)
    report.source("model", found.name, found.sha256)
    calibration, evaluation = (
        text.windows(documents, found.tokenizer, p.window)
        for documents in (corpus.calibration, corpus.evaluation)
    )
    return Bench(
        found.model,
        text.sample(calibration, p.calibration_windows, setup.seed).to(setup.device),
        text.spaced(evaluation, p.evaluation_windows).to(setup.device),
        p.blocks,
    )


def measure_weights(
    bench: Bench, rounded: dict[str, RoundedWeights], dense: Tensor, report: Report
) -> Ratios:
    """Report bytes, errors and losses of the model with only its weights rounded."""
    ratios = {}
    for name, found in rounded.items():
        increase = bench.losses(found.weights) - dense
        ratios[name] = math.exp(increase.mean())
        error = 100 * sum(found.errors.values()) / bench.energy
        victims = 100 * found.victims / bench.numbers
        report.measure("bits per weight", name, 8 * found.stored_bytes / bench.numbers)
        report.measure("rounding error", name, error, part=WEIGHTS)
        report.measure("victims", name, victims, part=WEIGHTS)
        report.measure("perplexity ratio", name, ratios[name], part=WEIGHTS)
        report.measure("loss increase", name, increase.tolist(), part=WEIGHTS)
    return ratios


def measure_both(
    bench: Bench, rounded: dict[str, RoundedWeights], dense: Tensor, report: Report
) -> Ratios:
    """Report what is left with activations rounded, too, in 4 bits and in 8.

    Return the ratios with one scale a layer, which are measured without settings.
    """
    ratios = {}
    ways = [(name, BY_LAYER) for name in ROUNDINGS] + [(name, BY_TOKEN) for name in DYNAMIC]
    for name, scale in ways:
        steps = bench.calibrated(ROUNDINGS[name]) if scale == BY_LAYER else None
        read = FourBits(ROUNDINGS[name], steps)
        increase = bench.losses(rounded[name].weights, read) - dense
        ratio = math.exp(increase.mean())
        settings = {} if scale == BY_LAYER else {"part": BOTH, "scale": scale}
        report.measure("perplexity ratio", name, ratio, **settings)
        report.measure("loss increase", name, increase.tolist(), **settings)
        report.measure_share("rounding error", name, read.error / read.energy, **settings)
        report.measure_share("victims", name, read.victims / read.numbers, **settings)
        if scale == BY_LAYER:
            ratios[name] = ratio
    eight = {name: in_int8(weight) for name, weight in bench.weights.items()}
    increase = bench.losses(eight, lambda linear, x: in_int8(x)) - dense
    settings = {"part": BOTH, "scale": BY_TOKEN}
    report.measure("perplexity ratio", EIGHT_BITS, math.exp(increase.mean()), **settings)
    report.measure("loss increase", EIGHT_BITS, increase.tolist(), **settings)
    return ratios


def verdict(weights: Ratios, both: Ratios, unrounded: Ratios) -> str:
    """Return a few sentences made of the run's own numbers."""
    only, all_of_it = (
        f"{_times(found[OLIVE])} x with OliVe, {_times(found[INT4_NEAREST])} x with int4 and"
        f" {_times(found[INT4_CLIPPED])} x with int4 clipped"
        for found in (weights, both)
    )
    return (
        f"Weights and activations in 4 bits make perplexity {all_of_it}. Weights alone make it"
        f" {only}. Unrounded, zeros for victims make it {_times(unrounded[VICTIMS])} x, outliers"
        f" clipped {_times(unrounded[CLIPPED])} x."
    )


def _times(ratio: float) -> str:
    return f"{ratio:,.0f}" if ratio >= 100 else f"{ratio:.3g}"
