"""The ways to take a step that are held against each other."""

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.lomo.fused import Adam, Lomo, LossOf, MixedAdam, Sgd
from casestudies.lab.studies.lomo.gradients import Gradients
from casestudies.lab.train import loop


class Optimizer(Protocol):
    """What changes weights by their gradients, and what it keeps for that."""

    def step(self, loss_of: LossOf, rate: float) -> Tensor: ...

    def state(self) -> list[Tensor]: ...


@dataclass(frozen=True)
class Method:
    """How a step is taken, and about which peak learning rate suits it.

    `same` is the method whose weights it must end with; then the rate is that one's.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    rate: float
    number: torch.dtype = torch.float32
    same: str | None = None


METHODS = {
    "adam": Method(Adam, 5e-3),
    "adam, fused": Method(partial(Adam, fused=True), 5e-3, same="adam"),
    "adam, 16 bits": Method(MixedAdam, 5e-3, torch.bfloat16),
    "sgd": Method(Sgd, 1.0),
    "lomo": Method(Lomo, 1.0, same="sgd"),
    "sgd, clipped": Method(partial(Sgd, clipped=True), 3.0),
    "lomo, clipped": Method(partial(Lomo, clipped=True), 3.0, same="sgd, clipped"),
    "lomo, 16 bits": Method(Lomo, 1.0, torch.bfloat16),
}


class Training:
    """A copy of a model whose every weight is trained by a method."""

    def __init__(self, start: LanguageModel, method: str) -> None:
        of = METHODS[method]
        self.model = copy.deepcopy(start).to(of.number).requires_grad_(True)
        self.weights = list(self.model.parameters())
        self.optimizer = of.optimizer(self.weights)
        self._watch: Callable[[Tensor], Tensor] = lambda loss: loss

    @contextmanager
    def counting_gradients(self) -> Iterator[Gradients]:
        """Give what counts the gradients of the steps within."""
        gradients = Gradients(self.weights)
        self._watch = gradients.watch
        yield gradients
        gradients.end()
        self._watch = lambda loss: loss

    def step(self, windows: Tensor, rate: float) -> Tensor:
        """Take a step on windows (B, T) and return their loss before it."""
        return self.optimizer.step(
            lambda: self._watch(loop.next_token_loss(self.model, windows)), rate
        )
