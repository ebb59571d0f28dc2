"""Fewer key-value heads, made by averaging those of a trained model, and training it a little more.

GQA (Ainslie et al., 2023), section 2.1: the projections of the heads of a group are mean-pooled,
then the model is trained on for a small share of its original steps.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.train import loop

RATES = (3e-4, 1e-3, 3e-3)  # highest rates that the extra steps are tried at


def merged(model: LanguageModel, heads: int) -> LanguageModel:
    """Return a copy whose key-value heads are means of so many groups; `heads` divides theirs."""
    config = replace(model.config, key_value_heads=heads)
    found = copy.deepcopy(model)
    found.config = config
    for block in cast(Sequence[Block], found.blocks):
        block.config = config
        block.key, block.value = (
            _pooled(layer, model, heads) for layer in (block.key, block.value)
        )
    return found


@torch.no_grad()
def _pooled(layer: nn.Linear, model: LanguageModel, heads: int) -> nn.Linear:
    width = model.config.width // model.config.heads
    weight = layer.weight.view(heads, -1, width, layer.in_features).mean(1).flatten(0, 1)
    found = nn.Linear(layer.in_features, len(weight), bias=False, device="meta")
    found.weight = nn.Parameter(weight, requires_grad=layer.weight.requires_grad)
    return found


def train(
    model: LanguageModel,
    windows: Tensor,
    schedule: loop.Schedule,
    generator: torch.Generator,
    observe: Callable[[int, float], None] = lambda step, loss: None,
) -> LanguageModel:
    """Train the model on batches drawn from `windows` (count, length) and return it."""

    def loss_of(batch: Tensor) -> loop.Loss:
        return loop.Loss(loop.next_token_loss(model, batch))

    loop.train(model.parameters(), loss_of, loop.drawn(windows, generator), schedule, observe)
    return model


def trained_on(
    model: LanguageModel, windows: Tensor, steps: int, seed: int, choosing: Tensor
) -> LanguageModel:
    """Return a copy trained so many steps more, at the rate that suits the text `choosing` best."""
    found = [
        train(
            copy.deepcopy(model),
            windows,
            loop.Schedule(steps, rate),
            torch.Generator().manual_seed(seed),
        )
        for rate in RATES
    ]
    return min(found, key=lambda one: loss(one, choosing))


@torch.inference_mode()
def loss(model: LanguageModel, windows: Tensor) -> float:
    """Return the mean negative log-likelihood, in nats, of all but the first token of each."""
    return loop.next_token_loss(model, windows).item()
