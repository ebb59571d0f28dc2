"""Adapts one trained model to another kind of text, by each method and at several rates."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.data.text import Corpus
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.lora.about import LoraParameters
from casestudies.lab.studies.lora.methods import METHODS, adapted, trained
from casestudies.lab.train import loop

VOCABULARY = 1024
TOGETHER = 32  # windows evaluated at once
LOOKS = 6  # points of a curve
APART = 3.0  # from one rate to the next

Observe = Callable[[int, float], None]


@dataclass(frozen=True)
class Texts:
    """Windows (count, length): of the kind the model is trained on, and of that it is adapted to.

    Rates are chosen by `tuning`; what is reported is of `new` and `old`. None is trained on.
    """

    old_training: Tensor
    old: Tensor
    new_training: Tensor
    tuning: Tensor
    new: Tensor


@dataclass(frozen=True)
class Adapted:
    """A model after its last step: its losses on each kind of windows, and how it came there."""

    model: LanguageModel
    rate: float
    new: float
    old: float
    tuning: float
    curve: list[tuple[int, float]]  # steps and the loss on new text


@dataclass(frozen=True)
class Outcomes:
    """What a method made of the model: at each rate, and at the best one for each repeat."""

    tried: list[Adapted]
    repeats: list[Adapted]

    @property
    def best(self) -> Adapted:
        """Return the outcome at the rate that was chosen."""
        return self.repeats[0]

    @property
    def careful(self) -> Adapted:
        """Return the outcome at the smallest rate."""
        return self.tried[0]


def texts(old: Corpus, new: Corpus, p: LoraParameters, setup: Setup) -> Texts:
    """Return the windows of both kinds; the tokenizer is fitted to the old one, as the model."""
    tokenizer = tokenizers.byte_pairs(old.calibration, VOCABULARY)

    def windows(documents: tuple[text.Document, ...], count: int = 0) -> Tensor:
        found = text.windows(documents, tokenizer, p.window)
        return (text.spaced(found, count) if count else found).to(setup.device)

    # Neighbours are of one document, so halves share at most one with each other.
    tuning, reported = windows(new.evaluation, 2 * p.evaluation_windows).chunk(2)
    return Texts(
        old_training=windows(old.calibration),
        old=windows(old.evaluation, p.evaluation_windows),
        new_training=windows(new.calibration),
        tuning=tuning,
        new=reported,
    )


def base_model(found: Texts, p: LoraParameters, setup: Setup, observe: Observe) -> LanguageModel:
    """Return a model trained on the old text; `observe` each step and its loss."""
    generator = torch.Generator().manual_seed(setup.seed)
    model = shapes.small(VOCABULARY, p.width, p.layers, generator, setup.device)
    _train(model, found.old_training, loop.Schedule(p.training_steps), generator, observe)
    return model.requires_grad_(False)


def rates_of(method: str, count: int) -> list[float]:
    """Return this many rates around the one that suited the method here, APART from each other."""
    return [METHODS[method].rate * APART ** (n - count // 2) for n in range(count)]


@dataclass(frozen=True)
class Comparison:
    """A model trained on the old text, and how it is adapted to the new one by every method."""

    base: LanguageModel
    texts: Texts
    parameters: LoraParameters
    seed: int

    def outcomes(self, method: str) -> Outcomes:
        """Return what the method makes of the model, at each rate from the smallest on."""
        tried = [
            self.adapt(method, rate, 0) for rate in rates_of(method, self.parameters.learning_rates)
        ]
        best = min(tried, key=lambda outcome: outcome.tuning)
        repeats = range(1, self.parameters.repeats)
        return Outcomes(tried, [best, *(self.adapt(method, best.rate, n) for n in repeats)])

    def start(self, method: str) -> LanguageModel:
        """Return the model that the method begins from, before its first step."""
        return adapted(self.base, METHODS[method], self._generator(0))

    def adapt(self, method: str, rate: float, repeat: int) -> Adapted:
        """Return the model after its steps on the new text."""
        model = adapted(self.base, METHODS[method], self._generator(repeat))
        steps, found = self.parameters.adapting_steps, self.texts
        curve = [(0, loss(model, found.new))]

        def observe(step: int, _: float) -> None:
            if step % -(-steps // LOOKS) == 0 or step == steps:
                curve.append((step, loss(model, found.new)))

        # Every method sees the same batches, however much it drew to begin.
        schedule, batches = loop.Schedule(steps, rate), self._generator(repeat)
        _train(model, found.new_training, schedule, batches, observe)
        old, tuning = loss(model, found.old), loss(model, found.tuning)
        return Adapted(model, rate, curve[-1][1], old, tuning, curve)

    def _generator(self, repeat: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.seed + repeat) % 2**63)


@torch.no_grad()
def loss(model: LanguageModel, windows: Tensor) -> float:
    """Return the mean negative log-likelihood of all tokens but the first of each window."""
    total = 0.0
    for batch in windows.split(TOGETHER):
        total += len(batch) * loop.next_token_loss(model, batch).item()
    return total / len(windows)


def _train(
    model: LanguageModel,
    windows: Tensor,
    schedule: loop.Schedule,
    generator: torch.Generator,
    observe: Observe,
) -> None:
    batches = loop.drawn(windows, generator)
    loop.train(
        trained(model),
        lambda b: loop.Loss(loop.next_token_loss(model, b)),
        batches,
        schedule,
        observe,
    )
