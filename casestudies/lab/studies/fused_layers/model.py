"""A transformer with learned positions, norms before each part, and biases, as LightSeq2 trains.

Shapes in comments: B sequences, T tokens, C width, H heads, D = C / H, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models.gpt import drawn_bytes
from casestudies.lab.studies.fused_layers.layers import DROPPED, Way

HEAD_WIDTH = 64
WEIGHTS_OF_A_PART = 6

Weights = Sequence[Tensor]
Masks = Sequence[Tensor | None]


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, and of an encoder before it where that has layers."""

    vocabulary: int
    width: int
    layers: int
    longest: int  # tokens of a sequence
    encoder_layers: int = 0


class Seen(NamedTuple):
    """What attention may look at: earlier tokens or all, and an encoder's output (B, S, C)."""

    causal: bool = True
    memory: Tensor | None = None


Layer = Callable[[Way, Seen, Tensor, Weights, Masks], Tensor]


def attended(way: Way, seen: Seen, x: Tensor, weights: Weights, mask: Tensor | None) -> Tensor:
    """Return x (B, T, C) with what attention finds in it, or in a memory, added."""
    norm, norm_bias, three, three_bias, out, out_bias = weights
    y = way.norm(x, norm, norm_bias)
    if seen.memory is None:
        q, k, v = way.linear(y, three, three_bias).chunk(3, -1)
    else:
        one = x.shape[-1]
        q = way.linear(y, three[:one], three_bias[:one])
        k, v = way.linear(seen.memory, three[one:], three_bias[one:]).chunk(2, -1)
    query, key, value = (part.unflatten(-1, (-1, HEAD_WIDTH)).transpose(1, 2) for part in (q, k, v))
    found = F.scaled_dot_product_attention(query, key, value, is_causal=seen.causal)  # B, H, T, D
    return way.residual(found.transpose(1, 2).flatten(2), out, out_bias, x, mask)


def layer(way: Way, seen: Seen, x: Tensor, weights: Weights, masks: Masks) -> Tensor:
    """Return a layer's output (B, T, C): attention, also to a memory if there is one, then MLP.

    `weights` are six a part, `masks` one (B, T, C) a part.
    """
    parts = [weights[n : n + WEIGHTS_OF_A_PART] for n in range(0, len(weights), WEIGHTS_OF_A_PART)]
    x = attended(way, Seen(seen.causal), x, parts[0], masks[0])
    if seen.memory is not None:
        x = attended(way, Seen(False, seen.memory), x, parts[1], masks[1])
    norm, norm_bias, *mlp = parts[-1]
    return way.feed(way.norm(x, norm, norm_bias), mlp, x, masks[-1])


class Transformer(nn.Module):
    """Tokens in, the mean loss of the tokens that follow out; with an encoder, of any source."""

    def __init__(self, shape: Shape, generator: torch.Generator) -> None:
        super().__init__()
        self.shape = shape
        c = shape.width

        def matrix(outputs: int, inputs: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(outputs, inputs, generator=generator) / inputs**0.5)

        def norm() -> list[nn.Parameter]:
            return [nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))]

        def two(inside: int, between: int) -> list[nn.Parameter]:
            biases = nn.Parameter(torch.zeros(inside)), nn.Parameter(torch.zeros(c))
            return [*norm(), matrix(inside, c), biases[0], matrix(c, between), biases[1]]

        def layers(count: int, attentions: int) -> nn.ModuleList:
            one = [(3 * c, c)] * attentions + [(4 * c, 4 * c)]
            return nn.ModuleList(
                nn.ParameterList(w for part in one for w in two(*part)) for _ in range(count)
            )

        self.embedding = matrix(shape.vocabulary, c)
        self.positions = matrix(shape.longest, c)
        self.encoder = layers(shape.encoder_layers, 1)
        self.decoder = layers(shape.layers, 2 if shape.encoder_layers else 1)
        self.last_norm = nn.ParameterList(norm())
        self.head = matrix(shape.vocabulary, c)

    @property
    def sites(self) -> int:
        """Return how often a pass of one stack or both drops something."""
        per_layer = 3 if self.shape.encoder_layers else 2
        return 2 * self.shape.encoder_layers + per_layer * self.shape.layers

    def masks(self, tokens: Tensor, generator: torch.Generator) -> Tensor:
        """Return what dropout keeps (sites, B, T, C) of windows (B, T + 1) that are read."""
        size = (self.sites, len(tokens), tokens.shape[1] - 1, self.shape.width)
        return drawn_bytes(torch.Size(size), generator, tokens.device) >= DROPPED

    def forward(
        self,
        windows: Tensor,
        way: Way,
        masks: Tensor | None = None,
        source: Tensor | None = None,
        through: Layer = layer,
    ) -> Tensor:
        """Return the mean loss, in nats, of each token after the first of windows (B, T + 1)."""
        kept = iter(masks if masks is not None else [None] * self.sites)
        memory = None
        if source is not None:
            memory = self._embedded(source)
            for weights in cast(Iterable[nn.ParameterList], self.encoder):
                memory = through(way, Seen(False), memory, [*weights], [next(kept), next(kept)])
        x = self._embedded(windows[:, :-1])
        for weights in cast(Iterable[nn.ParameterList], self.decoder):
            own = [next(kept) for _ in range(len(weights) // WEIGHTS_OF_A_PART)]
            x = through(way, Seen(True, memory), x, [*weights], own)
        x = way.norm(x, *self.last_norm)
        return way.loss(x.flatten(0, 1), self.head, windows[:, 1:].flatten())

    def _embedded(self, tokens: Tensor) -> Tensor:
        return F.embedding(tokens, self.embedding) + self.positions[: tokens.shape[1]]
