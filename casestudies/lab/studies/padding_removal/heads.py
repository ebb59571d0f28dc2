"""Attention of BERT's heads over texts of different lengths, which see each other's every token.

Shapes in comments: B texts, S tokens of the longest, N of all, H heads, D head width.
"""

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models.packed import Packing


def stratified(count: int, longest: int, fill: float, generator: torch.Generator) -> list[int]:
    """Return so many lengths, in any order, whose mean is about this part of the longest.

    They are longest · u^(1/fill - 1) at even distances of u, so that one half gives all lengths
    alike, less than that many short texts, and 1 texts of one length. One is the longest.
    """
    u = (torch.arange(count) + 0.5) / count
    lengths = (longest * u ** (1 / fill - 1)).round().clamp(min=2)
    lengths[-1] = longest
    drawn: list[int] = lengths[torch.randperm(count, generator=generator)].int().tolist()
    return drawn


def by_definition(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return attention (B, H, S, D) with every score held, padding (B, S) masked out of them."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1) @ value


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return the same by PyTorch's fused kernel."""
    return F.scaled_dot_product_attention(query, key, value, mask[:, None, None])


def nested(query: Tensor, key: Tensor, value: Tensor, packing: Packing) -> Tensor:
    """Return attention over rows (1, H, N, D) by PyTorch's nested tensors of a jagged layout.

    On a CPU PyTorch 2.13 has no causal attention of them, and none of grouped heads.
    """
    q, k, v = (_jagged(part[0].transpose(0, 1), packing) for part in (query, key, value))
    with warnings.catch_warnings():  # its way on a CPU is another layout, which is a prototype
        warnings.simplefilter("ignore", UserWarning)
        mixed = F.scaled_dot_product_attention(q, k, v)
    return mixed.transpose(1, 2).values().transpose(0, 1)[None]


def _jagged(row: Tensor, packing: Packing) -> Tensor:
    """Return a row (N, H, D) as a nested tensor (B, H, jagged, D)."""
    shortest, longest = min(packing.lengths), packing.longest
    return torch.nested.nested_tensor_from_jagged(
        row.contiguous(), packing.offsets, min_seqlen=shortest, max_seqlen=longest
    ).transpose(1, 2)
