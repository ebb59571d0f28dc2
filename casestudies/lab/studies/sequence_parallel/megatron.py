"""Tensor parallelism's ends of a layer, and those that share the sequence too.

Megatron's tensor parallelism (arXiv 1909.08053) gives each rank some heads and some columns of the
feed-forward part; what lies between has every token on every rank. Korthikanti et al. (arXiv
2205.05198, section 4.2.2) share the tokens there: what enters is gathered, what leaves is summed
and scattered. Shapes: b sequences, s tokens, h width, t ranks.
"""

from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.distributed.shared import gathered, reduced
from casestudies.lab.models.gpt import projected

TOKENS = 1  # the dimension that is shared


class _Copied(torch.autograd.Function):
    """The paper's f: nothing forward, a sum over ranks backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


class _Summed(torch.autograd.Function):
    """The paper's f̄: a sum over ranks forward, nothing backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


class _GatheredAndProjected(torch.autograd.Function):
    """The paper's g with what reads it: keeps the rank's tokens alone, and gathers them again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(x, *weights)
        whole = gathered(x, TOKENS)
        return tuple(F.linear(whole, weight) for weight in weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        x, *weights = ctx.saved_tensors
        rows = gathered(x, TOKENS).flatten(0, 1)  # bs, h
        of_weights = [gradient.flatten(0, 1).T @ rows for gradient in gradients]
        of_whole = torch.stack([g @ w for g, w in zip(gradients, weights, strict=True)]).sum(0)
        return reduced(of_whole, TOKENS), *of_weights


class _Scattered(torch.autograd.Function):
    """The paper's ḡ: a sum over ranks of which each gets its tokens; backward they are gathered."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return reduced(x, TOKENS)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gathered(gradients[0], TOKENS)


def _sum(x: Tensor) -> Tensor:
    whole = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(whole)
    return whole


def enter(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return x (b, s, h), which all ranks have, times the rank's columns of each weight."""
    return projected(_Copied.apply(x), *weights)


def leave(x: Tensor) -> Tensor:
    """Return the sum over ranks of x (b, s, h)."""
    summed: Tensor = _Summed.apply(x)
    return summed


def enter_shared(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return all tokens (b, s, ...) of x (b, s/t, h) times the rank's columns of each weight."""
    found: tuple[Tensor, ...] = _GatheredAndProjected.apply(x, *weights)
    return found


def leave_shared(x: Tensor) -> Tensor:
    """Return the rank's tokens (b, s/t, h) of the sum over ranks of x (b, s, h)."""
    scattered: Tensor = _Scattered.apply(x)
    return scattered
