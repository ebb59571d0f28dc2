"""Tensors that ranks share along a dimension, each with an equal part in the order of ranks."""

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.collectives import all_gather_single, reduce_scatter_single

Move = Callable[[Tensor], Tensor]


def summed(x: Tensor) -> Tensor:
    """Return the sum of every rank's x."""
    whole = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(whole)
    return whole


def gathered(x: Tensor, dim: int) -> Tensor:
    """Return the whole tensor of which x is the rank's part along the dimension."""
    world = dist.get_world_size()
    parts = x.new_empty(world * x.shape[0], *x.shape[1:])  # as Gloo wants it
    all_gather_single(parts, x.contiguous())
    return parts.unflatten(0, (world, -1)).movedim(0, dim).flatten(dim, dim + 1)


def reduced(x: Tensor, dim: int) -> Tensor:
    """Return the rank's part, along the dimension, of the sum of every rank's x."""
    parts = x.unflatten(dim, (dist.get_world_size(), -1)).movedim(dim, 0).contiguous()
    own = torch.empty_like(parts[0])
    reduce_scatter_single(own, parts.flatten(0, 1))
    return own


def exchanged(x: Tensor, scattered: int, gathered: int) -> Tensor:
    """Return x with one dimension divided among the ranks and another put together from them."""
    parts = torch.stack(x.chunk(dist.get_world_size(), scattered))
    found = torch.empty_like(parts)
    dist.all_to_all_single(found, parts)
    return torch.cat(found.unbind(), gathered)


def moved(x: Tensor, there: Move, back: Move) -> Tensor:
    """Return `there` of x; its gradient goes through `back`."""
    found: Tensor = _Moved.apply(x, there, back)
    return found


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, there: Move, back: Move) -> Tensor:
        ctx.back = back
        return there(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return ctx.back(gradients[0]), None, None
