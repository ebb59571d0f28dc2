"""Adapts a model in several ways, and counts and times a training step at a real model's shape."""

from collections.abc import Mapping

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.lora import counting
from casestudies.lab.studies.lora.about import BLOCKS, LoraParameters
from casestudies.lab.studies.lora.adaptation import (
    Adapted,
    Comparison,
    Outcomes,
    Texts,
    base_model,
    texts,
)
from casestudies.lab.studies.lora.adapters import FirstCodeScale
from casestudies.lab.studies.lora.cost import StepBytes, step_times, trainings
from casestudies.lab.studies.lora.frozen import Nf4Linear
from casestudies.lab.studies.lora.methods import METHODS, QUERY_AND_VALUE, merge, trained
from casestudies.lab.train import loop

MIB = 2**20
RANK = 4  # of the counts and of the step
CHECKED = 4  # windows on which models are held against each other that should be the same
MERGED = [method for method in METHODS if method not in ("full", "last block")]


def run(parameters: LoraParameters, setup: Setup, report: Report) -> str:
    """Measure all methods; return the verdict. Raises ValueError if a text is too short."""
    report.precision = "float32"
    with report.stage("reading the texts", 0.1):
        found = read(parameters, setup, report)
    with report.stage("training on the old text", 0.2) as stage:
        base = base_model(
            found,
            parameters,
            setup,
            lambda step, of: stage.at(step / parameters.training_steps, f"loss {of:.2f}"),
        )
    with report.stage("adapting to the new text", 0.5) as stage:
        quality = compare(Comparison(base, found, parameters, setup.seed), report, stage)
    with report.stage("a training step at a real model's shape", 0.2) as stage:
        count_shapes(report)
        held = cost(parameters, setup, report, stage)
    return f"{quality} {said_of_memory(held, parameters.measured_blocks)}"


def read(p: LoraParameters, setup: Setup, report: Report) -> Texts:
    """Return both texts in windows; the result names them together."""
    name = f"docstrings of {p.old_text}"
    old = text.split(name, text.docstrings([p.old_text]))
    new = text.corpus(setup.text)
    report.source("text", *text.in_turn(old, new))
    return texts(old, new, p, setup)


def compare(comparison: Comparison, report: Report, stage: Stage) -> str:
    """Report what each method makes of the model; return a sentence about it."""
    base, found = comparison.base, comparison.texts
    before, of_old = loop.mean_loss(base, found.new), loop.mean_loss(base, found.old)
    report.measure("loss", "unchanged", before)
    report.measure("forgetting", "unchanged", 0.0)
    outcomes: dict[str, Outcomes] = {}
    for done, method in enumerate(METHODS):
        stage.at(done / len(METHODS), method)
        outcomes[method] = of = comparison.outcomes(method)
        report_method(method, of, of_old, report)
        start, windows = comparison.start(method), found.new[:CHECKED]
        report.measure("change at the start", method, apart(start, base, windows))
        if method in MERGED:
            trained_model = of.best.model
            error = apart(merge(trained_model), trained_model, windows)
            report.measure("equality error", method, error)
    return said_of_quality(before, of_old, outcomes)


def report_method(method: str, outcomes: Outcomes, of_old: float, report: Report) -> None:
    """Report one method; what is drawn is of the first repeat."""
    best, repeats = outcomes.best, outcomes.repeats
    report.measure("loss", method, [outcome.new for outcome in repeats])
    report.measure("forgetting", method, [outcome.old - of_old for outcome in repeats])
    report.measure("trainable parameters", method, sum(w.numel() for w in trained(best.model)))
    report.measure("best learning rate", method, best.rate)
    for step, value in best.curve:
        report.point("loss by step", method, step, value)
    for outcome in outcomes.tried:
        report.point("loss by forgetting", method, outcome.old - of_old, outcome.new)


@torch.no_grad()
def apart(model: LanguageModel, other: LanguageModel, windows: Tensor) -> float:
    """Return how far a logit is from the other model's, as a share of the largest."""
    expected = other(windows)
    return ((model(windows) - expected).abs().max() / expected.abs().max()).item()


def count_shapes(report: Report) -> None:
    """Report by how much adapters and scales reduce what is trained, on published shapes."""
    for name, shape in counting.PUBLISHED.items():
        counts = {
            "lora 4": counting.of_low_rank(shape, RANK, QUERY_AND_VALUE),
            "alphatuning": counting.of_first_scales(shape),
        }
        for method, count in counts.items():
            reduction = shape.parameters / count
            report.measure("parameter reduction", method, reduction, shape=name)


def cost(p: LoraParameters, setup: Setup, report: Report, stage: Stage) -> dict[str, StepBytes]:
    """Report and return what a step holds by method, and report how long it takes."""
    parameters, training = trainings(p.measured_blocks, p.measured_tokens, setup)
    held: dict[str, StepBytes] = {}
    for done, (method, one) in enumerate(training.items()):
        stage.at(done / len(training) / 2, f"bytes, {method}")
        held[method] = of = one.bytes()
        report.measure("step memory", method, of.peak / MIB)
        report.measure("memory saving", method, held["full"].peak / of.peak)
        report.measure("bytes per trained parameter", method, of.of_trained / of.trained)
        parts = {"weights": of.weights, "gradients": of.gradients, "optimizer": of.optimizer}
        for part, size in parts.items():
            report.measure("bytes per parameter", method, size / parameters, part=part)
    for method in ("qlora 4", "alphatuning"):
        count_bits(method, training[method].model, report)
    stage.at(0.5, "time")
    taken = step_times(training, p.rounds, setup.device)
    for method, times in taken.items():
        report.measure_time("step time", method, times)
    for method, faster in ratios(taken, to="full").items():
        report.measure("speed-up", method, faster)
    return held


def count_bits(method: str, model: LanguageModel, report: Report) -> None:
    """Report how many bits a weight takes as stored, and how many of them are of constants."""
    layers = [m for m in model.modules() if isinstance(m, Nf4Linear | FirstCodeScale)]
    weights = sum(layer.in_features * layer.out_features for layer in layers)
    stored, constants = (
        8 * sum(sizes) / weights
        for sizes in (
            [layer.stored_bytes for layer in layers],
            [layer.constant_bytes for layer in layers],
        )
    )
    report.measure("bits per weight", method, stored)
    report.measure("bits of constants", method, constants)


def said_of_quality(before: float, of_old: float, outcomes: Mapping[str, Outcomes]) -> str:
    """Return what the methods gained on the new text and lost on the old one, in a sentence."""

    def told(outcome: Adapted) -> str:
        return f"{outcome.new:.2f} ({outcome.old - of_old:+.2f} on the old text)"

    full = outcomes["full"]
    careful = f", {told(full.careful)} at a smaller rate," if full.careful is not full.best else ""
    return (
        f"On the new text the loss is {before:.2f} before, {told(full.best)} after full"
        f" fine-tuning{careful} and {told(outcomes['lora 4'].best)} with LoRA of rank 4 on query"
        f" and value, {told(outcomes['lora 4 everywhere'].best)} on every matrix."
    )


def said_of_memory(held: Mapping[str, StepBytes], blocks: int) -> str:
    """Return what adapters save of a step's memory, in a sentence."""
    full, lora = held["full"].peak, held["lora 4"].peak
    return (
        f"At the shape of SmolLM2, with {blocks} of its {BLOCKS} blocks, a step of LoRA holds"
        f" {lora / MIB:.0f} MiB, {full / lora:.2f} x less than full fine-tuning."
    )
