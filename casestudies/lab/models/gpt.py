"""A GPT with dropout, in 16 bits, as Korthikanti et al. (2022) count what its layers keep.

The layer is the paper's (arXiv 2205.05198, section 4), without biases and the norms' weights, which
keep nothing of their own. Shapes in comments: b sequences, s tokens, h width, a heads, d = h/a.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.recomputed import recomputed

POSITION_BASE = 10_000.0
BYTE_VALUES = 256


class Part(NamedTuple):
    """Which tokens or heads are here, of so many: dimension 1 of a tensor that ranks share."""

    indices: Tensor
    whole: int


def drawn_bytes(size: torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Return random bytes of this size, each of 256 values as likely.

    On a CPU a float is drawn as slowly as eight bytes, and there are many to draw.
    """
    words = torch.empty(-(-size.numel() // 8), dtype=torch.int64, device=device)
    words.random_(-(2**63), None, generator=generator)
    return words.view(torch.uint8)[: size.numel()].view(size)


@dataclass(frozen=True)
class Dropout:
    """Sets a share of numbers to zero; the mask that it keeps takes one byte a number.

    With a part the mask is drawn as for the whole, so that all ranks together drop what one
    process drops.
    """

    share: float
    generator: torch.Generator
    part: Part | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return x with the rest made larger, so that the mean stays."""
        if not self.share:
            return x
        shape = list(x.shape)
        if self.part:
            shape[1] = self.part.whole
        size = torch.Size(shape)
        dropped = round(BYTE_VALUES * self.share)
        drawn = drawn_bytes(size, self.generator, x.device)
        kept = (drawn[:, self.part.indices] if self.part else drawn) >= dropped
        return x * kept * (BYTE_VALUES / (BYTE_VALUES - dropped))


def projected(x: Tensor, *weights: Tensor) -> tuple[Tensor, ...]:
    """Return x times each of the weights; autograd keeps x once, 2sbh bytes."""
    return tuple(F.linear(x, weight) for weight in weights)


def unchanged(x: Tensor) -> Tensor:
    """Return x."""
    return x


@dataclass(frozen=True)
class Layer:
    """A layer of a GPT: attention with all its scores, then a feed-forward part four times as wide.

    `causal` (s, s) is added to the scores: minus infinity for keys that come later. Ranks that
    share the layer have some of the heads and of the feed-forward part's columns each: `enter`
    multiplies with their columns of the first matrices, `leave` adds up what their rows of the last
    ones give.
    """

    heads: int
    causal: Tensor
    dropout: Dropout
    attention: Attention | None = None  # in place of `scored`
    dropout_of_scores: Dropout | None = None  # where it is not that of all else
    enter: Callable[..., tuple[Tensor, ...]] = projected
    leave: Callable[[Tensor], Tensor] = unchanged

    def __call__(self, x: Tensor, *weights: Tensor) -> Tensor:
        """Return the layer's output (b, s, h) of x (b, s, h); bytes kept are those in 16 bits."""
        query, key, value, out, up, down = weights
        y = F.layer_norm(x, x.shape[-1:])  # its input, 2sbh, and two numbers a token
        q, k, v = map(self._heads_of, self.enter(y, query, key, value))  # their input, 2sbh
        attended = (self.attention or self.scored)(q, k, v)
        y = F.linear(attended.transpose(1, 2).flatten(2), out)  # its input, 2sbh
        x = x + self.dropout(self.leave(y))  # the mask, sbh
        y = F.layer_norm(x, x.shape[-1:])  # 2sbh and two numbers a token
        (y,) = self.enter(y, up)  # its input, 2sbh
        y = F.linear(F.gelu(y), down)  # two inputs, 8sbh + 8sbh
        return x + self.dropout(self.leave(y))  # the mask, sbh

    def scored(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention (b, a, s, d), every score of it held at once."""
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + self.causal  # q and k, 4sbh
        # The softmax, 2abs², the mask, abs², what is left, 2abs², and v, 2sbh.
        return (self.dropout_of_scores or self.dropout)(scores.softmax(-1)) @ v

    def _heads_of(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # b, a, s, d


Way = Callable[[Layer, Tensor, tuple[Tensor, ...]], Tensor]


def none(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the layer's output, everything kept: sbh(34 + 5as/h) bytes."""
    return layer(x, *weights)


def selective(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same with the scores computed again: 34sbh bytes (section 5)."""

    def scored(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return recomputed(layer.scored, layer.dropout.generator, q, k, v)

    return replace(layer, attention=scored)(x, *weights)


def fused(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the layer's output with a kernel that never holds the scores, and drops none."""
    return replace(layer, attention=attention.stock)(x, *weights)


class Gpt(nn.Module):
    """Tokens in, next-token logits out; the head is the embedding, positions are sines.

    It computes in `dtype`, bfloat16 unless that is set, with float32 weights behind it.
    """

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.dtype = torch.bfloat16

        def matrix(outputs: int, inputs: int) -> nn.Parameter:
            drawn = torch.randn(outputs, inputs, generator=generator)
            return nn.Parameter(drawn / inputs**0.5)

        h = width
        shapes = [(h, h)] * 4 + [(4 * h, h), (h, 4 * h)]  # query, key, value, out, up, down
        self.embedding = matrix(vocabulary, h)
        self.layers = nn.ModuleList(
            nn.ParameterList(matrix(*shape) for shape in shapes) for _ in range(layers)
        )

    def forward(self, tokens: Tensor, way: Way, dropout: Dropout) -> Tensor:
        """Return the logits (b, s, vocabulary) of the token after each of `tokens` (b, s)."""
        embedding = self.embedding.to(self.dtype)
        x = self.through(embedded(tokens, embedding), self.rounded(), way, dropout)
        return logits(x, embedding).float()

    def rounded(self) -> list[tuple[Tensor, ...]]:
        """Return the layers' matrices in `dtype`; gradients go on to those in float32."""
        layers = cast(Iterable[nn.ParameterList], self.layers)
        return [tuple(weight.to(self.dtype) for weight in layer) for layer in layers]

    def through(
        self, x: Tensor, weights: list[tuple[Tensor, ...]], way: Way, dropout: Dropout
    ) -> Tensor:
        """Return what the last layer makes (b, s, h) of what the first one reads."""
        layer = Layer(self.heads, later_hidden(x, x.shape[1]), dropout)
        for of_layer in weights:
            x = way(layer, x, of_layer)
        return x


def embedded(tokens: Tensor, embedding: Tensor, positions: Tensor | None = None) -> Tensor:
    """Return what the first layer reads (b, s, h) of tokens at these positions, or from 0 on."""
    if positions is None:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
    h = embedding.shape[1]
    rates = POSITION_BASE ** -(torch.arange(0, h, 2, device=tokens.device) / h)
    angles = torch.outer(positions, rates)
    waves = torch.cat((angles.sin(), angles.cos()), dim=1)
    # As large as the embedding's numbers begin.
    return F.embedding(tokens, embedding) + (waves / h**0.5).to(embedding.dtype)


def logits(x: Tensor, embedding: Tensor) -> Tensor:
    """Return the logits (b, s, vocabulary) of what the last layer makes (b, s, h)."""
    return F.linear(F.layer_norm(x, x.shape[-1:]), embedding)


def later_hidden(x: Tensor, tokens: int) -> Tensor:
    """Return what hides later keys (s, s) from scores, of the type of x and on its device."""
    return x.new_full((tokens, tokens), -torch.inf).triu(1)
