"""A block whose attention and feed-forward part may each be split among ranks.

Shapes in comments: B sequences, T tokens, C width, F feed-forward width, t ranks. Every matrix is
stored as PyTorch stores it, (out, in).
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional as F

from casestudies.lab.models import language_model
from casestudies.lab.models.language_model import LanguageModel, Place

# By which dimension a matrix is cut: its rows (Megatron's columns: what it gives) or its columns.
BY_OUTPUT, BY_INPUT = 0, 1
CUTS = {
    "query": BY_OUTPUT,
    "key": BY_OUTPUT,
    "value": BY_OUTPUT,
    "output": BY_INPUT,
    "gate": BY_OUTPUT,
    "up": BY_OUTPUT,
    "down": BY_INPUT,
}


def cut_of(name: str) -> int | None:
    """Return by which dimension the weight of this name is cut, None if every rank has it."""
    return next((CUTS[part] for part in name.split(".") if part in CUTS), None)


class ToAll(Function):
    """Megatron's f: hands its input to all ranks; backward adds up their gradients of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum(gradients[0])


class FromAll(Function):
    """Megatron's g: adds up what the ranks have; backward hands the gradient to all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _sum(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _sum(x: Tensor) -> Tensor:
    whole = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(whole)
    return whole


def to_all(x: Tensor) -> Tensor:
    """Return x, whose gradient will be the sum over all ranks."""
    return cast(Tensor, ToAll.apply(x))


def from_all(x: Tensor) -> Tensor:
    """Return the sum of x over all ranks."""
    return cast(Tensor, FromAll.apply(x))


def unchanged(x: Tensor) -> Tensor:
    """Return x."""
    return x


class Attention(nn.Module):
    """The attention of a block; it has as many heads as its matrices give."""

    def __init__(self, block: language_model.Block) -> None:
        super().__init__()
        self.query, self.key, self.value = block.query, block.key, block.value
        self.output = block.output
        self._head_width = block.config.width // block.config.heads

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """Return what is added to the hidden state, (B, T, C), of its norm (B, T, C)."""
        projected = self.query(x), self.key(x), self.value(x)  # each B, T, C / t
        return cast(Tensor, self.output(language_model.attend(projected, self._head_width, place)))


class FeedForward(nn.Module):
    """The gated feed-forward part of a block."""

    def __init__(self, block: language_model.Block) -> None:
        super().__init__()
        self.gate, self.up, self.down = block.gate, block.up, block.down

    def forward(self, x: Tensor) -> Tensor:
        """Return what is added to the hidden state, (B, T, C), of its norm (B, T, C)."""
        return cast(Tensor, self.down(F.silu(self.gate(x)) * self.up(x)))  # of B, T, F / t


class Block(nn.Module):
    """A block in two parts. `enter` and `leave` stand where ranks have to speak to each other."""

    def __init__(self, block: language_model.Block) -> None:
        super().__init__()
        self.config = block.config
        # In the order of the block's own parameters.
        self.attention_norm = block.attention_norm
        self.attention = Attention(block)
        self.feed_forward_norm = block.feed_forward_norm
        self.feed_forward = FeedForward(block)
        self.enter: Callable[[Tensor], Tensor] = unchanged
        self.leave: Callable[[Tensor], Tensor] = unchanged

    def forward(self, hidden: Tensor, place: Place | None = None) -> Tensor:
        """Return the block's output (B, T, C), or of so many of the tokens as it was given.

        Without a place the tokens are the first.
        """
        config = self.config
        place = place or Place.of(hidden, config.width // config.heads, config.rope_base)
        x = self.enter(self.attention_norm(hidden))
        hidden = hidden + self.leave(self.attention(x, place))
        x = self.enter(self.feed_forward_norm(hidden))
        return hidden + self.leave(self.feed_forward(x))


class Model(nn.Module):
    """A language model of such blocks. Embedding, head and norms are whole on every rank."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.config, self._logits = model.config, model.logits
        self.embedding = model.embedding
        self.blocks = nn.ModuleList(Block(b) for b in cast(Sequence[Any], model.blocks))
        self.norm = model.norm
        # Where the tokens of a sequence are shared out before the blocks, and gathered after.
        self.scatter: Callable[[Tensor], Tensor] = unchanged
        self.gather: Callable[[Tensor], Tensor] = unchanged

    def place(self, hidden: Tensor) -> Place:
        """Return the place of tokens (B, T, C), which are the first of their sequences."""
        return Place.of(hidden, self.config.width // self.config.heads, self.config.rope_base)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits (B, T, vocabulary) of the token after each of `tokens` (B, T)."""
        hidden = self.embedding(tokens)
        place = self.place(hidden)
        hidden = self.scatter(hidden)
        for block in self.blocks:
            hidden = block(hidden, place)
        return self._logits(self.norm(self.gather(hidden)))


def by_hand(model: LanguageModel) -> Model:
    """Return the model with this rank's share of each matrix, split as Megatron-LM splits it.

    A matrix that reads the hidden state is cut by what it gives, whole heads to a rank; the one
    that follows by what it reads, so that nothing passes between the two (Shoeybi et al. 2019,
    section 3). Raises ValueError where ranks do not divide the heads or the feed-forward width.
    """
    rank, world = dist.get_rank(), dist.get_world_size()
    check_divides(model, world)
    split = Model(model)
    for block in cast(Sequence[Block], split.blocks):
        block.enter, block.leave = to_all, from_all
        for name, linear in block.named_modules():
            if isinstance(linear, nn.Linear):
                part = linear.weight.detach().chunk(world, cut_of(name) or 0)[rank]
                linear.weight = nn.Parameter(part.clone(memory_format=torch.contiguous_format))
    return split


def check_divides(model: LanguageModel, ranks: int) -> None:
    """Raise ValueError where so many ranks do not divide the heads or the feed-forward width."""
    config = model.config
    of = {"heads": config.key_value_heads, "feed-forward columns": config.feed_forward}
    for what, number in of.items():
        if number % ranks:
            raise ValueError(f"{number} {what} cannot be divided among {ranks} ranks")
