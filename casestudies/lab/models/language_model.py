"""A Llama-style language model in one file.

Shapes in comments: B sequences, T tokens, C width, H heads, K key-value heads, D head width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention


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


class Cache(Protocol):
    """What keeps the keys and values of tokens that the model has read; see `cache.py`."""

    length: int

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]: ...

    def advance(self, tokens: int) -> None: ...


class LinearInputs(NamedTuple):
    """Activations on their way through a block, and the linear layers that will read them."""

    readers: tuple[nn.Linear, ...]
    activations: Tensor


def turns(
    tokens: int, width: int, base: float, first: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return cosine and sine, each (T, D/2), of the angles at the positions from `first` on."""
    frequencies = 1 / base ** (torch.arange(0, width, 2, device=device) / width)
    angles = torch.outer(torch.arange(first, first + tokens, device=device), frequencies)
    return angles.cos(), angles.sin()


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return x (B, heads, T, D) with each half-pair turned by these angles (T, D/2): RoPE."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, right * cos + left * sin), dim=-1)


class Place(NamedTuple):
    """Where the tokens that a block reads stand, and what is known of those before them."""

    cos: Tensor  # T, D/2
    sin: Tensor
    layer: int = 0
    cache: Cache | None = None

    @classmethod
    def of(cls, hidden: Tensor, head_width: int, base: float, first: int = 0) -> "Place":
        """Return the place of tokens (B, T, C) whose first has this position."""
        cos, sin = turns(hidden.shape[1], head_width, base, first, hidden.device)
        return cls(cos.to(hidden.dtype), sin.to(hidden.dtype))

    @classmethod
    def at(cls, positions: Tensor, hidden: Tensor, head_width: int, base: float) -> "Place":
        """Return the place of tokens (1, N, C) that stand at these positions (N) of their texts."""
        longest = int(positions.max()) + 1
        cos, sin = (
            part[positions].to(hidden.dtype)
            for part in turns(longest, head_width, base, 0, hidden.device)
        )
        return cls(cos, sin)


def attend(
    projected: tuple[Tensor, ...],
    head_width: int,
    place: Place,
    by: Attention = attention.stock,
) -> Tensor:
    """Return what attention mixes (B, T, C) of projected queries, keys and values.

    Queries are (B, T, C), keys and values (B, T, K x D); both are turned by their positions first.
    """
    query, key, value = (
        part.unflatten(-1, (-1, head_width)).transpose(1, 2) for part in projected
    )  # B, heads, T, D
    query, key = turn(query, place.cos, place.sin), turn(key, place.cos, place.sin)
    if place.cache:
        key, value = place.cache.extend(place.layer, key, value)
    return by(query, key, value).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """One transformer layer: attention, then a gated feed-forward network."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.attention: Attention = attention.stock
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

    def stages(self, hidden: Tensor, place: Place | None = None) -> Iterator[LinearInputs]:
        """Yield the activations before each group of linear layers reads them.

        A caller may change a group's weights while the block waits; what follows uses the new
        ones. The last stage has no readers and holds the block's output (B, T, C). Without a place
        the tokens are the first.
        """
        x = self.attention_norm(hidden)
        yield LinearInputs((self.query, self.key, self.value), x)
        x = self._attend(x, place or self.place(hidden))
        yield LinearInputs((self.output,), x)
        hidden = hidden + self.output(x)
        x = self.feed_forward_norm(hidden)
        yield LinearInputs((self.gate, self.up), x)
        x = F.silu(self.gate(x)) * self.up(x)
        yield LinearInputs((self.down,), x)
        yield LinearInputs((), hidden + self.down(x))

    def forward(self, hidden: Tensor, place: Place | None = None) -> Tensor:
        """Return the block's output (B, T, C)."""
        for _, activations in self.stages(hidden, place):
            hidden = activations
        return hidden

    def place(self, hidden: Tensor, first: int = 0) -> Place:
        """Return the place of tokens (B, T, C) whose first has this position."""
        config = self.config
        return Place.of(hidden, config.width // config.heads, config.rope_base, first)

    def linears(self) -> dict[str, nn.Linear]:
        """Return the block's linear layers by name."""
        return {n: m for n, m in self.named_children() if isinstance(m, nn.Linear)}

    def _attend(self, x: Tensor, place: Place) -> Tensor:
        projected = self.query(x), self.key(x), self.value(x)
        return attend(projected, self.config.width // self.config.heads, place, self.attention)


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

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the logits (B, T, vocabulary) of the token after each of `tokens` (B, T).

        With a cache, `tokens` are those that follow what it holds, and it holds them too then.
        """
        return self.logits(self.hidden(tokens, cache))

    def hidden(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Return what the head reads (B, T, C); see `forward`."""
        hidden = self.embedding(tokens)
        blocks = cast(Sequence[Block], self.blocks)
        place = blocks[0].place(hidden, cache.length if cache else 0)
        for layer, block in enumerate(blocks):
            hidden = block(hidden, place._replace(layer=layer, cache=cache))
        if cache:
            cache.advance(tokens.shape[1])
        return cast(Tensor, self.norm(hidden))

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary) of what the head reads (B, T, C)."""
        return F.linear(hidden, self.head.weight if self.head else self.embedding.weight)

    def linears(self) -> dict[str, nn.Linear]:
        """Return the linear layers of all blocks by name, such as "3.query"."""
        return {
            f"{index}.{name}": linear
            for index, block in enumerate(self.blocks)
            for name, linear in cast(Block, block).linears().items()
        }
