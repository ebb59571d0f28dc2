"""Adapters: a few numbers for each linear layer, which make one model answer for another task.

Each kind can be added beside the layers' products, for several texts at once and to each its own,
or merged into the weights. An adapter is one row of numbers, one layer's after another's, so that
adapters of all kinds can share one memory.

Shapes in comments: R texts, T tokens of each, k numbers into a layer, d out of it, r the rank.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel

STRENGTH = 0.5  # of what a drawn adapter adds, where the layer's input is about 1
LEFT_ALONE = 256  # weights for each one that a sparse adapter changes

# What an adapter holds for one layer, each part with the texts first, if there are several.
Parts = tuple[Tensor, ...]


class Size(NamedTuple):
    """Numbers out of a linear layer and into it."""

    d: int
    k: int


class Kind(Protocol):
    """A kind of adapter: what it holds for a layer, and the two ways to apply that."""

    def numbers(self, size: Size) -> int:
        """Return how many numbers it holds for a layer."""
        ...

    def drawn(self, size: Size, generator: torch.Generator) -> Tensor:
        """Return such numbers at random."""
        ...

    def parts(self, own: Tensor, size: Size) -> Parts:
        """Return the numbers (..., numbers) as what the other two functions take."""
        ...

    def add(self, y: Tensor, x: Tensor, parts: Parts) -> None:
        """Add to y (R, T, d) what the adapters of R texts make of x (R, T, k)."""
        ...

    def merge(self, weight: Tensor, parts: Parts, into: Tensor) -> Tensor | None:
        """Write the weight (d, k) with one adapter into another; return a bias (d), if any."""
        ...


@dataclass(frozen=True)
class LowRank:
    """LoRA (Hu et al., 2021, equation 3): W x + B A x, the scale alpha / r being in B."""

    rank: int

    def numbers(self, size: Size) -> int:
        """Return the numbers of A (r, k) and B (d, r)."""
        return self.rank * (size.k + size.d)

    def drawn(self, size: Size, generator: torch.Generator) -> Tensor:
        """Return A and B such that B A x is about STRENGTH where x is about 1."""
        a = torch.randn(self.rank * size.k, generator=generator) * size.k**-0.5
        b = torch.randn(self.rank * size.d, generator=generator) * STRENGTH * self.rank**-0.5
        return torch.cat((a, b))

    def parts(self, own: Tensor, size: Size) -> Parts:
        """Return A (..., r, k), and B with its axes exchanged (..., r, d)."""
        a, b = own.split((self.rank * size.k, self.rank * size.d), dim=-1)
        return a.unflatten(-1, (self.rank, size.k)), b.unflatten(-1, (self.rank, size.d))

    def add(self, y: Tensor, x: Tensor, parts: Parts) -> None:
        """Add two batched products, each text with its own A and B (Punica's BGMV)."""
        a, b = parts
        y.baddbmm_(x.bmm(a.mT), b)

    def merge(self, weight: Tensor, parts: Parts, into: Tensor) -> None:
        """Write W + B A (section 4.1)."""
        a, b = parts
        torch.addmm(weight, b.mT, a, out=into)


@dataclass(frozen=True)
class Bias:
    """BitFit (Ben Zaken et al., 2021): a bias for each layer, which has none by itself."""

    def numbers(self, size: Size) -> int:
        """Return the numbers out of the layer."""
        return size.d

    def drawn(self, size: Size, generator: torch.Generator) -> Tensor:
        """Return a bias of about STRENGTH."""
        return STRENGTH * torch.randn(size.d, generator=generator)

    def parts(self, own: Tensor, size: Size) -> Parts:
        """Return the bias (..., d)."""
        return (own,)

    def add(self, y: Tensor, x: Tensor, parts: Parts) -> None:
        """Add each text's bias to all of its tokens."""
        y.add_(parts[0][:, None])

    def merge(self, weight: Tensor, parts: Parts, into: Tensor) -> Tensor:
        """Write W, and return the bias."""
        into.copy_(weight)
        return parts[0]


@dataclass(frozen=True)
class Sparse:
    """Diff pruning (Guo et al., 2020): a few weights of each layer are changed.

    Rows and columns of the m changed weights are kept as integers, bit by bit among the numbers.
    """

    def changed(self, size: Size) -> int:
        """Return m, how many of a layer's weights are changed."""
        return max(1, size.d * size.k // LEFT_ALONE)

    def numbers(self, size: Size) -> int:
        """Return three for each changed weight: its row, its column, and the change."""
        return 3 * self.changed(size)

    def drawn(self, size: Size, generator: torch.Generator) -> Tensor:
        """Return changes anywhere, such that what they add is about STRENGTH where x is about 1."""
        m = self.changed(size)
        rows, columns = (
            torch.randint(most, (m,), generator=generator, dtype=torch.int32) for most in size
        )
        values = torch.randn(m, generator=generator) * STRENGTH * (size.d / m) ** 0.5
        return torch.cat((rows.view(torch.float32), columns.view(torch.float32), values))

    def parts(self, own: Tensor, size: Size) -> Parts:
        """Return rows, columns and changes, each (..., m)."""
        rows, columns, values = own.split(self.changed(size), dim=-1)
        return rows.view(torch.int32).long(), columns.view(torch.int32).long(), values

    def add(self, y: Tensor, x: Tensor, parts: Parts) -> None:
        """Gather the inputs of the changed weights, and add each product to its output."""
        rows, columns, values = (part[:, None] for part in parts)
        tokens = -1, x.shape[1], -1
        y.scatter_add_(2, rows.expand(tokens), x.gather(2, columns.expand(tokens)) * values)

    def merge(self, weight: Tensor, parts: Parts, into: Tensor) -> None:
        """Write W with its changes."""
        rows, columns, values = parts
        into.copy_(weight).index_put_((rows, columns), values, accumulate=True)


@dataclass(frozen=True, eq=False)
class Adapter:
    """The numbers of one task's adapter, in the memory beside the processor."""

    kind: Kind
    numbers: Tensor


def sizes_of(model: LanguageModel) -> list[Size]:
    """Return the sizes of the linear layers of all blocks, in their order."""
    return [Size(*linear.weight.shape) for linear in model.linears().values()]


def drawn(kind: Kind, sizes: Sequence[Size], generator: torch.Generator) -> Adapter:
    """Return an adapter of layers of these sizes, at random."""
    return Adapter(kind, torch.cat([kind.drawn(size, generator) for size in sizes]))


def by_layer(kind: Kind, sizes: Sequence[Size], held: Tensor) -> list[Parts]:
    """Return the parts of each layer of adapters that are rows of numbers (..., numbers)."""
    counts = [kind.numbers(size) for size in sizes]
    rows = held[..., : sum(counts)].split(counts, dim=-1)
    return [kind.parts(own, size) for own, size in zip(rows, sizes, strict=True)]


@torch.no_grad()
def merge(model: LanguageModel, adapter: Adapter, into: LanguageModel) -> None:
    """Make a copy of the model what the model with the adapter is, whatever it was before."""
    held = adapter.numbers.to(model.embedding.weight.device)
    parts = by_layer(adapter.kind, sizes_of(model), held)
    layers = zip(model.linears().values(), into.linears().values(), parts, strict=True)
    for plain, merged, own in layers:
        bias = adapter.kind.merge(plain.weight, own, merged.weight)
        own_bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        merged.register_parameter("bias", own_bias)


def merged(model: LanguageModel, adapter: Adapter) -> LanguageModel:
    """Return a copy of the model with the adapter in its weights."""
    found = copy.deepcopy(model)
    merge(model, adapter, found)
    return found
