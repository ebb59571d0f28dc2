"""The cache of a layer over several devices: by heads, or by sequences where one head is shared.

Pope et al. (2022), section 3.3: with a key-value head for each query head, devices take heads; more
devices hold less each. One shared head cannot be divided so: each device would hold all of it.
Divided by sequences, each holds its part again, of which there is less by the number of heads.

Shapes in comments: B sequences, H heads, T tokens, D head width, N ranks; C = H D.
"""

from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.shared import exchanged
from casestudies.lab.models import attention
from casestudies.lab.studies.attention_approximation.claims import (
    BY_BATCH,
    BY_HEADS,
    SPLIT_HEADS,
    SPLIT_SHARED_WIDTH,
    SPLIT_WIDTH,
)

SEQUENCES, TOKENS = 4, 8


class Share(NamedTuple):
    """What a rank holds for each token of all sequences, and how far its output is off."""

    bytes_per_token: float
    error: float  # largest difference from one process


class Weights(NamedTuple):
    """One layer's projections; of keys and values all heads or the shared one."""

    query: Tensor  # C, H D
    key: Tensor
    value: Tensor
    output: Tensor  # H D, C


def on_rank(seed: int) -> dict[str, Share]:
    """Return by variant what this rank of the default group holds; work of `on_ranks`."""
    generator = torch.Generator().manual_seed(seed)
    width = SPLIT_HEADS * SPLIT_WIDTH
    x = torch.randn(SEQUENCES, TOKENS, width, generator=generator)

    def weights(heads: int, head_width: int) -> Weights:
        def drawn(rows: int, columns: int) -> Tensor:
            return torch.randn(rows, columns, generator=generator) / rows**0.5

        queries, keys = SPLIT_HEADS * head_width, heads * head_width
        return Weights(
            drawn(width, queries), drawn(width, keys), drawn(width, keys), drawn(queries, width)
        )

    many, shared = weights(SPLIT_HEADS, SPLIT_WIDTH), weights(1, SPLIT_SHARED_WIDTH)
    with torch.inference_mode():
        return {
            BY_HEADS: _share(by_heads(x, many), alone(x, many, SPLIT_WIDTH)),
            BY_BATCH: _share(by_batch(x, shared), alone(x, shared, SPLIT_SHARED_WIDTH)),
        }


def alone(x: Tensor, w: Weights, head_width: int) -> Tensor:
    """Return the layer's output (B, T, C) as one process computes it."""
    q, k, v = (_heads(x @ weight, head_width) for weight in w[:3])
    return _flat(attention.naive(q, k, v)) @ w.output


def by_heads(x: Tensor, w: Weights) -> tuple[Tensor, int]:
    """Return the output and the bytes kept: each rank has the keys and values of H / N heads."""
    mine = dist.get_rank(), dist.get_world_size()
    q, k, v = (_heads(x @ _part(weight, 1, *mine), SPLIT_WIDTH) for weight in w[:3])
    out = _flat(attention.naive(q, k, v)) @ _part(w.output, 0, *mine)
    dist.all_reduce(out)
    return out, k.nbytes + v.nbytes


def by_batch(x: Tensor, w: Weights) -> tuple[Tensor, int]:
    """Return the output and the bytes kept: each rank has the shared head of B / N sequences.

    Queries are computed by heads, exchanged so that each rank has all heads of its sequences, and
    what they found is exchanged back.
    """
    rank, world = mine = dist.get_rank(), dist.get_world_size()
    k, v = (
        _heads(x.chunk(world)[rank] @ weight, SPLIT_SHARED_WIDTH) for weight in (w.key, w.value)
    )
    q = _heads(x @ _part(w.query, 1, *mine), SPLIT_SHARED_WIDTH)  # B, H / N, T, D
    found = attention.naive(exchanged(q, 0, 1), k, v)  # B / N, H, T, D
    out = _flat(exchanged(found, 1, 0)) @ _part(w.output, 0, *mine)
    dist.all_reduce(out)
    return out, k.nbytes + v.nbytes


def _part(weight: Tensor, dim: int, rank: int, world: int) -> Tensor:
    return weight.chunk(world, dim)[rank]


def _heads(x: Tensor, head_width: int) -> Tensor:
    return x.unflatten(-1, (-1, head_width)).transpose(1, 2)


def _flat(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


def _share(found: tuple[Tensor, int], expected: Tensor) -> Share:
    out, held = found
    return Share(held / (SEQUENCES * TOKENS), (out - expected).abs().max().item())
