"""Rounds weights and activations of two models and measures quality, bytes and speed."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.kernels import attempting, why_not
from casestudies.lab.models import files
from casestudies.lab.models.attention import Attention
from casestudies.lab.quantize.quantized import Format, rounded
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.quantization import gpu_kernels, models, sizes
from casestudies.lab.studies.quantization.about import CURVES, QuantizationParameters, groups_of
from casestudies.lab.studies.quantization.activations import round_activations
from casestudies.lab.studies.quantization.claims import BOTH, FLEXGEN, PRETRAINED, TRAINED
from casestudies.lab.studies.quantization.methods import FITTED, NF4, methods
from casestudies.lab.studies.quantization.models import Bench, RoundedModel
from casestudies.lab.studies.quantization.on_gpu import block_speed
from casestudies.lab.studies.quantization.on_gpu.decoding import report_decoding
from casestudies.lab.studies.quantization.on_gpu.hours import report_hours
from casestudies.lab.studies.quantization.on_gpu.reordering import report_reordering
from casestudies.lab.studies.quantization.speed import TOKENS, speeds

METHODS = ("rounded", "gptq", "awq")
BITS = (8, 4, 3)
OF_64 = Format(4, 64)
MB = 1e6
COMPUTED_LAYERS = 14  # two blocks of the bundled model


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
        time_kernels(p, setup, report)
        report_reordering(p, setup, report)
        report_decoding(p, setup, report)
        report_hours(p, setup, report)
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
    """Yield the reader's own trials, then those of other bits and groups, and of both models.

    In 8 bits, which lose next to nothing, weights are rounded to the nearest value alone, and those
    of the pretrained model by all methods only in as few bits as the reader asks for.
    """
    p = parameters
    for method in METHODS:
        yield RoundingTrial(TRAINED, method, int(p.bits), p.group)
    yield RoundingTrial(TRAINED, "nf4", NF4.bits, NF4.group)
    own = int(p.bits), p.group
    forms = {(bits, group) for bits in BITS for group in (p.group, 0)} | {(NF4.bits, NF4.group)}
    for bits, group in sorted(forms - {own}, reverse=True):
        # Groups as small as NF4's are for rounding alone, to be held beside it.
        fitted = bits < BITS[0] and group in (p.group, 0)
        for method in METHODS if fitted else METHODS[:1]:
            yield RoundingTrial(TRAINED, method, bits, group)
    for group in sorted({p.group, 0}):
        yield RoundingTrial(PRETRAINED, "rounded", 8, group)
    for bits in BITS[1:]:
        if bits >= int(p.pretrained_bits):
            for method in METHODS:
                yield RoundingTrial(PRETRAINED, method, bits, p.group)


def round_weights(
    benches: dict[str, Bench],
    dense: dict[str, float],
    parameters: QuantizationParameters,
    report: Report,
    stage: Stage,
) -> dict[RoundingTrial, RoundedModel]:
    """Carry out and report all trials; the reader's own, and NF4's, have no settings."""
    p, trials, outcomes = parameters, list(plan(parameters)), {}
    writers = methods(p.damping)
    for done, trial in enumerate(trials):
        stage.at(done / len(trials), f"{trial.model}, {trial.method}, {trial.bits} bits")
        form = Format(trial.bits, trial.group)
        outcome = benches[trial.model].rounded(writers[trial.method], form, trial.method in FITTED)
        outcomes[trial] = outcome
        own = trial == RoundingTrial(TRAINED, trial.method, int(p.bits), p.group)
        named = {} if own or trial.method == "nf4" else trial.settings
        ratio = outcome.perplexity / dense[trial.model]
        report.measure("perplexity", trial.method, outcome.perplexity, **named)
        report.measure("perplexity ratio", trial.method, ratio, **named)
        report.measure("bits per weight", trial.method, outcome.bits, **named)
        if not named:
            report.measure("reconstruction error", trial.method, outcome.error)
            report.measure("compression time", trial.method, outcome.cost.seconds)
        draw(trial, outcome.bits, ratio, report)
    return outcomes


def draw(trial: RoundingTrial, bits: float, ratio: float, report: Report) -> None:
    """Add a point to the figure: of the trained model, and of the pretrained one in 8 bits."""
    group = groups_of(trial.group)
    if trial.model == TRAINED:
        report.point(CURVES[TRAINED], trial.method, bits, ratio, group=group)
        return
    if trial.bits == 8:
        report.point(CURVES[TRAINED], trial.method, bits, ratio, model=PRETRAINED, group=group)
    if trial.group:
        report.point(CURVES[PRETRAINED], trial.method, bits, ratio, group=group)


def flexgen(bench: Bench, sixteen: float, report: Report) -> None:
    """Report what 4 bits in groups of 64 leave where keys and values are rounded, too."""
    outcome = bench.rounded(methods(0.0)["rounded"], OF_64, fitted=False)
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
    weights = list(bench.weights.values())
    for tokens in TOKENS:
        # One token reads every weight; many compute more than they read, which fewer layers show.
        timed = weights if tokens == 1 else weights[:COMPUTED_LAYERS]
        found = speeds(timed, tokens, parameters.rounds, generator)
        for variant, ratios in found.items():
            report.measure("product speed", variant, ratios, tokens=tokens)
            medians[variant, tokens] = statistics.median(ratios)
    return medians


def time_kernels(parameters: QuantizationParameters, setup: Setup, report: Report) -> None:
    """Report what packed weights and int8 gain at published shapes on a GPU; say why not elsewhere.

    A run that rounds only some blocks multiplies small layers, which no rule speaks of.
    """
    if reason := why_not(setup.device):
        report.log(f"No product of published shapes was timed in the lab’s kernels: {reason}")
        return
    shapes = gpu_kernels.SMALL if parameters.blocks else gpu_kernels.LAYERS  # pragma: no cover
    for model, layers in shapes.items():  # pragma: no cover - needs a GPU
        for variant, form in gpu_kernels.FORMS.items():
            for tokens in gpu_kernels.TOKENS:
                with attempting(f"{variant}, {model}, {tokens} tokens", report.log):
                    found = gpu_kernels.timed(layers, form, tokens, setup.device, parameters.rounds)
                    report_kernel(report, variant, found, model=model, tokens=tokens)
    cases = block_speed.SMALL if parameters.blocks else block_speed.CASES  # pragma: no cover
    block_speed.measure(cases, parameters.rounds, setup.device, report)  # pragma: no cover


def report_kernel(report: Report, variant: str, found: gpu_kernels.Timed, **settings: Any) -> None:
    """Report that the products are right, then what they gain; of wrong ones nothing more."""
    report.measure("equality error", variant, found.apart, **settings)
    if not found.speeds:
        named = ", ".join(map(str, (variant, *settings.values())))
        report.log(f"{named}: not the product of the unpacked weights, so not timed")
        return
    report.measure("kernel speed", variant, list(found.speeds), **settings)
    report.measure_share("share of copying", variant, found.of_copying, **settings)


def verdict(
    parameters: QuantizationParameters,
    dense: dict[str, float],
    outcomes: dict[RoundingTrial, RoundedModel],
    activations: dict[str, float],
    products: dict[tuple[str, int], float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    p = parameters
    nearest, ours, scaled = (
        outcomes[RoundingTrial(TRAINED, method, int(p.bits), p.group)].perplexity
        for method in METHODS
    )
    own = RoundingTrial(TRAINED, "gptq", int(p.bits), p.group)
    one_token = products.get(("int8 kernel", 1))
    fast = f" One token's products with int8 weights run at {one_token:.2f} x float32."
    return (
        f"At {outcomes[own].bits:.2f} bits a weight GPTQ takes the trained model's perplexity from"
        f" {dense[TRAINED]:.4g} to {ours:.4g}, AWQ to {scaled:.4g} and rounding to {nearest:.4g}."
        f"{fast if one_token else ''} With activations in 8 bits, too, PyTorch's quantize_dynamic"
        f" makes the pretrained model's perplexity {activations['quantize_dynamic']:.2f} x that in"
        f" 16 bits, one scale a token {activations['W8A8 per token']:.2f} x."
    )
