"""A small GPT that is trained in bfloat16, with float32 weights behind it."""

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.studies.recomputation.recomputed import Dropout, Layer, Way

POSITION_BASE = 10_000.0


class Gpt(nn.Module):
    """Tokens in, next-token logits out; the head is the embedding, positions are sines."""

    def __init__(
        self, vocabulary: int, width: int, layers: int, heads: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads

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
        embedding = self.embedding.bfloat16()
        x = self.through(self.embedded(tokens, embedding), self.rounded(), way, dropout)
        return F.linear(F.layer_norm(x, (self.width,)), embedding).float()

    def rounded(self) -> list[tuple[Tensor, ...]]:
        """Return the layers' matrices in bfloat16; gradients go on to those in float32."""
        layers = cast(Iterable[nn.ParameterList], self.layers)
        return [tuple(weight.bfloat16() for weight in layer) for layer in layers]

    def embedded(self, tokens: Tensor, embedding: Tensor) -> Tensor:
        """Return what the first layer reads (b, s, h)."""
        s, h = tokens.shape[1], self.width
        rates = POSITION_BASE ** -(torch.arange(0, h, 2, device=tokens.device) / h)
        angles = torch.outer(torch.arange(s, device=tokens.device), rates)
        positions = torch.cat((angles.sin(), angles.cos()), dim=1)
        # As large as the embedding's numbers begin.
        return F.embedding(tokens, embedding) + (positions / h**0.5).bfloat16()

    def through(
        self, x: Tensor, weights: list[tuple[Tensor, ...]], way: Way, dropout: Dropout
    ) -> Tensor:
        """Return what the last layer makes (b, s, h) of what the first one reads."""
        causal = x.new_full((x.shape[1], x.shape[1]), -torch.inf).triu(1)
        layer = Layer(self.heads, causal, dropout)
        for of_layer in weights:
            x = way(layer, x, of_layer)
        return x
