"""What a cache holds where it may not hold every token: sinks and a window, or heavy hitters.

Each method stands here twice, and both give the same. As a cache of one layer it takes a token at a
time and holds no more than its budget. As attention over a whole text it hides from each query what
the cache would not hold by then: a layer's keys and values are those that the cache would be given,
since each token is read once, so a long text takes one pass and not one for each token.

Shapes in comments: B sequences, H heads, K key-value heads, G = H / K, T tokens, D head width.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Block, Config, LanguageModel, turn, turns


def read(model: LanguageModel, tokens: Tensor, mixing: Sequence[Attention]) -> Tensor:
    """Return what the head reads (B, T, C), each layer's attention computed by its own of `mixing`.

    It is given queries (B, H, T, D), keys and values (B, K, T, D) before they are turned by any
    position, and returns (B, H, T, D).
    """
    hidden = model.embedding(tokens)
    width = model.config.width // model.config.heads
    for block, mix in zip(cast(Sequence[Block], model.blocks), mixing, strict=True):
        x = block.attention_norm(hidden)
        query, key, value = (
            project(x).unflatten(-1, (-1, width)).transpose(1, 2)
            for project in (block.query, block.key, block.value)
        )
        hidden = hidden + block.output(mix(query, key, value).transpose(1, 2).flatten(2))
        x = block.feed_forward_norm(hidden)
        hidden = hidden + block.down(F.silu(block.gate(x)) * block.up(x))
    return cast(Tensor, model.norm(hidden))


def at(x: Tensor, positions: Tensor, base: float) -> Tensor:
    """Return x (..., T, D) turned by these positions (T): RoPE."""
    width = x.shape[-1]
    frequencies = 1 / base ** (torch.arange(0, width, 2, device=x.device) / width)
    angles = torch.outer(positions, frequencies).to(x.dtype)
    return turn(x, angles.cos(), angles.sin())


def scores(query: Tensor, key: Tensor) -> Tensor:
    """Return the scaled products (B, K, G, Q, T) of queries (B, H, Q, D) and keys (B, K, T, D)."""
    scaled = query / query.shape[-1] ** 0.5
    grouped = scaled.unflatten(1, (key.shape[1], -1))  # B, K, G, Q, D
    # Queries of a group in one matrix: keys are not copied for each head.
    products = grouped.flatten(2, 3) @ key.transpose(-2, -1)
    return products.unflatten(2, grouped.shape[2:4])


def mixed(weights: Tensor, value: Tensor) -> Tensor:
    """Return values (B, K, T, D) mixed by weights (B, K, G, Q, T): (B, H, Q, D)."""
    found = weights.flatten(2, 3) @ value
    return found.unflatten(2, weights.shape[2:4]).flatten(1, 2)


class LayerCache(ABC):
    """Keys and values of at most `budget` tokens of one layer, each (B, K, budget, D)."""

    def __init__(
        self, config: Config, sequences: int, budget: int, device: str | torch.device = "cpu"
    ) -> None:
        shape = (sequences, config.key_value_heads, budget, config.width // config.heads)
        self.keys, self.values = torch.zeros(2, *shape, device=device)
        self.base, self.budget = config.rope_base, budget
        self.read = 0  # tokens so far, held or not

    @abstractmethod
    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Hold the next token and return what its queries (B, H, 1, D) find, itself among it."""

    @property
    def held(self) -> int:
        """Return the tokens that it holds."""
        return min(self.read, self.budget)

    @property
    def bytes(self) -> int:
        """Return the bytes of the keys and values that it holds."""
        return 2 * self.keys[:, :, : self.held].nbytes


class RollingCache(LayerCache):
    """The first `sinks` tokens and the latest ones (StreamingLLM, section 3.2).

    Keys are kept before they are turned, since their positions are counted inside the cache and so
    change with each token: what was dropped leaves no gap. After the sinks the latest tokens lie in
    a ring, in which a new one takes the place of the oldest.
    """

    def __init__(
        self,
        config: Config,
        sequences: int,
        budget: int,
        sinks: int,
        device: str | torch.device = "cpu",
    ) -> None:
        """Raise ValueError if there is room for no token after the sinks."""
        if budget <= sinks:
            raise ValueError(f"a cache of {budget} tokens has no room after {sinks} sinks")
        super().__init__(config, sequences, budget, device)
        self.sinks = sinks
        width = self.keys.shape[-1]
        self._turns = turns(budget, width, self.base, 0, self.keys.device)  # each budget, D / 2

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write the token over the oldest one after the sinks, if there is no room."""
        ring = self.budget - self.sinks
        newest = self.read if self.read < self.budget else (self.read - self.sinks) % ring
        slot = newest if self.read < self.budget else self.sinks + newest
        self.keys[:, :, slot], self.values[:, :, slot] = key[:, :, 0], value[:, :, 0]
        self.read += 1
        positions = torch.arange(self.held, device=key.device)
        if self.read > self.budget:
            positions[self.sinks :] = self.sinks + (positions[:ring] - newest - 1) % ring
        cos, sin = self._turns
        keys = turn(self.keys[:, :, : self.held], cos[positions], sin[positions])
        query = turn(query, cos[self.held - 1], sin[self.held - 1])
        return attention.stock(query, keys, self.values[:, :, : self.held])


@dataclass(frozen=True)
class Rolling:
    """Gives for a whole text what a `RollingCache` gives token by token."""

    budget: int
    sinks: int
    base: float

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what the queries (B, H, T, D) find.

        Recent tokens are as far apart in the cache as in the text. A sink is not: a query stands at
        the end of the cache, never further than its budget.
        """
        sinks, base = self.sinks, self.base
        places = torch.arange(key.shape[-2], device=key.device)
        inside = at(query, places.clamp(max=self.budget - 1), base)
        turned = at(key, places, base)
        found = scores(at(query, places, base), turned)
        found[..., :sinks] = scores(inside, turned[..., :sinks, :])
        distance = places[:, None] - places
        held = (distance >= 0) & ((distance < self.budget - sinks) | (places < sinks))
        return mixed(found.masked_fill_(~held, -torch.inf).softmax(-1), value)


class HeavyHitterCache(LayerCache):
    """The latest half of the budget, and of older tokens those that drew most attention (H2O).

    Algorithm 1: a token's score is the sum of the weights that queries gave it since it came; when
    a token comes and there is no room, the older one with the least score leaves. Each key-value
    head has scores and tokens of its own. Keys are kept turned by their positions in the text.
    """

    def __init__(
        self, config: Config, sequences: int, budget: int, device: str | torch.device = "cpu"
    ) -> None:
        super().__init__(config, sequences, budget, device)
        self.score = torch.zeros_like(self.keys[..., 0])
        self.came = torch.zeros_like(self.score, dtype=torch.long)

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write the token over the least looked at of the older ones, if there is no room."""
        place = torch.tensor([self.read], device=key.device)
        slot = self._slot()  # B, K, 1
        row = slot[..., None].expand_as(key)
        self.keys.scatter_(2, row, at(key, place, self.base))
        self.values.scatter_(2, row, value)
        self.came.scatter_(2, slot, self.read)
        self.score.scatter_(2, slot, 0.0)
        self.read += 1
        held = self.held
        found = scores(at(query, place, self.base), self.keys[:, :, :held]).softmax(-1)
        self.score[..., :held] += found.sum((2, 3))
        return mixed(found, self.values[:, :, :held])

    def _slot(self) -> Tensor:
        """Return where the next token goes, (B, K, 1)."""
        if self.read < self.budget:
            return torch.full_like(self.came[..., :1], self.read)
        recent = self.came > self.read - recent_part(self.budget)
        return self.score.masked_fill(recent, torch.inf).argmin(-1, keepdim=True)


def recent_part(budget: int) -> int:
    """Return how many of the latest tokens stay whatever their score, the newest among them."""
    return budget // 2


@dataclass(frozen=True)
class HeavyHitters:
    """Gives for a whole text what a `HeavyHitterCache` gives token by token."""

    budget: int
    base: float

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return what the queries (B, H, T, D) find."""
        length, recent = key.shape[-2], recent_part(self.budget)
        places = torch.arange(length, device=key.device)
        # Scores of all queries at first, of which each row becomes weights when its turn comes.
        rows = scores(at(query, places, self.base), at(key, places, self.base))  # B, K, G, T, T
        held = torch.zeros(key.shape[:-1], dtype=torch.bool, device=key.device)
        drawn = torch.zeros_like(key[..., 0])
        for t in range(length):
            if t >= self.budget:
                older = drawn.masked_fill(~held, torch.inf)
                older[..., t - recent + 1 :] = torch.inf
                held.scatter_(-1, older.argmin(-1, keepdim=True), value=False)
            held[..., t] = True
            rows[..., t, :] = rows[..., t, :].masked_fill(~held[:, :, None], -torch.inf).softmax(-1)
            drawn += rows[..., t, :].sum(2)
        return mixed(rows, value)
