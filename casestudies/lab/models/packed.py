"""Texts of different lengths as one row of tokens without padding, and attention over it.

Packing is ByteTransformer's (Zhai et al., 2022): a prefix sum over the lengths says where in the
row each token of the padded batch stands. What treats tokens one by one reads the row; attention
unpacks it, or goes over each text as long as it is. Shapes in comments: B texts, S tokens of the
longest, N of all, D head width.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention

KERNEL_TYPES = (torch.float16, torch.bfloat16)  # that PyTorch's varlen_attn computes in


class Packing:
    """Where the tokens of texts of these lengths stand in a row, and in a padded batch.

    `offsets` (B + 1) are where each text begins in the row and the last ends, `positions` (N) each
    token's place in its own text, `slots` (N) its place in the padded batch (B x S), `mask` (B, S)
    which of those hold a token. Raises ValueError where a text has no tokens, or there is no text.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device | str = "cpu") -> None:
        if not lengths or min(lengths) < 1:
            raise ValueError("each text needs a token")
        self.lengths, self.longest, self.tokens = list(lengths), max(lengths), sum(lengths)
        counts = torch.tensor(self.lengths, device=device)
        self.offsets = F.pad(counts.cumsum(0), (1, 0))
        texts = torch.arange(len(counts), device=device).repeat_interleave(counts)
        self.positions = torch.arange(self.tokens, device=device) - self.offsets[texts]
        self.slots = texts * self.longest + self.positions
        self.mask = torch.arange(self.longest, device=device) < counts[:, None]

    def pack(self, padded: Tensor) -> Tensor:
        """Return the tokens of a padded batch (B, S, ...) as a row (N, ...)."""
        return padded.flatten(0, 1)[self.slots]

    def unpack(self, row: Tensor) -> Tensor:
        """Return the row (N, ...) as a padded batch (B, S, ...) with zeros behind the texts.

        Memory must be cleared for it: what is hidden from attention gets the weight zero, and zero
        times what is no number is none.
        """
        padded = row.new_zeros(len(self.lengths), self.longest, *row.shape[1:])
        padded.flatten(0, 1)[self.slots] = row
        return padded


def unpacked(packing: Packing) -> Attention:
    """Return causal attention over a row (1, heads, N, D) that is unpacked for it.

    A later token is never looked at, so padding behind a text needs no mask.
    """

    def attend(*row: Tensor) -> Tensor:
        query, key, value = (
            packing.unpack(part[0].transpose(0, 1)).transpose(1, 2) for part in row
        )
        mixed = attention.stock(query, key, value)  # B, heads, S, D
        return packing.pack(mixed.transpose(1, 2)).transpose(0, 1)[None]

    return attend


def variable_length(packing: Packing, *, causal: bool = True) -> Attention:
    """Return attention over a row (1, heads, N, D), each text seeing itself alone.

    A GPU has a kernel for it in 16 bits; else PyTorch's fused kernel is called text by text.
    """

    def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        if query.is_cuda and query.dtype in KERNEL_TYPES:  # pragma: no cover - needs a GPU
            return _by_kernel(packing, causal, query, key, value)
        grouped = query.shape[1] != key.shape[1]
        each = zip(*(part.split(packing.lengths, 2) for part in (query, key, value)), strict=True)
        mixed = [
            F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
            for q, k, v in each
        ]
        return torch.cat(mixed, dim=2)

    return attend


def _by_kernel(
    packing: Packing, causal: bool, *row: Tensor
) -> Tensor:  # pragma: no cover - needs a GPU
    from torch.nn.attention import varlen  # takes seconds to load

    query, key, value = (part[0].transpose(0, 1) for part in row)  # N, heads, D
    offsets, longest = packing.offsets.int(), packing.longest
    mixed = varlen.varlen_attn(
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        window_size=(-1, 0 if causal else -1),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return cast(Tensor, mixed).transpose(0, 1)[None]
