"""A batch read with its padding and without: the same at every token, and what each takes.

Shapes in comments: B texts, S tokens of the longest, N of all, C width.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

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
    """Some of the texts: which they are, their tokens padded (B, S), and how these are packed."""

    which: tuple[int, ...]
    tokens: Tensor
    packing: Packing


# Returns what the head reads of each token of a batch (N, C), text by text.
Way = Callable[[Batch], Tensor]


class Reading(NamedTuple):
    """How texts are read: the way, the batches one after another, and what reads their padding."""

    way: Way
    batches: list[Batch]
    linear_pads: bool = False
    attention_pads: bool = False

    @property
    def tokens(self) -> int:
        """Return the tokens and padding that each linear layer must read, by the lengths."""
        return sum(sum(_sides(batch, self.linear_pads)) for batch in self.batches)

    @property
    def scores(self) -> int:
        """Return the scores that a head of each block must make, by the lengths."""
        sides = (side for batch in self.batches for side in _sides(batch, self.attention_pads))
        return sum(side**2 for side in sides)


def _sides(batch: Batch, padded: bool) -> list[int]:
    lengths = batch.packing.lengths
    return [batch.packing.longest] * len(lengths) if padded else lengths


def batches(texts: Sequence[Tensor], order: Sequence[int], size: int) -> list[Batch]:
    """Return the texts (each T), in this order, so many in a batch."""
    groups = [tuple(order[first : first + size]) for first in range(0, len(order), size)]
    return [
        Batch(
            group,
            torch.nn.utils.rnn.pad_sequence([texts[i] for i in group], batch_first=True),
            Packing([len(texts[i]) for i in group], texts[0].device),
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


def stratified(count: int, longest: int, fill: float, generator: torch.Generator) -> list[int]:
    """Return so many lengths, in any order, whose mean is about this part of the longest.

    They are longest · u^(1/fill - 1) at even distances of u, so that one half gives all lengths
    alike, less than that many short texts, and 1 texts of one length. One is the longest, which
    makes few texts fuller than was asked for.
    """
    u = (torch.arange(count) + 0.5) / count
    lengths = (longest * u ** (1 / fill - 1)).round().clamp(min=2)
    lengths[-1] = longest
    drawn: list[int] = lengths[torch.randperm(count, generator=generator)].int().tolist()
    return drawn


def percent(lengths: Sequence[int]) -> int:
    """Return the mean of the lengths as a share of the longest, in per cent."""
    return round(100 * sum(lengths) / len(lengths) / max(lengths))


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

    def hold(self, counted: "Counted", tokens: int, scores: int) -> None:
        """Raise RuntimeError where a read was counted that these numbers do not say."""
        layers = len(self.blocks)
        operations = forward_operations_of_lengths(
            parameters=self.parameters,
            tokens=tokens,
            layers=layers,
            hidden=self._model.config.width,
            entries=scores,
        )
        found = counted.tokens, counted.scores, counted.operations
        if found != (tokens, layers * scores, operations):
            expected = f"{tokens}, {layers * scores} and {operations} by the lengths"
            raise RuntimeError(f"{found} tokens, scores and operations counted, {expected}")

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
    `scores` those of one head, in all calls of attention.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.scores = 0
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
            scores = sequences * queries * key.shape[-2]
            self.scores += scores
            self.operations += 4 * heads * width * scores
        return func(*args, **(kwargs or {}))
