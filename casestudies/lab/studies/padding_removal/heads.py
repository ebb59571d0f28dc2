"""Attention of BERT's heads over texts of different lengths, which see each other's every token.

Shapes in comments: B texts, S tokens of the longest, N of all, H heads, D head width.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models import packed
from casestudies.lab.models.packed import Packing


def by_definition(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return attention (B, H, S, D) with every score held, padding (B, S) masked out of them."""
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    return scores.masked_fill(~mask[:, None, None], -torch.inf).softmax(-1) @ value


def fused(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Return the same by PyTorch's fused kernel."""
    return F.scaled_dot_product_attention(query, key, value, mask[:, None, None])


class Call(NamedTuple):
    """Attention of heads that are bound to it, and what makes a row (N, H, D) of its output."""

    attend: Callable[[], Tensor]
    row: Callable[[Tensor], Tensor]


def calls(packing: Packing, padded: Tensor) -> dict[str, Call]:
    """Return attention of queries, keys and values (3, B, S, H, D) by each variant.

    Each reads its inputs as the linear layers before it would leave them: padded or in a row.
    """
    query, key, value = padded.transpose(2, 3)  # each B, H, S, D
    in_a_row = [packing.pack(part).transpose(0, 1)[None] for part in padded]  # each 1, H, N, D
    by_length = packed.variable_length(packing, causal=False)

    def packed_again(output: Tensor) -> Tensor:
        return packing.pack(output.transpose(1, 2))

    return {
        "definition": Call(lambda: by_definition(query, key, value, packing.mask), packed_again),
        "padded": Call(lambda: fused(query, key, value, packing.mask), packed_again),
        "varlen": Call(lambda: by_length(*in_a_row), lambda output: output[0].transpose(0, 1)),
    }
