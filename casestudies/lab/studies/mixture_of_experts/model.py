"""Language models that differ in their feed-forward parts only: dense, or mixtures of experts."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, Config, LanguageModel, Place
from casestudies.lab.studies.mixture_of_experts.mixture import Mixture, balance

HEAD_WIDTH = 32
EXPERT = ("gate", "up", "down")  # the matrices of a feed-forward network


@dataclass(frozen=True)
class Shape:
    """The sizes of a model: experts of each block, none for a dense one.

    `wider` is how many times a dense block's hidden width is that of an expert.
    """

    vocabulary: int
    width: int
    experts: tuple[int, ...]
    wider: int = 1
    residual: bool = False

    @property
    def hidden(self) -> int:
        """Return the hidden width of an expert: 8/3 of the width, up to a multiple of 32."""
        return -(-8 * self.width // 3 // 32) * 32

    @property
    def config(self) -> Config:
        """Return the sizes as the language model knows them."""
        heads = self.width // HEAD_WIDTH
        hidden = self.wider * self.hidden
        layers = len(self.experts)
        return Config(self.vocabulary, self.width, hidden, layers, heads, heads, 10_000.0, 1e-5)


class MixtureBlock(Block):
    """A block with experts where the others have one gated feed-forward network."""

    def __init__(self, config: Config, experts: int, *, residual: bool) -> None:
        super().__init__(replace(config, feed_forward=1))
        del self.gate, self.up, self.down
        self.mixture = Mixture(config.width, config.feed_forward, experts, residual=residual)

    def forward(self, hidden: Tensor, place: Place | None = None) -> Tensor:
        """Return the block's output (B, T, C)."""
        x = self._attend(self.attention_norm(hidden), place or self.place(hidden))
        hidden = hidden + self.output(x)
        return hidden + cast(Tensor, self.mixture(self.feed_forward_norm(hidden)))


def made(shape: Shape, generator: torch.Generator, device: str = "cpu") -> LanguageModel:
    """Return a model to be trained, in float32, whose products keep the size of their inputs."""
    model = LanguageModel(shape.config, tied=True)
    for index, experts in enumerate(shape.experts):
        if experts:
            block = MixtureBlock(shape.config, experts, residual=shape.residual)
            model.blocks[index] = block
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() == 1:
                weight.fill_(1)
            else:
                weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
    return model.to(device)


def with_one_expert(dense: LanguageModel) -> LanguageModel:
    """Return a copy of a dense model whose feed-forward networks are single experts."""
    single = copy.deepcopy(dense)
    for index, block in enumerate(cast(Sequence[Block], dense.blocks)):
        replaced = MixtureBlock(dense.config, 1, residual=False).to(block.gate.weight.device)
        expert = {f"mixture.{name}": getattr(block, name).weight[None] for name in EXPERT}
        rest = {n: w for n, w in block.state_dict().items() if n.split(".")[0] not in EXPERT}
        router = replaced.mixture.router.detach().zero_()
        replaced.load_state_dict({**rest, **expert, "mixture.router": router})
        single.blocks[index] = replaced
    return single


def mixtures(model: LanguageModel) -> list[Mixture]:
    """Return the mixtures of a model's blocks."""
    blocks = cast(Sequence[Block], model.blocks)
    return [block.mixture for block in blocks if isinstance(block, MixtureBlock)]


def unevenness(model: LanguageModel) -> Tensor:
    """Return the mean balance loss of what the model read last; 1 if quite even, or dense."""
    found = [balance(mixture.seen) for mixture in mixtures(model)]
    return torch.stack(found).mean() if found else torch.ones(())


def limit(model: LanguageModel, capacity_factor: float | None) -> None:
    """Give every expert so many times its even share of places, or one for every token."""
    for mixture in mixtures(model):
        mixture.capacity_factor = capacity_factor


def active_parameters(model: LanguageModel) -> int:
    """Return the parameters that take part in one token's computation."""
    idle = 0
    for mixture in mixtures(model):
        stacked = (mixture.gate, mixture.up, mixture.down)
        idle += sum(w.numel() - w[0].numel() for w in stacked)
    return parameters(model) - idle


def parameters(model: nn.Module) -> int:
    """Return all parameters, which have to be in memory whatever a token reads."""
    return sum(weight.numel() for weight in model.parameters())


def operations(model: LanguageModel, tokens: int) -> float:
    """Return the operations of a token, on average, of texts that long.

    Matrix products alone, a multiplication and an addition counted as two; a causal mask spares
    nothing.
    """
    norms = sum(weight.numel() for weight in model.parameters() if weight.dim() == 1)
    attention = 4 * tokens * model.config.width * model.config.layers
    return 2.0 * (active_parameters(model) - norms) + attention
