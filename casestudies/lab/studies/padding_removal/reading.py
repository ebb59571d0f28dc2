"""A batch read with its padding and without: the same at every token, and what each takes.

Shapes in comments: B texts, S tokens of the longest, N of all, C width.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from casestudies.lab.equations.operations import forward_operations_of_lengths
from casestudies.lab.models import packed
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Block, LanguageModel, Place
from casestudies.lab.models.packed import Packing


@dataclass(frozen=True)
class Batch:
    """Some of the texts: which they are, their tokens padded (B, S), and how these are packed.

    `padding` is the token that they are padded with, which stands in none of the texts.
    """

    which: tuple[int, ...]
    tokens: Tensor
    packing: Packing
    padding: int


# Returns what the head reads of each token of a batch (N, C), text by text.
Way = Callable[[Batch], Tensor]


def batches(texts: Sequence[Tensor], order: Sequence[int], size: int) -> list[Batch]:
    """Return the texts (each T), in this order, so many in a batch."""
    used = {token for text in texts for token in text.tolist()}
    padding = next(token for token in itertools.count() if token not in used)
    groups = [tuple(order[first : first + size]) for first in range(0, len(order), size)]
    return [
        Batch(
            group,
            torch.nn.utils.rnn.pad_sequence([texts[i] for i in group], True, padding),
            Packing([len(texts[i]) for i in group], texts[0].device),
            padding,
        )
        for group in groups
    ]


def by_length(lengths: Sequence[int], pool: int) -> list[int]:
    """Return the order in which texts are read when so many at a time are sorted by length."""
    return [
        text
        for first in range(0, len(lengths), pool)
        for text in sorted(range(first, min(first + pool, len(lengths))), key=lengths.__getitem__)
    ]


def slots(lengths: Sequence[int], size: int) -> int:
    """Return the slots of padded batches of so many texts of these lengths, one after another."""
    groups = (lengths[first : first + size] for first in range(0, len(lengths), size))
    return sum(len(group) * max(group) for group in groups)


class Reader:
    """A model that reads batches in several ways; or its first blocks, as many as are said."""

    def __init__(self, model: LanguageModel, layers: int | None = None) -> None:
        self._model = model
        self.blocks = list(cast(Sequence[Block], model.blocks))[:layers]

    @property
    def parameters(self) -> int:
        """Return the weights of the blocks' linear layers."""
        linears = (linear for block in self.blocks for linear in block.linears().values())
        return sum(linear.weight.numel() for linear in linears)

    def entries(self, counted: "Counted") -> int:
        """Return the scores that a head of each block made, in reads that were counted.

        Raises RuntimeError where the operations are not those of the equation.
        """
        layers, entries = len(self.blocks), counted.entries // len(self.blocks)
        expected = forward_operations_of_lengths(
            parameters=self.parameters,
            tokens=counted.tokens,
            layers=layers,
            hidden=self._model.config.width,
            entries=entries,
        )
        if counted.operations != expected:
            raise RuntimeError(f"{counted.operations} operations counted, {expected} by equation")
        return entries

    def padded(self, batch: Batch) -> Tensor:
        """Read every slot. Padding stands behind each text, where causal attention never looks."""
        hidden = self._model.embedding(batch.tokens)
        place = self.blocks[0].place(hidden)
        for block in self.blocks:
            hidden = block(hidden, place)
        return cast(Tensor, self._model.norm(batch.packing.pack(hidden)))

    def unpacked(self, batch: Batch) -> Tensor:
        """Read tokens alone, unpacked for attention: ByteTransformer's first step."""
        return self._row(batch, packed.unpacked(batch.packing))

    def variable(self, batch: Batch) -> Tensor:
        """Read tokens alone, with attention over each text as long as it is: its second step."""
        return self._row(batch, packed.variable_length(batch.packing))

    @torch.inference_mode()
    def surprise(self, hidden: Tensor, batch: Batch) -> list[Tensor]:
        """Return the negative log-likelihood of each text's tokens but the first, in nats.

        The head reads tokens alone, whatever the blocks read.
        """
        row = batch.packing.pack(batch.tokens)
        follows = batch.packing.positions[1:] > 0
        logits = self._model.logits(hidden[:-1][follows])
        nats = F.cross_entropy(logits.float(), row[1:][follows], reduction="none")
        return list(nats.split([length - 1 for length in batch.packing.lengths]))

    @contextmanager
    def poisoned(self, token: int) -> Iterator[None]:
        """Make this token's embedding not a number for a while."""
        weight = self._model.embedding.weight.data
        before = weight[token].clone()
        weight[token] = torch.nan
        try:
            yield
        finally:
            weight[token] = before

    def _row(self, batch: Batch, by: Attention) -> Tensor:
        packing, config = batch.packing, self._model.config
        hidden = self._model.embedding(packing.pack(batch.tokens)[None])  # 1, N, C
        place = Place.at(packing.positions, hidden, config.width // config.heads, config.rope_base)
        with attending(self.blocks, by):
            for block in self.blocks:
                hidden = block(hidden, place)
        return cast(Tensor, self._model.norm(hidden[0]))


@contextmanager
def attending(blocks: Sequence[Block], by: Attention) -> Iterator[None]:
    """Make the blocks compute attention so for a while."""
    before = [block.attention for block in blocks]
    for block in blocks:
        block.attention = by
    try:
        yield
    finally:
        for block, attention in zip(blocks, before, strict=True):
            block.attention = attention


class Counted(TorchFunctionMode):
    """Counts, as they are called, what linear layers and attention read within it.

    `operations` are of all matrix products, a multiplication and an addition counted as two;
    `entries` the scores of one head, in all calls of attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.entries = 0
        self._rows = Counter[int]()

    @property
    def tokens(self) -> int:
        """Return how many tokens each linear layer read; raise RuntimeError where they differ."""
        if len(set(self._rows.values())) != 1:
            raise RuntimeError("linear layers read different numbers of tokens")
        return next(iter(self._rows.values()))

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Count the call and pass it on."""
        if func is F.linear:
            x, weight = args[:2]
            rows = x.numel() // x.shape[-1]
            self._rows[weight.data_ptr()] += rows
            self.operations += 2 * rows * weight.numel()
        elif func is F.scaled_dot_product_attention:
            query, key = args[:2]
            sequences, heads, queries, width = query.shape
            entries = sequences * queries * key.shape[-2]
            self.entries += entries
            self.operations += 4 * heads * width * entries
        return func(*args, **(kwargs or {}))
