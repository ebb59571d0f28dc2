"""What a training step holds and how long it takes, in float32, at a published model's shape."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from casestudies.lab.contract import Setup
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.lora.methods import METHODS, adapted, trained
from casestudies.lab.train import loop

SHAPE = "smollm2-135m"
METHODS_COSTED = ("full", "scales only", "alphatuning", "lora 4", "lora 4 everywhere", "qlora 4")


@dataclass(frozen=True)
class StepBytes:
    """Bytes between two steps and in one: `peak` counts all that is held at one time."""

    weights: int
    gradients: int
    optimizer: int
    trained: int  # parameters
    of_trained: int  # weights, gradients and optimizer of what is trained
    peak: int


class Training:
    """A model of the shape with random weights, a method's optimizer and one batch of text."""

    def __init__(self, base: LanguageModel, method: str, tokens: int, setup: Setup) -> None:
        generator = torch.Generator().manual_seed(setup.seed)
        self.device = setup.device
        self.model = adapted(base, METHODS[method], generator)
        self.optimizer = torch.optim.AdamW(trained(self.model), 1e-5, fused=True)
        ids = torch.randint(base.config.vocabulary, (1, tokens + 1), generator=generator)
        self.batch = ids.to(setup.device)

    def gradients(self) -> None:
        """Go forward and back through the batch, so that what is trained has its gradients."""
        logits = self.model(self.batch[:, :-1])
        loop.token_loss(logits, self.batch).backward()

    def step(self) -> None:
        """Take one step of Adam; between steps there are no gradients."""
        self.gradients()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def bytes(self) -> StepBytes:
        """Return what is held; the first step, in which the optimizer makes its state, is past."""
        self.step()
        self.gradients()
        weights = trained(self.model)
        gradients = _bytes(w.grad for w in self.model.parameters() if w.grad is not None)
        self.optimizer.zero_grad()
        state = _bytes(
            value
            for of_weight in self.optimizer.state.values()
            for value in of_weight.values()
            if isinstance(value, Tensor)
        )
        held = _bytes([*self.model.parameters(), *self.model.buffers()])
        return StepBytes(
            weights=held,
            gradients=gradients,
            optimizer=state,
            trained=sum(w.numel() for w in weights),
            of_trained=_bytes(weights) + gradients + state,
            peak=held + state + peak_bytes(self.step, self.device),
        )


def trainings(layers: int, tokens: int, setup: Setup) -> tuple[int, Mapping[str, Training]]:
    """Return how many parameters the model has, and each method's training of it."""
    base = shapes.of_shape(SHAPE, setup.device, layers=layers)
    found = {name: Training(base, name, tokens, setup) for name in METHODS_COSTED}
    return sum(weight.numel() for weight in base.parameters()), found


def step_times(
    trainings: Mapping[str, Training], rounds: int, device: str
) -> dict[str, list[float]]:
    """Return the seconds of each method's step, in rounds in which each takes one in turn."""
    return alternately({name: t.step for name, t in trainings.items()}, rounds, device)


def _bytes(tensors: Iterable[Tensor | nn.Parameter]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
