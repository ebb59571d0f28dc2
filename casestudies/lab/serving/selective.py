"""One pass of a model over pieces of several texts: Orca's selective batching.

All that treats tokens one by one (embedding, norms, linear layers) reads the pieces as one row of
tokens without padding; only attention goes from piece to piece, each with a cache of its own (Yu et
al., 2022). A piece is a prompt, a part of one, or the last token of a text.

Shapes in comments: N tokens of all pieces, P pieces, H heads, K key-value heads, D head width.
"""

from collections.abc import Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar, cast

import torch
from torch import Tensor

from casestudies.lab.models import attention
from casestudies.lab.models.language_model import (
    Block,
    Cache,
    Config,
    LanguageModel,
    Place,
)

C = TypeVar("C", bound=Cache)


class Piece(NamedTuple, Generic[C]):
    """Tokens (T) that follow what the cache of their text holds."""

    tokens: Tensor
    cache: C


@torch.inference_mode()
def read(model: LanguageModel, pieces: Sequence[Piece]) -> Tensor:
    """Return the logits (P, vocabulary) after each piece; the caches hold the pieces then."""
    row = _Row(pieces, [len(piece.tokens) for piece in pieces])
    hidden = model.embedding(torch.cat([piece.tokens for piece in pieces])[None])
    place = row.place(model.config, hidden)
    for layer, block in enumerate(cast(Sequence[Block], model.blocks)):
        whole, block.attention = block.attention, partial(row.attend, layer)
        try:
            hidden = block(hidden, place)
        finally:
            block.attention = whole
    for piece in pieces:
        piece.cache.advance(len(piece.tokens))
    ends = torch.tensor(row.sizes, device=hidden.device).cumsum(0) - 1
    return model.logits(model.norm(hidden[0, ends]))


class _Row(NamedTuple):
    """The pieces one after another, and how many tokens each has."""

    pieces: Sequence[Piece]
    sizes: list[int]

    def place(self, config: Config, hidden: Tensor) -> Place:
        """Return where the tokens of the hidden states (1, N, C) stand in their texts."""
        firsts = [piece.cache.length for piece in self.pieces]
        spans = [(first, first + size) for first, size in zip(firsts, self.sizes, strict=True)]
        at = torch.cat([torch.arange(*span, device=hidden.device) for span in spans])
        return Place.at(at, hidden, config.width // config.heads, config.rope_base)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what attention mixes (1, H, N, D), each piece seeing its own text only."""
        own = zip(*(part.split(self.sizes, dim=2) for part in (query, key, value)), strict=True)
        mixed = [
            attention.stock(q, *piece.cache.extend(layer, k, v))
            for piece, (q, k, v) in zip(self.pieces, own, strict=True)
        ]
        return torch.cat(mixed, dim=2)
