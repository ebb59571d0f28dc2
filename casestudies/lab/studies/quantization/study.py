"""Rounds weights and activations of two models and measures quality, bytes and speed."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.models import files
from casestudies.lab.models.attention import Attention
from casestudies.lab.quantize.quantized import Format, rounded
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.quantization import activations, models, sizes
from casestudies.lab.studies.quantization.about import CURVES, QuantizationParameters, groups_of
from casestudies.lab.studies.quantization.claims import BOTH, FLEXGEN, PRETRAINED, TRAINED
from casestudies.lab.studies.quantization.models import Bench, RoundedModel
from casestudies.lab.studies.quantization.speed import TOKENS, speeds

METHODS = ("rounded", "gptq")
BITS = (8, 4, 3)
OF_64 = Format(4, 64)
MB = 1e6

Scales = dict[nn.Linear, Tensor]


@dataclass(frozen=True)
class RoundingTrial:
    """One way to round the weights of one of the models; a group of 0 is a whole row."""

    model: str
    method: str
    bits: int
    group: int

    @property
    def settings(self) -> dict[str, Any]:
        return {"model": self.model, "bits": self.bits, "group": groups_of(self.group)}


def run(parameters: QuantizationParameters, setup: Setup, report: Report) -> str:
    """Measure all of it; return the verdict.

    Raises FileNotFoundError or UnsupportedModel if there is no model, and ValueError if the text is
    too short.
    """
    p = parameters
    report.precision = "float32; products also in bfloat16, int8 and int4"
    with report.stage("reading the model and the text", 0.1):
        found = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", found.name, found.sha256)
        report.source("text", corpus.name, corpus.sha256)
        benches = {PRETRAINED: models.pretrained(found, corpus, p, setup)}
    with report.stage("training a small model", 0.25) as stage:
        benches[TRAINED] = models.trained(corpus, p, setup, stage)
    with report.stage("rounding weights", 0.35) as stage:
        dense, sixteen = unrounded(benches, report)
        outcomes = round_weights(benches, dense, p, report, stage)
        flexgen(benches[TRAINED], sixteen[TRAINED], report)
    with report.stage("rounding activations", 0.2) as stage:
        ratios = round_activations(benches[PRETRAINED], sixteen[PRETRAINED], p, report, stage)
    with report.stage("counting and timing", 0.1):
        count(benches[PRETRAINED], p, report)
        product_speeds = time_products(benches[PRETRAINED], p, setup, report)
    return verdict(p, dense, outcomes, ratios, product_speeds)


def unrounded(
    benches: dict[str, Bench], report: Report
) -> tuple[dict[str, float], dict[str, float]]:
    """Report and return the perplexities of the models as they are, and in 16 bits."""
    dense, sixteen = {}, {}
    for name, bench in benches.items():
        dense[name] = bench.perplexity()
        sixteen[name] = bench.perplexity_in_bfloat16()
        report.measure("perplexity", "float32", dense[name], model=name)
        report.measure("perplexity", "bfloat16", sixteen[name], model=name)
    return dense, sixteen


def plan(parameters: QuantizationParameters) -> Iterator[RoundingTrial]:
    """Yield the reader's own trials, then those of other bits, groups and the bundled model."""
    p = parameters
    for method in METHODS:
        yield RoundingTrial(TRAINED, method, int(p.bits), p.group)
        for bits in BITS:
            if bits != int(p.bits):
                yield RoundingTrial(TRAINED, method, bits, p.group)
            if p.group:
                yield RoundingTrial(TRAINED, method, bits, 0)
            yield RoundingTrial(PRETRAINED, method, bits, p.group)
    if p.group:
        yield RoundingTrial(PRETRAINED, "rounded", 8, 0)


def round_weights(
    benches: dict[str, Bench],
    dense: dict[str, float],
    parameters: QuantizationParameters,
    report: Report,
    stage: Stage,
) -> dict[RoundingTrial, RoundedModel]:
    """Carry out and report all trials; the reader's own have no settings."""
    p, trials, outcomes = parameters, list(plan(parameters)), {}
    for done, trial in enumerate(trials):
        stage.at(done / len(trials), f"{trial.model}, {trial.method}, {trial.bits} bits")
        outcome = benches[trial.model].rounded(trial.method, trial.bits, trial.group, p.damping)
        outcomes[trial] = outcome
        own = trial == RoundingTrial(TRAINED, trial.method, int(p.bits), p.group)
        named = {} if own else trial.settings
        ratio = outcome.perplexity / dense[trial.model]
        report.measure("perplexity", trial.method, outcome.perplexity, **named)
        report.measure("perplexity ratio", trial.method, ratio, **named)
        report.measure("bits per weight", trial.method, outcome.bits, **named)
        if own:
            report.measure("reconstruction error", trial.method, outcome.error)
            report.measure("compression time", trial.method, outcome.cost.seconds)
        if trial.group == p.group or trial.model == TRAINED:
            group = groups_of(trial.group)
            report.point(CURVES[trial.model], trial.method, outcome.bits, ratio, group=group)
    return outcomes


def flexgen(bench: Bench, sixteen: float, report: Report) -> None:
    """Report what 4 bits in groups of 64 leave where keys and values are rounded, too."""
    outcome = bench.rounded("rounded", OF_64.bits, OF_64.group, 0.0)
    blocks = bench.rounded_blocks()
    before = [block.attention for block in blocks]
    for block in blocks:
        block.attention = with_rounded_cache(block.attention)
    found = bench.perplexity()
    for block, attention in zip(blocks, before, strict=True):
        block.attention = attention
    report.measure("perplexity over 16 bits", FLEXGEN, found / sixteen)
    report.measure("bits per weight", FLEXGEN, outcome.bits)


def with_rounded_cache(attention: Attention) -> Attention:
    """Return attention whose keys and values are rounded as FlexGen stores them.

    Sheng et al., 2023, "FlexGen": 4 bits, a least and a greatest value for each 64 neighbouring
    numbers of a token's.
    """

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attention(query, _rounded_tokens(key), _rounded_tokens(value))

    return attend


def _rounded_tokens(x: Tensor) -> Tensor:
    tokens = x.transpose(1, 2)  # B, T, K, D
    found = rounded(tokens.flatten(2).flatten(0, 1), OF_64).weights()
    return found.view_as(tokens).transpose(1, 2)


def round_activations(
    bench: Bench,
    sixteen: float,
    parameters: QuantizationParameters,
    report: Report,
    stage: Stage,
) -> dict[str, float]:
    """Report and return perplexity over that in 16 bits with 8-bit weights and activations."""
    p = parameters
    apart = activations.OutliersApart(p.threshold)
    bench.restore()
    scales = smoothing_scales(bench, p.smoothing)
    per_tensor, per_token = activations.per_tensor, activations.per_token
    ways: dict[str, tuple[Scales, activations.Reading]] = {
        "W8A8 per tensor": ({}, per_tensor),
        "W8A8 per token": ({}, per_token),
        "LLM.int8()": ({}, apart),
        "SmoothQuant": (scales, activations.smoothed(scales, per_tensor)),
        "SmoothQuant per token": (scales, activations.smoothed(scales, per_token)),
    }
    ratios = {}
    for done, (variant, (of_weights, reading)) in enumerate(ways.items()):
        stage.at(done / len(ways), variant)
        found = perplexity_in_8_bits(bench, of_weights, reading)
        ratios[variant] = found / sixteen
        report.measure("perplexity", variant, found)
        report.measure("perplexity over 16 bits", variant, ratios[variant])
    report.measure("products in 8 bits", "LLM.int8()", 100 * apart.share)
    bench.restore()
    return ratios


def perplexity_in_8_bits(bench: Bench, scales: Scales, reading: activations.Reading) -> float:
    """Return that with weights in 8 bits, times s where there is one, and inputs as `reading`."""
    bench.restore()
    for linear in bench.linears.values():
        weight = linear.weight * scales[linear] if linear in scales else linear.weight
        linear.weight.copy_(activations.rounded_rows(weight))
    with activations.reading(bench.linears.values(), reading):
        return bench.perplexity()


def smoothing_scales(bench: Bench, strength: float) -> Scales:
    """Return SmoothQuant's s of each layer, fitted to the calibration text."""
    largest: dict[nn.Linear, Tensor] = {}

    def look(linear: nn.Linear, x: Tensor) -> Tensor:
        found = x.abs().flatten(0, -2).amax(0)
        largest[linear] = torch.maximum(found, largest.get(linear, found))
        return x

    with activations.reading(bench.linears.values(), look), torch.inference_mode():
        for window in bench.calibration:
            bench.model.hidden(window[None])
    scales: Scales = {}
    for layers in bench.sharing_inputs():
        weights = [linear.weight for linear in layers]
        s = activations.smoothing(largest[layers[0]], weights, strength)
        scales |= dict.fromkeys(layers, s)
    return scales


def count(bench: Bench, parameters: QuantizationParameters, report: Report) -> None:
    """Report bytes at published shapes, and those of the model's weights and activations."""
    for variant, model, part, size in sizes.counted():
        report.measure("stored size", variant, size / MB, model=model, part=part)
    # A window's inputs, once for layers that share them: one scale for all tokens.
    inputs = [layers[0].in_features for layers in bench.sharing_inputs()]
    numbers = parameters.window * sum(inputs)
    weights = sum(sizes.in_rows(8)(*weight.shape) for weight in bench.weights.values())
    elements = sum(weight.numel() for weight in bench.weights.values())
    both = {
        "bfloat16": sizes.BFLOAT16 * (elements + numbers),
        "SmoothQuant": weights + numbers + sizes.FLOAT32 * len(inputs),
    }
    for variant, size in both.items():
        report.measure("stored size", variant, size / MB, model=PRETRAINED, part=BOTH)


def time_products(
    bench: Bench, parameters: QuantizationParameters, setup: Setup, report: Report
) -> dict[tuple[str, int], float]:
    """Report each variant's speed; return the medians by variant and number of tokens."""
    generator = torch.Generator().manual_seed(setup.seed)
    medians = {}
    for tokens in TOKENS:
        found = speeds(list(bench.weights.values()), tokens, parameters.rounds, generator)
        for variant, ratios in found.items():
            report.measure("product speed", variant, ratios, tokens=tokens)
            medians[variant, tokens] = statistics.median(ratios)
    return medians


def verdict(
    parameters: QuantizationParameters,
    dense: dict[str, float],
    outcomes: dict[RoundingTrial, RoundedModel],
    activations: dict[str, float],
    products: dict[tuple[str, int], float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    p = parameters
    ours, nearest = (
        outcomes[RoundingTrial(TRAINED, method, int(p.bits), p.group)]
        for method in ("gptq", "rounded")
    )
    one_token = products.get(("int8 kernel", 1))
    fast = f", and one token's products with int8 weights run at {one_token:.2f} x float32"
    return (
        f"At {ours.bits:.2f} bits a weight GPTQ takes the trained model's perplexity from"
        f" {dense[TRAINED]:.4g} to {ours.perplexity:.4g}, rounding to {nearest.perplexity:.4g}"
        f"{fast if one_token else ''}. With activations in 8 bits, too, one scale for all tokens"
        f" makes the pretrained model's perplexity {activations['W8A8 per tensor']:.2f} x that in"
        f" 16 bits, one a token {activations['W8A8 per token']:.2f} x."
    )
