"""How long a layer-wise method would take for OPT-175B: one block of its shape, fitted and changed.

SparseGPT (Frantar and Alistarh, 2023) and GPTQ (Frantar et al., 2022) change the model's 96 blocks
one after another, each on the outputs of those before it, so the whole takes 96 times as long as
one. Weights and inputs are random: time depends on their shapes alone. The block is that of Zhang
et al. (2022), without biases: normalization first, attention, ReLU.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.measure.cost import Measured

BLOCKS = 96
WINDOWS, TOKENS = 128, 2048  # of calibration, as in both publications
# Gram matrix, its copy, the factor and its parts of the widest layer; weights; hidden states.
NEEDED_GPU_GIB = 60

Name = Literal["query", "key", "value", "out", "up", "down"]
# The new weights of layers that read the same, from theirs (rows, columns) and the Gram matrix of
# what they read (columns, columns), all in float32.
Method = Callable[[Sequence[Tensor], Tensor], Sequence[Tensor]]


@dataclass(frozen=True)
class OptShape:
    """Width of the model, which is four times as wide inside its feed-forward layer."""

    width: int = 12_288
    heads: int = 96


@dataclass
class OptBlock:
    """The weights (outputs, inputs) by name, in the precision in which the block computes."""

    shape: OptShape
    weights: dict[Name, Tensor]

    @classmethod
    def random(cls, shape: OptShape, dtype: torch.dtype, generator: torch.Generator) -> "OptBlock":
        """Return a block on the generator's device."""
        d = shape.width
        sizes: dict[Name, tuple[int, int]] = {
            "query": (d, d),
            "key": (d, d),
            "value": (d, d),
            "out": (d, d),
            "up": (4 * d, d),
            "down": (d, 4 * d),
        }
        weights = {name: _random(size, dtype, generator) for name, size in sizes.items()}
        return cls(
            shape, {name: weight / weight.shape[1] ** 0.5 for name, weight in weights.items()}
        )

    def normed(self, x: Tensor) -> Tensor:
        """Return x (tokens, width) with mean 0 and variance 1 for each token."""
        return F.layer_norm(x, x.shape[-1:])

    def attended(self, x: Tensor) -> Tensor:
        """Return the heads' outputs (tokens, width), which are the inputs of "out"."""
        w, heads = self.weights, self.shape.heads
        normed = self.normed(x)
        # (heads, tokens, width of a head)
        q, k, v = (
            (normed @ w[name].T).view(len(x), heads, -1).transpose(0, 1)
            for name in ("query", "key", "value")
        )
        found = F.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)[0]
        return found.transpose(0, 1).reshape(len(x), -1)

    def widened(self, x: Tensor) -> Tensor:
        """Return the feed-forward layer's inside (tokens, 4 x width), the inputs of "down"."""
        return (self.normed(x) @ self.weights["up"].T).relu()


def measured(method: Method, device: str, seed: int) -> Measured:
    """Return what it costs to calibrate and change one block of OPT-175B's shape in bfloat16."""
    generator, shape = torch.Generator(device).manual_seed(seed), OptShape()
    block = OptBlock.random(shape, torch.bfloat16, generator)
    hidden = _random((WINDOWS, TOKENS, shape.width), torch.bfloat16, generator)
    with Measured(device) as cost:
        compress(block, hidden, method)
    return cost


def _random(size: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> Tensor:
    return torch.randn(size, dtype=dtype, device=generator.device, generator=generator)


@torch.inference_mode()
def compress(block: OptBlock, hidden: Tensor, method: Method) -> None:
    """Give the block the weights of `method`, and let `hidden` (windows, tokens, width) pass it.

    Each layer is fitted to inputs that have passed through the changed ones before it.
    """
    _fit(block, ("query", "key", "value"), hidden, block.normed, method)
    _fit(block, ("out",), hidden, block.attended, method)
    for window in hidden:
        window.add_(block.attended(window) @ block.weights["out"].T)
    _fit(block, ("up",), hidden, block.normed, method)
    _fit(block, ("down",), hidden, block.widened, method)
    for window in hidden:
        window.add_(block.widened(window) @ block.weights["down"].T)


def _fit(
    block: OptBlock,
    names: Sequence[Name],
    hidden: Tensor,
    inputs_of: Callable[[Tensor], Tensor],
    method: Method,
) -> None:
    weights = [block.weights[name] for name in names]
    columns = weights[0].shape[1]
    gram = torch.zeros(columns, columns, device=hidden.device)
    for window in hidden:
        # Sums over so many tokens need all of float32.
        x = inputs_of(window).float()
        gram.addmm_(x.T, x)
    changed = method([weight.float() for weight in weights], gram)
    for weight, new in zip(weights, changed, strict=True):
        weight.copy_(new)
