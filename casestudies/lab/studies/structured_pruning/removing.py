"""Neurons and groups of heads taken out of Llama-style blocks, so that matrices get smaller.

A neuron is a row of gate and up and a column of down. Query heads that share keys and values leave
together with them: rows of query, key and value, and columns of output. Shapes in comments: B
sequences, K key-value heads, T tokens, D head width.
"""

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, Config

Part = Literal["neurons", "head groups"]


def unit_width(config: Config, part: Part) -> int:
    """Return how many columns of the layer that reads it a unit is: one, or those of its heads."""
    if part == "neurons":
        return 1
    return config.width // config.heads * (config.heads // config.key_value_heads)


def units(config: Config, part: Part) -> int:
    """Return how many units a block has."""
    return config.feed_forward if part == "neurons" else config.key_value_heads


def reader(block: Block, part: Part) -> nn.Linear:
    """Return the layer that reads the units."""
    return block.down if part == "neurons" else block.output


def spread(chosen: Tensor, width: int) -> Tensor:
    """Return the places (units x width) of units that are each so many places wide."""
    return (chosen[:, None] * width + torch.arange(width, device=chosen.device)).flatten()


@torch.no_grad()
def mask(block: Block, part: Part, removed: Tensor) -> None:
    """Set to zero what the block reads of the units; its matrices stay as large as they were."""
    reader(block, part).weight[:, spread(removed, unit_width(block.config, part))] = 0


def remove(block: Block, part: Part, removed: Tensor) -> None:
    """Take the units out of the block's matrices."""
    alive = torch.ones(units(block.config, part), dtype=torch.bool, device=removed.device)
    alive[removed] = False
    kept = alive.nonzero()[:, 0]
    if part == "neurons":
        block.gate, block.up = (_rows(layer, kept) for layer in (block.gate, block.up))
        block.down = _columns(block.down, kept)
        return
    heads = spread(kept, unit_width(block.config, part))
    shared = spread(kept, block.config.width // block.config.heads)
    block.query = _rows(block.query, heads)
    block.key, block.value = (_rows(layer, shared) for layer in (block.key, block.value))
    block.output = _columns(block.output, heads)


def _rows(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    return _linear(layer.weight[kept])


def _columns(layer: nn.Linear, kept: Tensor) -> nn.Linear:
    return _linear(layer.weight[:, kept])


def _linear(weight: Tensor) -> nn.Linear:
    found = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    found.weight = nn.Parameter(weight.detach().contiguous(), requires_grad=False)
    return found


class UnevenCache:
    """Keys and values of past tokens, (B, K, T, D) of each layer, whose K may differ."""

    def __init__(self) -> None:
        self._held: dict[int, tuple[Tensor, Tensor]] = {}
        self.length = 0  # tokens that every layer holds

    @property
    def bytes(self) -> int:
        """Return the bytes held."""
        return sum(t.numel() * t.element_size() for pair in self._held.values() for t in pair)

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's new keys and values and return all of it."""
        if layer in self._held:
            before = (held[..., : self.length, :] for held in self._held[layer])
            key, value = (
                torch.cat(pair, dim=-2) for pair in zip(before, (key, value), strict=True)
            )
        self._held[layer] = key, value
        return key, value

    def advance(self, tokens: int) -> None:
        """Count the tokens that every layer has been extended by."""
        self.length += tokens

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first `length`."""
        self.length = length


def parameters(layers: Iterable[nn.Module]) -> int:
    """Return how many weights the layers have."""
    return sum(weight.numel() for layer in layers for weight in layer.parameters())
