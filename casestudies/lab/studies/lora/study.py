"""Adapts a model in several ways, and counts and times a training step at a real model's shape."""

import hashlib
import statistics
from collections.abc import Mapping

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.lora import counting
from casestudies.lab.studies.lora.about import LoraParameters
from casestudies.lab.studies.lora.adaptation import (
    Adapted,
    Comparison,
    Texts,
    base_model,
    loss,
    texts,
)
from casestudies.lab.studies.lora.cost import StepBytes, step_times, trainings
from casestudies.lab.studies.lora.methods import METHODS, QUERY_AND_VALUE, merge, trained
from casestudies.lab.studies.lora.nf4 import Nf4, Nf4Linear

MIB = 2**20
RANK = 4  # of the counts and of the step
CHECKED = 4  # windows on which merged weights are held against their adapters


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
            lambda step, of: stage.at(step / parameters.base_steps, f"loss {of:.2f}"),
        )
    with report.stage("adapting to the new text", 0.5) as stage:
        losses = compare(Comparison(base, found, parameters, setup.seed), report, stage)
    with report.stage("a training step at a real model's shape", 0.2) as stage:
        count_shapes(report)
        held = cost(parameters, setup, report, stage)
    return verdict(losses, held)


def read(p: LoraParameters, setup: Setup, report: Report) -> Texts:
    """Return both texts in windows; the result names them together."""
    name = f"docstrings of {p.old_text}"
    old = text.split(name, text.docstrings([p.old_text]))
    new = text.corpus(setup.text)
    both = hashlib.sha256(f"{old.sha256} {new.sha256}".encode()).hexdigest()
    report.source("text", f"{name}, then {new.name}", both)
    return texts(old, new, p, setup)


def compare(comparison: Comparison, report: Report, stage: Stage) -> dict[str, float]:
    """Report what each method makes of the model; return the loss on the new text by variant."""
    base, found = comparison.base, comparison.texts
    before = loss(base, found.old)
    losses = {"unchanged": loss(base, found.new)}
    report.measure("loss", "unchanged", losses["unchanged"])
    report.measure("forgetting", "unchanged", 0.0)
    for done, method in enumerate(METHODS):
        stage.at(done / len(METHODS), method)
        losses[method] = report_method(method, comparison.outcomes(method), found, before, report)
    return losses


def report_method(
    method: str, repeats: list[Adapted], found: Texts, before: float, report: Report
) -> float:
    """Report one method; return the median of its loss on the new text."""
    first = repeats[0]
    of_new = [outcome.curve[-1][1] for outcome in repeats]
    report.measure("loss", method, of_new)
    forgotten = [loss(outcome.model, found.old) - before for outcome in repeats]
    report.measure("forgetting", method, forgotten)
    report.measure("trainable parameters", method, sum(w.numel() for w in trained(first.model)))
    report.measure("best learning rate", method, first.rate)
    for step, value in first.curve:
        report.point("loss by step", method, step, value)
    if method.startswith("lora"):
        apart = merging_error(first.model, found.new[:CHECKED])
        report.measure("equality error", method, apart)
    return statistics.median(of_new)


@torch.no_grad()
def merging_error(model: LanguageModel, windows: Tensor) -> float:
    """Return how far merged weights change a logit, as a share of the largest."""
    adapted = model(windows)
    return ((merge(model)(windows) - adapted).abs().max() / adapted.abs().max()).item()


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
    parameters, training = trainings(p.blocks, p.tokens, setup)
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
    count_bits(training["qlora 4"].model, report)
    stage.at(0.5, "time")
    taken = step_times(training, p.rounds, setup.device)
    for method, times in taken.items():
        report.measure("step time", method, [1000 * t for t in times])
    for method, faster in ratios(taken, to="full").items():
        report.measure("speed-up", method, faster)
    return held


def count_bits(model: LanguageModel, report: Report) -> None:
    """Report how many bits a weight takes as stored, and how many of them are of constants."""
    layers = [layer for layer in model.modules() if isinstance(layer, Nf4Linear)]
    weights = sum(layer.in_features * layer.out_features for layer in layers)

    def bits(*parts: str) -> float:
        tensors = [getattr(layer.stored, part) for layer in layers for part in parts]
        return 8 * sum(t.numel() * t.element_size() for t in tensors) / weights

    report.measure("bits per weight", "qlora 4", bits(*Nf4._fields))
    report.measure("bits of constants", "qlora 4", bits("constants", "scales", "mean"))


def verdict(losses: Mapping[str, float], held: Mapping[str, StepBytes]) -> str:
    """Return two sentences made of the run's own numbers."""
    full, lora = held["full"].peak, held["lora 4"].peak
    return (
        f"On the new text the loss is {losses['unchanged']:.2f} before, {losses['full']:.2f} after"
        f" full fine-tuning, {losses['lora 4']:.2f} with LoRA of rank 4 on query and value, and"
        f" {losses['lora 4 everywhere']:.2f} on every matrix. At the shape of SmolLM2 LoRA's step"
        f" holds {lora / MIB:.0f} MiB where full fine-tuning holds {full / MIB:.0f}:"
        f" {full / lora:.2f} x less."
    )
