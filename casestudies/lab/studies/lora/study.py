"""Adapts a model in several ways, and counts and times a training step at a real model's shape."""

import hashlib
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
    Look,
    Texts,
    base_model,
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
            lambda step, of: stage.at(step / parameters.training_steps, f"loss {of:.2f}"),
        )
    with report.stage("adapting to the new text", 0.5) as stage:
        last = compare(Comparison(base, found, parameters, setup.seed), report, stage)
    with report.stage("a training step at a real model's shape", 0.2) as stage:
        count_shapes(report)
        held = cost(parameters, setup, report, stage)
    return verdict(last, held)


def read(p: LoraParameters, setup: Setup, report: Report) -> Texts:
    """Return both texts in windows; the result names them together."""
    name = f"docstrings of {p.old_text}"
    old = text.split(name, text.docstrings([p.old_text]))
    new = text.corpus(setup.text)
    both = hashlib.sha256(f"{old.sha256} {new.sha256}".encode()).hexdigest()
    report.source("text", f"{name}, then {new.name}", both)
    return texts(old, new, p, setup)


def compare(comparison: Comparison, report: Report, stage: Stage) -> dict[str, Look]:
    """Report what each method makes of the model; return the last losses by variant."""
    before = comparison.look(comparison.base, 0)
    report.measure("loss", "unchanged", before.new)
    report.measure("forgetting", "unchanged", 0.0)
    last = {"unchanged": before}
    for done, method in enumerate(METHODS):
        stage.at(done / len(METHODS), method)
        outcomes = comparison.outcomes(method)
        report_method(method, outcomes, before, report)
        last[method] = outcomes[0].looks[-1]
        if method.startswith("lora"):
            apart = merging_error(outcomes[0].model, comparison.texts.new[:CHECKED])
            report.measure("equality error", method, apart)
    return last


def report_method(method: str, repeats: list[Adapted], before: Look, report: Report) -> None:
    """Report one method, of which the first outcome is the one that is drawn."""
    first = repeats[0]
    ends = [outcome.looks[-1] for outcome in repeats]
    report.measure("loss", method, [end.new for end in ends])
    report.measure("forgetting", method, [end.old - before.old for end in ends])
    report.measure("trainable parameters", method, sum(w.numel() for w in trained(first.model)))
    report.measure("best learning rate", method, first.rate)
    for look in first.looks:
        report.point("loss by step", method, look.step, look.new)
        report.point("loss by forgetting", method, look.old - before.old, look.new)


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


def verdict(last: Mapping[str, Look], held: Mapping[str, StepBytes]) -> str:
    """Return two sentences made of the run's own numbers."""
    before = last["unchanged"]

    def told(method: str) -> str:
        forgotten = last[method].old - before.old
        return f"{last[method].new:.2f} ({forgotten:+.2f} on the old text)"

    full, lora = held["full"].peak, held["lora 4"].peak
    return (
        f"On the new text the loss is {before.new:.2f} before, {told('full')} after full"
        f" fine-tuning, {told('lora 4')} with LoRA of rank 4 on query and value, and"
        f" {told('lora 4 everywhere')} on every matrix. A step of LoRA at the shape of SmolLM2"
        f" holds {lora / MIB:.0f} MiB, {full / lora:.2f} x less than full fine-tuning."
    )
