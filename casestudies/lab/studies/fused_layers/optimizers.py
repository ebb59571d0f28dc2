"""AdamW over each weight, over the list of them, and over one row that holds them all.

The row is LightSeq2's workspace (Wang et al., 2021): weights, gradients and both of Adam's numbers
lie in one piece each, and one launch changes everything.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from casestudies.lab.train.adamw import BETAS, DECAY

RATE = 1e-3


class Optimizer(Protocol):
    """Changes weights by their gradients, which are in the weights' order."""

    def step(self, gradients: Sequence[Tensor]) -> None: ...


Make = Callable[[Iterable[nn.Parameter]], Optimizer]


class Listed:
    """PyTorch's AdamW over the weights as they lie: `how` names its implementation."""

    def __init__(self, weights: Iterable[nn.Parameter], **how: bool) -> None:
        self._weights = list(weights)
        self._adamw = torch.optim.AdamW(self._weights, RATE, BETAS, weight_decay=DECAY, **how)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the weights."""
        for weight, gradient in zip(self._weights, gradients, strict=True):
            weight.grad = gradient
        self._adamw.step()
        self._adamw.zero_grad()


class Row:
    """All weights one after another, changed as one; the model's weights are views of the row."""

    @torch.no_grad()
    def __init__(self, weights: Iterable[nn.Parameter]) -> None:
        weights = list(weights)
        self.row = nn.Parameter(torch.cat([weight.flatten() for weight in weights]))
        self._gradient = torch.empty_like(self.row)
        parts = self.row.detach().split([weight.numel() for weight in weights])
        for weight, part in zip(weights, parts, strict=True):
            weight.data = part.view(weight.shape)
        self._adamw = torch.optim.AdamW([self.row], RATE, BETAS, weight_decay=DECAY, fused=True)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Gather the gradients into their row and change all weights in one launch."""
        torch.cat([gradient.flatten() for gradient in gradients], out=self._gradient)
        self.row.grad = self._gradient
        self._adamw.step()


def one_by_one(weights: Iterable[nn.Parameter]) -> Optimizer:
    """Return AdamW as a loop over weights, some operators for each."""
    return Listed(weights, foreach=False, fused=False)


def fused(weights: Iterable[nn.Parameter]) -> Optimizer:
    """Return AdamW as one operator over the list of all weights."""
    return Listed(weights, fused=True)
