"""Transformer blocks of published shapes with random weights, and how their parts are computed.

Time depends on shapes alone, so no weights are read. Shapes in comments: N tokens of all texts, T
of each, C width, H heads, D width of a head.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.quantize.int8 import Int8

EPSILON = 1e-5  # of norms; BERT's is smaller, which takes as long


@dataclass(frozen=True)
class Shape:
    """So many blocks. A decoder's attention looks back alone, and its norms come before its parts.

    An encoder's looks both ways, and its norms come after the sums. Inside the feed-forward part,
    four times as wide, is ReLU or else GELU by tanh.
    """

    layers: int
    width: int
    heads: int
    decoder: bool
    relu: bool = False


class Linear(NamedTuple):
    """A linear layer's weight (rows, columns) and bias (rows)."""

    weight: Tensor
    bias: Tensor


class Int8Linear(NamedTuple):
    """A linear layer in int8, one scale a row; `step` (1) is that of what it reads, if known."""

    weight: Int8
    bias: Tensor
    step: Tensor | None


Read = TypeVar("Read", bound=Tensor | Int8)  # tokens as a product reads them
Reader = TypeVar("Reader", bound=Linear | Int8Linear)
Other = TypeVar("Other", bound=Linear | Int8Linear)
Norm = tuple[Tensor, Tensor]  # weight and bias (C)


@dataclass(frozen=True)
class Layer(Generic[Reader]):
    """A block's linear layers and norms; queries, keys and values are of three layers or of one."""

    projections: tuple[Reader, ...]
    out: Reader
    up: Reader
    down: Reader
    attention_norm: Norm
    feed_norm: Norm

    def mapped(self, change: Callable[[Reader], Other]) -> "Layer[Other]":
        """Return the block of which each linear layer is what `change` makes of it."""
        return Layer(
            tuple(map(change, self.projections)),
            change(self.out),
            change(self.up),
            change(self.down),
            self.attention_norm,
            self.feed_norm,
        )


class Engine(ABC, Generic[Read, Reader]):
    """What computes the parts of blocks of a shape, over texts of so many tokens (T)."""

    def __init__(self, shape: Shape, length: int) -> None:
        self.shape, self.length = shape, length

    @abstractmethod
    def read(self, x: Tensor, reader: Reader) -> Read:
        """Return x (N, columns) as the layer reads it."""

    @abstractmethod
    def normed(
        self, x: Tensor, added: Tensor | None, norm: Norm, reader: Reader
    ) -> tuple[Read, Tensor]:
        """Return the norm of x + added (N, C) as the layer reads it, and what the next sum adds to.

        That is the sum in a decoder, and its norm in an encoder.
        """

    @abstractmethod
    def product(self, read: Read, linear: Reader) -> Tensor:
        """Return what the layer makes of what it reads (N, rows)."""

    @abstractmethod
    def attended(self, read: Read, projections: tuple[Reader, ...]) -> Tensor:
        """Return what the heads make (N, C) of queries, keys and values."""

    @abstractmethod
    def widened(self, read: Read, up: Reader, down: Reader) -> Read:
        """Return the inside of the feed-forward part (N, 4 C) as `down` reads it."""

    def attention(self, read: Read, layer: Layer[Reader]) -> Tensor:
        """Return the first part of a block (N, C)."""
        mixed = self.attended(read, layer.projections)
        return self.product(self.read(mixed, layer.out), layer.out)

    def feed(self, read: Read, layer: Layer[Reader]) -> Tensor:
        """Return the second part of a block (N, C)."""
        return self.product(self.widened(read, layer.up, layer.down), layer.down)

    def passed(self, layers: Sequence[Layer[Reader]], x: Tensor) -> Tensor:
        """Return what the blocks make of x (N, C)."""
        return (self._decoded if self.shape.decoder else self._encoded)(layers, x)

    def _decoded(self, layers: Sequence[Layer[Reader]], x: Tensor) -> Tensor:
        added = None
        for layer in layers:
            read, x = self.normed(x, added, layer.attention_norm, layer.projections[0])
            read, x = self.normed(x, self.attention(read, layer), layer.feed_norm, layer.up)
            added = self.feed(read, layer)
        return x if added is None else x + added

    def _encoded(self, layers: Sequence[Layer[Reader]], x: Tensor) -> Tensor:
        read = self.read(x, layers[0].projections[0])
        # Nothing reads what the last one makes: it is made as for another.
        for layer, after in zip(layers, (*layers[1:], layers[-1]), strict=True):
            read, x = self.normed(x, self.attention(read, layer), layer.attention_norm, layer.up)
            read, x = self.normed(x, self.feed(read, layer), layer.feed_norm, after.projections[0])
        return x


class Eager(Engine[Tensor, Linear]):
    """One operator of PyTorch after another, attention by its definition, nothing fused."""

    def __init__(self, shape: Shape, length: int, device: str) -> None:
        super().__init__(shape, length)
        hidden = torch.ones(length, length, dtype=torch.bool, device=device).triu(1)
        self.hidden = hidden if shape.decoder else None  # T, T

    def read(self, x: Tensor, reader: Linear) -> Tensor:
        """Return x."""
        return x

    def normed(
        self, x: Tensor, added: Tensor | None, norm: Norm, reader: Linear
    ) -> tuple[Tensor, Tensor]:
        """Return the norm of the sum, and what the next sum adds to."""
        total = x if added is None else x + added
        y = F.layer_norm(total, total.shape[-1:], *norm, eps=EPSILON)
        return y, total if self.shape.decoder else y

    def product(self, read: Tensor, linear: Linear) -> Tensor:
        """Return what the layer makes."""
        return F.linear(read, *linear)

    def attended(self, read: Tensor, projections: tuple[Linear, ...]) -> Tensor:
        """Return the values weighed by every score of the queries and keys, each held at once."""
        width = self.shape.width // self.shape.heads
        q, k, v = (
            self.product(read, linear).view(-1, self.length, self.shape.heads, width)
            for linear in projections
        )
        scores = q.transpose(1, 2) @ k.permute(0, 2, 3, 1) / width**0.5  # texts, H, T, T
        if self.hidden is not None:
            scores = scores.masked_fill(self.hidden, -torch.inf)
        mixed = scores.softmax(-1) @ v.transpose(1, 2)
        return mixed.transpose(1, 2).reshape(read.shape)

    def widened(self, read: Tensor, up: Linear, down: Linear) -> Tensor:
        """Return ReLU or GELU of what `up` makes."""
        y = self.product(read, up)
        return y.relu() if self.shape.relu else F.gelu(y, approximate="tanh")


def drawn(
    shape: Shape, generator: torch.Generator, dtype: torch.dtype = torch.float16
) -> list[Layer[Linear]]:
    """Return blocks with random weights, query, key and value as one layer, where the generator is.

    Products keep the size of what they read.
    """

    def normal(*size: int) -> Tensor:
        return torch.randn(size, generator=generator, device=generator.device, dtype=dtype)

    def linear(rows: int, columns: int) -> Linear:
        return Linear(normal(rows, columns).mul_(columns**-0.5), normal(rows) / 8)

    def norm() -> Norm:
        return 1 + normal(shape.width) / 8, normal(shape.width) / 8

    c = shape.width
    return [
        Layer((linear(3 * c, c),), linear(c, c), linear(4 * c, c), linear(c, 4 * c), norm(), norm())
        for _ in range(shape.layers)
    ]


def apart(joined: Linear) -> tuple[Linear, ...]:
    """Return query, key and value of the layer that makes them all, in the same memory."""
    return tuple(map(Linear, joined.weight.chunk(3), joined.bias.chunk(3)))
