"""A Llama-style language model in one file.

Shapes in comments: B sequences, T tokens, C width, H heads, K key-value heads, D head width.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """The sizes of a model. Head width is width / heads."""

    vocabulary: int
    width: int
    feed_forward: int
    layers: int
    heads: int
    key_value_heads: int
    rope_base: float
    norm_epsilon: float


class LinearInputs(NamedTuple):
    """Activations on their way through a block, and the linear layers that will read them."""

    readers: tuple[nn.Linear, ...]
    activations: Tensor


def rotate(x: Tensor, base: float) -> Tensor:
    """Return x (B, heads, T, D) with each half-pair turned by its position (RoPE)."""
    tokens, width = x.shape[-2:]
    frequencies = 1 / base ** (torch.arange(0, width, 2, device=x.device) / width)
    angles = torch.outer(torch.arange(tokens, device=x.device), frequencies)  # T, D/2
    cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Block(nn.Module):
    """One transformer layer: attention, then a gated feed-forward network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        width, hidden = config.width, config.feed_forward
        key_value = width // config.heads * config.key_value_heads
        self.attention_norm = nn.RMSNorm(width, eps=config.norm_epsilon)
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, key_value, bias=False)
        self.value = nn.Linear(width, key_value, bias=False)
        self.output = nn.Linear(width, width, bias=False)
        self.feed_forward_norm = nn.RMSNorm(width, eps=config.norm_epsilon)
        self.gate = nn.Linear(width, hidden, bias=False)
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def stages(self, hidden: Tensor) -> Iterator[LinearInputs]:
        """Yield the activations before each group of linear layers reads them.

        A caller may change a group's weights while the block waits; what follows uses the new
        ones. The last stage has no readers and holds the block's output (B, T, C).
        """
        x = self.attention_norm(hidden)
        yield LinearInputs((self.query, self.key, self.value), x)
        x = self._attend(x)
        yield LinearInputs((self.output,), x)
        hidden = hidden + self.output(x)
        x = self.feed_forward_norm(hidden)
        yield LinearInputs((self.gate, self.up), x)
        x = F.silu(self.gate(x)) * self.up(x)
        yield LinearInputs((self.down,), x)
        yield LinearInputs((), hidden + self.down(x))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the block's output (B, T, C)."""
        for _, activations in self.stages(hidden):
            hidden = activations
        return hidden

    def linears(self) -> dict[str, nn.Linear]:
        """Return the block's linear layers by name."""
        return {n: m for n, m in self.named_children() if isinstance(m, nn.Linear)}

    def _attend(self, x: Tensor) -> Tensor:
        config, (batch, tokens, width) = self.config, x.shape

        def heads(projected: Tensor, count: int) -> Tensor:
            return projected.view(batch, tokens, count, -1).transpose(1, 2)  # B, heads, T, D

        query = rotate(heads(self.query(x), config.heads), config.rope_base)
        key = rotate(heads(self.key(x), config.key_value_heads), config.rope_base)
        value = heads(self.value(x), config.key_value_heads)
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        return mixed.transpose(1, 2).reshape(batch, tokens, width)


class LanguageModel(nn.Module):
    """Tokens in, next-token logits out. The head is the embedding where the weights tie them."""

    def __init__(self, config: Config, *, tied: bool) -> None:
        super().__init__()
        self.config = config
        # As nn.Embedding starts by itself, which on the meta device loads PyTorch's compiler.
        table = torch.randn(config.vocabulary, config.width)
        self.embedding = nn.Embedding.from_pretrained(table, freeze=False)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.RMSNorm(config.width, eps=config.norm_epsilon)
        self.head = None if tied else nn.Linear(config.width, config.vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary) of the token after each of `tokens` (B, T)."""
        hidden = self.embedding(tokens)
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.norm(hidden)
        return F.linear(hidden, self.head.weight if self.head else self.embedding.weight)

    def linears(self) -> dict[str, nn.Linear]:
        """Return the linear layers of all blocks by name, such as "3.query"."""
        return {
            f"{index}.{name}": linear
            for index, block in enumerate(self.blocks)
            for name, linear in block.linears().items()  # type: ignore[operator]
        }
