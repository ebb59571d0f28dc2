"""A Switch-style language model: each token goes through one expert of each block.

Shapes in comments: B sequences, T tokens, N tokens of all sequences, C width, H hidden width of an
expert, E experts.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models.language_model import Place, attend

ROPE_BASE = 10_000.0
HEAD_WIDTH = 32
HIDDEN_PER_WIDTH = 4


@dataclass(frozen=True)
class SwitchConfig:
    """The sizes of a model. An expert's hidden width is four times the width."""

    vocabulary: int
    width: int
    layers: int
    experts: int


def gaussian(*shape: int, generator: torch.Generator) -> nn.Parameter:
    """Return normal weights whose products keep the size of their inputs."""
    # Rows of uniform weights, PyTorch's habit, would have half the zeros on a grid of three values.
    return nn.Parameter(torch.randn(*shape, generator=generator) / shape[-1] ** 0.5)


class Experts(nn.Module):
    """A router and its experts: two linear layers each, stacked, with zeros cut off between."""

    def __init__(self, config: SwitchConfig, generator: torch.Generator) -> None:
        super().__init__()
        width, hidden = config.width, HIDDEN_PER_WIDTH * config.width
        self.router = gaussian(config.experts, width, generator=generator)
        self.up = gaussian(config.experts, hidden, width, generator=generator)
        self.down = gaussian(config.experts, width, hidden, generator=generator)

    def route(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each token's expert (N) and the router's probabilities (N, E)."""
        probabilities = F.linear(x, self.router).softmax(-1)
        return probabilities.argmax(-1), probabilities

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output (N, C) and how unevenly the tokens went; 1 if quite evenly."""
        chosen, probabilities = self.route(x)
        order = chosen.argsort(stable=True)
        counts = chosen.bincount(minlength=len(self.router))
        groups = x[order].split(counts.tolist())
        weights = zip(groups, self.up.unbind(), self.down.unbind(), strict=True)
        found = torch.cat([F.linear(F.linear(g, up).relu(), down) for g, up, down in weights])
        output = torch.empty_like(found).index_copy(0, order, found)
        gate = probabilities.gather(1, chosen[:, None])
        shares = counts / len(x)
        return output * gate, len(counts) * (shares * probabilities.mean(0)).sum()


class SwitchBlock(nn.Module):
    """Attention as in the dense model, then experts.

    Queries, keys and values have one matrix: three would sum their gradients in another order, and
    so train to other numbers than those of the runs that ship.
    """

    def __init__(self, config: SwitchConfig, generator: torch.Generator) -> None:
        super().__init__()
        width = config.width
        self.attention_norm = nn.RMSNorm(width)
        self.qkv = gaussian(3 * width, width, generator=generator)
        self.output = gaussian(width, width, generator=generator)
        self.experts_norm = nn.RMSNorm(width)
        self.experts = Experts(config, generator)

    def attend(self, hidden: Tensor) -> Tensor:
        """Return hidden (B, T, C) with attention's output added."""
        projected = F.linear(self.attention_norm(hidden), self.qkv).chunk(3, dim=-1)
        mixed = attend(projected, HEAD_WIDTH, Place.of(hidden, HEAD_WIDTH, ROPE_BASE))
        return hidden + F.linear(mixed, self.output)

    def forward(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the block's output (B, T, C) and its experts' unevenness."""
        hidden = self.attend(hidden)
        x = self.experts_norm(hidden).flatten(0, 1)
        output, unevenness = self.experts(x)
        return hidden + output.view_as(hidden), unevenness


class SwitchModel(nn.Module):
    """Tokens in, next-token logits out, through the embedding both ways."""

    def __init__(self, config: SwitchConfig, generator: torch.Generator) -> None:
        super().__init__()
        self.embedding = gaussian(config.vocabulary, config.width, generator=generator)
        self.blocks = nn.ModuleList(SwitchBlock(config, generator) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width)

    def embed(self, tokens: Tensor) -> Tensor:
        """Return the first block's input (B, T, C)."""
        return F.embedding(tokens, self.embedding)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits (B, T, vocabulary) and the blocks' mean unevenness."""
        hidden = self.embed(tokens)
        unevenness = hidden.new_zeros(())
        for block in self.blocks:
            hidden, uneven = block(hidden)
            unevenness = unevenness + uneven / len(self.blocks)
        return F.linear(self.norm(hidden), self.embedding), unevenness

    def experts(self) -> list[Experts]:
        """Return the experts of each block."""
        return [cast(SwitchBlock, block).experts for block in self.blocks]


@torch.inference_mode()
def losses(model: SwitchModel, windows: Tensor) -> Tensor:
    """Return the mean negative log-likelihood, in nats, of each window's tokens after the first.

    `windows` (count, length) are tokens on the model's device.
    """
    found = []
    for batch in windows.split(16):
        logits, _ = model(batch[:, :-1])
        loss = F.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
        found.append(loss.mean(1))
    return torch.cat(found)
