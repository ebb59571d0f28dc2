"""What a step holds and how long it takes, at published shapes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Config, LanguageModel
from casestudies.lab.studies.lomo.gradients import Gradients
from casestudies.lab.studies.lomo.methods import METHODS, Training
from casestudies.lab.train import sixteen_bits

RATE = 1e-5
# Touvron et al., 2023, table 2 (arXiv 2302.13971): all layers without weights, a head of its own.
LLAMA = Config(32_000, 8_192, 22_016, 80, 64, 64, 10_000.0, 1e-5)
CLAIMED = ("adam, 16 bits", "lomo, 16 bits")


@dataclass(frozen=True)
class Held:
    """Bytes of a step; `gradients` are the most at one time, and `at_once` their number."""

    parameters: int
    weights: int
    gradients: int
    optimizer: int
    at_once: int
    arrived: list[int]  # bytes of gradients, each time that a weight gets one
    whole: int  # all that is held at one time, where the allocator knows it

    def parts(self) -> Iterable[tuple[str, float]]:
        """Yield bytes for each parameter."""
        for part in ("weights", "gradients", "optimizer"):
            yield part, getattr(self, part) / self.parameters


class AtSmolLM2:
    """Each method's training of SmolLM2-135M's shape, with so many layers and random weights."""

    def __init__(self, layers: int, tokens: int, setup: Setup) -> None:
        base = shapes.of_shape("smollm2-135m", setup.device, layers=layers)
        generator = torch.Generator().manual_seed(setup.seed)
        ids = torch.randint(base.config.vocabulary, (1, tokens + 1), generator=generator)
        self._batch, self._device = ids.to(setup.device), setup.device
        self._trainings = {method: Training(base, method) for method in METHODS}

    def held(self) -> dict[str, Held]:
        """Return what each method holds in a step."""
        found = {}
        for method, training in self._trainings.items():
            # What is counted is PyTorch's own step: float32 copies of 16-bit numbers would count.
            with sixteen_bits.linears(self._device):
                training.step(self._batch, RATE)  # in which an optimizer makes its state
            with training.counting_gradients() as gradients:
                step = peak_bytes(partial(training.step, self._batch, RATE), self._device)
            found[method] = _held(training, gradients, step)
        return found

    def times(self, rounds: int) -> dict[str, list[float]]:
        """Return the seconds of each method's step, in rounds in which each takes one in turn."""
        steps = {name: partial(t.step, self._batch, RATE) for name, t in self._trainings.items()}
        with sixteen_bits.linears(self._device):
            return alternately(steps, rounds, self._device)


def held_at_llama(layers: int, tokens: int) -> Mapping[str, Held]:
    """Return what a step holds at LLaMA-65B's shape, carried out on tensors that have no data."""
    config = replace(LLAMA, layers=layers)
    with torch.device("meta"):
        base = LanguageModel(config, tied=False).to(torch.bfloat16)
        batch = torch.zeros(1, tokens + 1, dtype=torch.long)
    found = {}
    for method in CLAIMED:
        training = Training(base, method)
        with training.counting_gradients() as gradients:
            training.step(batch, RATE)
        found[method] = _held(training, gradients)
    return found


def _held(training: Training, gradients: Gradients, step: int = 0) -> Held:
    weights, state = _bytes(training.weights), _bytes(training.optimizer.state())
    return Held(
        parameters=sum(weight.numel() for weight in training.weights),
        weights=weights,
        gradients=gradients.peak,
        optimizer=state,
        at_once=gradients.most,
        arrived=gradients.arrived[-len(training.weights) :],
        whole=weights + state + step,
    )


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors)
