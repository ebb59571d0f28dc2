"""Fine-tunes one trained model by each method on the same tokens, at several learning rates."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.data.text import Corpus
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.lomo.about import LomoParameters
from casestudies.lab.studies.lomo.methods import METHODS, Training
from casestudies.lab.train import loop, sixteen_bits

VOCABULARY = 1024
LOOKS = 5  # points of a curve


@dataclass(frozen=True)
class Texts:
    """Windows (count, length) of the text that is trained on before, and of the new one.

    Rates are chosen by `choosing`; what is reported is of `kept`. Neither is trained on.
    """

    before: Tensor
    new: Tensor
    choosing: Tensor
    kept: Tensor


@dataclass(frozen=True)
class Tuned:
    """A model after its last step: its losses, and how it came there by steps."""

    model: LanguageModel
    rate: float
    kept: float
    choosing: float
    curve: list[tuple[int, float]]


def texts(before: Corpus, new: Corpus, p: LomoParameters, setup: Setup) -> Texts:
    """Return the windows of both texts; the tokenizer is fitted to the first, as the model."""
    tokenizer = tokenizers.byte_pairs(before.calibration, VOCABULARY)

    def windows(documents: tuple[text.Document, ...]) -> Tensor:
        return text.windows(documents, tokenizer, p.window).to(setup.device)

    apart = text.spaced(windows(new.evaluation), 2 * p.evaluation_windows)
    choosing, kept = apart.chunk(2)
    return Texts(windows(before.calibration), windows(new.calibration), choosing, kept)


def untrained(p: LomoParameters, setup: Setup) -> LanguageModel:
    """Return a model of random weights."""
    return shapes.small(VOCABULARY, p.width, p.layers, _generator(setup.seed), setup.device)


def trained(
    found: Texts, p: LomoParameters, setup: Setup, observe: Callable[[int, float], None]
) -> LanguageModel:
    """Return a model that AdamW trained on the first text; `observe` each step and its loss."""
    model = untrained(p, setup)
    batches = loop.drawn(found.before, _generator(setup.seed))
    loop.train(
        model.parameters(),
        lambda b: loop.Loss(loop.next_token_loss(model, b)),
        batches,
        loop.Schedule(p.training_steps),
        observe,
    )
    return model


@dataclass(frozen=True)
class Comparison:
    """The model to begin from, and how each method tunes it to the new text."""

    start: LanguageModel
    texts: Texts
    parameters: LomoParameters
    seed: int

    def tried(self, method: str) -> list[Tuned]:
        """Return what the method makes of the model at each of its learning rates."""
        p = self.parameters
        rates = loop.rates_around(METHODS[method].rate, p.learning_rates)
        return [self.tune(method, rate) for rate in rates]

    def repeated(self, method: str, rate: float) -> list[Tuned]:
        """Return the further runs at the rate, on other batches."""
        return [self.tune(method, rate, n) for n in range(1, self.parameters.repeats)]

    def tune(self, method: str, rate: float, repeat: int = 0) -> Tuned:
        """Return the model after its steps, which see the same batches whatever the method."""
        training, steps = Training(self.start, method), self.parameters.tuning_steps
        schedule = loop.Schedule(steps, rate)
        batches = loop.drawn(self.texts.new, _generator(self.seed + repeat))
        with sixteen_bits.linears(self.texts.new.device.type):
            curve = [(0, loop.mean_loss(training.model, self.texts.kept))]
            for step, batch in zip(range(1, steps + 1), batches, strict=False):
                training.step(batch, rate * schedule.rate(step - 1))
                if step % -(-steps // LOOKS) == 0 or step == steps:
                    curve.append((step, loop.mean_loss(training.model, self.texts.kept)))
            chosen_by = loop.mean_loss(training.model, self.texts.choosing)
        return Tuned(training.model, rate, curve[-1][1], chosen_by, curve)


def best(tried: list[Tuned]) -> Tuned:
    """Return the one of the least loss on text kept for that."""
    # A rate that is too high may end without a loss.
    return min(tried, key=lambda tuned: (math.isnan(tuned.choosing), tuned.choosing))


@torch.no_grad()
def apart(model: LanguageModel, other: LanguageModel) -> float:
    """Return the largest difference of a weight."""
    pairs = zip(model.parameters(), other.parameters(), strict=True)
    return max((one - two).abs().max().item() for one, two in pairs)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed % 2**63)
