"""Fine-tunes a model by each method, and counts and times a step at published shapes."""

import math
import statistics
from collections.abc import Mapping, Sequence

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.measure.rounds import ratios
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.lomo.about import LLAMA_65B, SMOLLM2, LomoParameters
from casestudies.lab.studies.lomo.methods import METHODS
from casestudies.lab.studies.lomo.step import AtSmolLM2, Held, held_at_llama
from casestudies.lab.studies.lomo.tuning import (
    Comparison,
    Texts,
    Tuned,
    apart,
    best,
    texts,
    trained,
    untrained,
)
from casestudies.lab.train import loop

MIB = 2**20
FROM_RANDOM = ("adam", "sgd, clipped")


def run(parameters: LomoParameters, setup: Setup, report: Report) -> str:
    """Measure all methods; return the verdict. Raises ValueError if a text is too short."""
    report.precision = "float32, and bfloat16 by variant"
    p = parameters
    with report.stage("reading the texts", 0.05):
        found = read(p, setup, report)
    with report.stage("training on the first text", 0.15) as stage:
        start = trained(
            found, p, setup, lambda step, of: stage.at(step / p.training_steps, f"loss {of:.2f}")
        )
    with report.stage("fine-tuning on the new text", 0.4) as stage:
        before = loop.mean_loss(start, found.kept)
        tuned = tune(Comparison(start, found, p, setup.seed), report, stage)
        report.measure("loss", "unchanged", before)
    with report.stage("training from random weights", 0.1):
        for method in FROM_RANDOM:
            tried = Comparison(untrained(p, setup), found, p, setup.seed).tried(method)
            report.measure("loss from random weights", method, best(tried).kept)
    with report.stage("counting a step’s bytes", 0.15):
        shape = AtSmolLM2(p.measured_blocks, p.measured_tokens, setup)
        report_bytes(held := shape.held(), report)
    with report.stage("counting LLaMA-65B’s bytes", 0.05):
        report_parts(held_at_llama(p.claimed_blocks, p.measured_tokens), report, LLAMA_65B)
    with report.stage("timing a step", 0.1):
        speed = report_times(shape.times(p.rounds), report)
    return verdict(before, tuned, held, speed)


def read(p: LomoParameters, setup: Setup, report: Report) -> Texts:
    """Return both texts in windows; the result names them together."""
    name = f"docstrings of {p.first_text}"
    first, new = text.split(name, text.docstrings([p.first_text])), text.corpus(setup.text)
    report.source("text", *text.in_turn(first, new))
    return texts(first, new, p, setup)


def tune(comparison: Comparison, report: Report, stage: Stage) -> dict[str, Tuned]:
    """Report how each method ends; return its model at the rate that was chosen."""
    found: dict[str, Tuned] = {}
    for done, (method, of) in enumerate(METHODS.items()):
        stage.at(done / len(METHODS), method)
        if of.same:
            ended = [comparison.tune(method, found[of.same].rate)]
            error = apart(ended[0].model, found[of.same].model)
            report.measure("equality error", method, error)
        else:
            tried = comparison.tried(method)
            report_rates(method, tried, report)
            chosen = best(tried)
            ended = [chosen, *comparison.repeated(method, chosen.rate)]
        found[method] = first = ended[0]
        report.measure("loss", method, [tuned.kept for tuned in ended])
        report.measure("best learning rate", method, first.rate)
        for step, value in first.curve:
            report.point("loss by step", method, step, value)
    return found


def report_rates(method: str, tried: Sequence[Tuned], report: Report) -> None:
    """Report how each rate ended, but for those that ended without a loss."""
    for tuned in tried:
        if math.isfinite(tuned.kept):
            report.point("loss by rate", method, tuned.rate / METHODS[method].rate, tuned.kept)


def report_bytes(held: Mapping[str, Held], report: Report) -> None:
    """Report what a step holds at the shape of which the tensors have data."""
    report_parts(held, report, SMOLLM2)
    for method, of in held.items():
        report.measure("step memory", method, of.whole / MIB)
        report.measure("memory saving", method, held["adam"].whole / of.whole)
        for number, size in enumerate([0, *of.arrived]):
            share = 100 * number / len(of.arrived)
            report.point("gradients held by weight", method, share, size / MIB)


def report_parts(held: Mapping[str, Held], report: Report, shape: str) -> None:
    """Report what a step holds without activations."""
    for method, of in held.items():
        report.measure("gradients held", method, of.gradients / MIB, shape=shape)
        report.measure("gradients at once", method, of.at_once, shape=shape)
        for part, size in of.parts():
            report.measure("bytes per parameter", method, size, shape=shape, part=part)


def report_times(taken: Mapping[str, list[float]], report: Report) -> dict[str, float]:
    """Report the seconds of a step by each method; return how much faster than Adam's it is."""
    for method, times in taken.items():
        report.measure_time("step time", method, times)
    speed = ratios(taken, to="adam")
    for method, faster in speed.items():
        report.measure("speed-up", method, faster)
    return {method: statistics.median(faster) for method, faster in speed.items()}


def verdict(
    before: float,
    tuned: Mapping[str, Tuned],
    held: Mapping[str, Held],
    speed: Mapping[str, float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    adam, sgd, lomo = held["adam"], held["sgd"], held["lomo"]
    same = apart(tuned["lomo"].model, tuned["sgd"].model)
    equal = "bit for bit" if same == 0 else f"but for {same:.0e}"
    return (
        f"LOMO ends with SGD’s weights, {equal}, and holds at most {lomo.at_once} gradients,"
        f" {lomo.gradients / MIB:.0f} MiB, where SGD holds {sgd.gradients / MIB:.0f}; a step takes"
        f" {adam.whole / lomo.whole:.2f} x less memory than Adam’s, and {speed['lomo']:.2f} x its"
        f" speed. After the same tokens the loss is {before:.2f} before,"
        f" {tuned['adam'].kept:.2f} by Adam, {tuned['lomo'].kept:.2f} by LOMO,"
        f" {tuned['lomo, clipped'].kept:.2f} with its gradient clipped in a second pass, and"
        f" {tuned['lomo, 16 bits'].kept:.2f} in 16 bits."
    )
