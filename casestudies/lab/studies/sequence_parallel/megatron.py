"""Tensor parallelism's ends of a layer, and those that share the sequence too.

Megatron's tensor parallelism (arXiv 1909.08053) gives each rank some heads and some columns of the
feed-forward part; what lies between has every token on every rank. Korthikanti et al. (arXiv
2205.05198, section 4.2.2) share the tokens there: what enters is gathered, what leaves is summed
and scattered. Shapes: b sequences, s tokens, h width, t ranks.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from casestudies.lab.distributed.shared import gathered, moved, reduced, summed
from casestudies.lab.models.gpt import projected, unchanged

TOKENS = 1  # the dimension that is shared


def enter(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return x (b, s, h), which all ranks have, times the rank's columns of each weight.

    Before the product is the papers' f: nothing forward, a sum over ranks backward.
    """
    return projected(moved(x, unchanged, summed), *weights)


def leave(x: Tensor) -> Tensor:
    """Return the sum over ranks of x (b, s, h), the papers' f̄; backward nothing is sent."""
    return moved(x, summed, unchanged)


def enter_shared(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return all tokens (b, s, ...) of x (b, s/t, h) times the rank's columns of each weight."""
    found: tuple[Tensor, ...] = _GatheredAndProjected.apply(x, *weights)
    return found


def leave_shared(x: Tensor) -> Tensor:
    """Return the rank's tokens (b, s/t, h) of the sum over ranks of x (b, s, h): the paper's ḡ."""
    return moved(x, partial(reduced, dim=TOKENS), partial(gathered, dim=TOKENS))


class _GatheredAndProjected(torch.autograd.Function):
    """The paper's g with what reads it: keeps the rank's tokens alone, and gathers them again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *weights)
        return projected(gathered(x, TOKENS), *weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, *weights = ctx.saved_tensors
        rows = gathered(x, TOKENS).flatten(0, 1)  # bs, h
        of_weights = [gradient.flatten(0, 1).T @ rows for gradient in gradients]
        of_whole = torch.stack([g @ w for g, w in zip(gradients, weights, strict=True)]).sum(0)
        return reduced(of_whole, TOKENS), *of_weights
