"""Trains by every recipe, and counts what 16 bits lose."""

import statistics

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.mixed_precision.about import MixedPrecisionParameters
from casestudies.lab.studies.mixed_precision.mixed import RECIPES, Training, lost_to_zero
from casestudies.lab.train import loop, sixteen_bits

VOCABULARY = 1024
EVALUATED = 64  # windows
LOOKS = 5  # points of a curve
EXPONENTS = range(0, 33, 4)  # of the scales tried
KIB = 2**10


def run(parameters: MixedPrecisionParameters, setup: Setup, report: Report) -> str:
    """Train and count; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "float32, bfloat16 and float16, by variant"
    bench = Bench(parameters, setup, report)
    with report.stage("training by every recipe", 0.75) as stage:
        over = bench.train(stage)
    with report.stage("counting what 16 bits lose", 0.1):
        lost, unchanged = bench.count(), bench.unchanged()
    with report.stage("timing a step", 0.15):
        speed = bench.time()
    return verdict(over, lost, unchanged, speed)


class Bench:
    """The text, and what is trained on it; `trained` are those of the first seed."""

    def __init__(self, parameters: MixedPrecisionParameters, setup: Setup, report: Report) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        corpus = text.corpus(setup.text)
        report.source("text", corpus.name, corpus.sha256)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
        window = parameters.window + 1
        self._training = text.windows(corpus.calibration, tokenizer, window).to(setup.device)
        kept_apart = text.windows(corpus.evaluation, tokenizer, window)
        count = min(EVALUATED, len(kept_apart))
        self._evaluation = text.spaced(kept_apart, count).to(setup.device)
        self.trained: dict[str, Training] = {}

    def train(self, stage: Stage) -> dict[str, float]:
        """Report how each recipe ends; return its loss over that of float32, in percent."""
        losses: dict[str, list[float]] = {}
        for done, variant in enumerate(RECIPES):
            stage.at(done / len(RECIPES), variant)
            losses[variant] = [self._train(variant, n) for n in range(self.parameters.repeats)]
            self.report.measure("loss", variant, losses[variant])
        over = {
            variant: [
                100 * (own / exact - 1) for own, exact in zip(found, losses["float32"], strict=True)
            ]
            for variant, found in losses.items()
        }
        for variant, percents in over.items():
            self.report.measure("loss over float32", variant, percents)
        return {variant: statistics.median(percents) for variant, percents in over.items()}

    def count(self) -> dict[str, float]:
        """Report bytes, and the gradients that are lost; return the latter in percent."""
        batch = self._training[: loop.BATCH]
        exact = self.trained["float32"].model
        gradient = self._beginning(exact, "float32").gradient(batch)
        lost: dict[str, float] = {}
        for variant, training in self.trained.items():
            scale = training.scale.value if training.recipe.scaled else 1.0
            found = self._beginning(exact, variant).gradient(batch, scale)
            lost[variant] = 100 * lost_to_zero(gradient, found)
            self.report.measure("gradients lost", variant, lost[variant])
            self.report.measure("skipped steps", variant, training.skipped)
            self._count_bytes(variant, training, batch)
        self.report.measure("loss scale", "float16", self.trained["float16"].scale.value)
        self.report.measure("changes lost", "bfloat16, no masters", self.unchanged())
        for variant in ("bfloat16", "float16"):
            self._try_scales(self._beginning(exact, variant), variant, gradient, batch)
        return lost

    def unchanged(self) -> float:
        """Return the share of weights that a step so far left as they were, in percent."""
        return 100 * statistics.mean(self.trained["bfloat16, no masters"].lost)

    def time(self) -> dict[str, float]:
        """Report the time of a step by each recipe; return the speed-ups over float32."""
        batch = self._training[: loop.BATCH]
        steps = {name: lambda one=one: one.step(batch) for name, one in self.trained.items()}
        taken = alternately(steps, self.parameters.rounds, self.setup.device)
        for variant, times in taken.items():
            self.report.measure_time("step time", variant, times)
        speed = ratios(taken, to="float32")
        for variant, faster in speed.items():
            self.report.measure("speed-up", variant, faster)
        return {variant: statistics.median(faster) for variant, faster in speed.items()}

    def _train(self, variant: str, repeat: int) -> float:
        """Train a model and report its curve; return its loss on text kept apart."""
        p = self.parameters
        generator = torch.Generator().manual_seed((self.setup.seed + repeat) % 2**63)
        start = shapes.small(VOCABULARY, p.width, p.layers, generator, self.setup.device)
        training = self._beginning(start, variant)
        batches = loop.drawn(self._training, generator)
        for step, batch in zip(range(1, p.steps + 1), batches, strict=False):
            with sixteen_bits.linears(self.setup.device):
                training.step(batch)
            if repeat == 0 and (step % -(-p.steps // LOOKS) == 0 or step == p.steps):
                self.report.point("loss by step", variant, step, self._loss(training))
        if repeat == 0:
            self.trained[variant] = training
        return self._loss(training)

    @torch.no_grad()
    def _loss(self, training: Training) -> float:
        parts = self._evaluation.split(loop.BATCH)
        total = sum(len(part) * training.loss(part).item() for part in parts)
        return total / len(self._evaluation)

    def _beginning(self, model: LanguageModel, variant: str) -> Training:
        schedule = loop.Schedule(self.parameters.steps)
        return Training(model, RECIPES[variant], schedule)

    def _count_bytes(self, variant: str, training: Training, batch: Tensor) -> None:
        if training.recipe.masters:
            numbers = sum(weight.numel() for weight in training.weights)
            held = training.state_bytes(batch) / numbers
            self.report.measure("model states", variant, held)
        saved = SavedBytes()
        saved.leave_out(training.weights)
        with saved.counting():
            loss = training.loss(batch)
        kept = saved.bytes / batch[:, 1:].numel() / KIB
        self.report.measure("activations kept", variant, kept)
        del loss

    def _try_scales(self, training: Training, variant: str, exact: Tensor, batch: Tensor) -> None:
        """Report what is lost at each scale, up to the first at which a gradient overflows."""
        for exponent in EXPONENTS:
            found = training.gradient(batch, 2.0**exponent)
            broken = 1 - found.isfinite().float().mean().item()
            if not broken:
                share = 100 * lost_to_zero(exact, found)
                self.report.point("gradients lost by scale", variant, exponent, share)
        self.report.measure_share("gradients not finite", variant, broken)


def verdict(
    over: dict[str, float],
    lost: dict[str, float],
    unchanged: float,
    speed: dict[str, float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    return (
        f"After the same tokens the loss is {over['bfloat16']:+.2f} % of float32’s in bfloat16 and"
        f" {over['float16']:+.2f} % in float16, at {speed['bfloat16']:.2f} x and"
        f" {speed['float16']:.2f} x its speed. Without a scale float16 loses"
        f" {lost['float16, no scale']:.1f} % of the gradients and ends at"
        f" {over['float16, no scale']:+.2f} %; without master weights a step leaves"
        f" {unchanged:.0f} % of the weights as they were, and training ends at"
        f" {over['bfloat16, no masters']:+.2f} %."
    )
