"""A GPT's layer whose activations are computed again instead of kept: Korthikanti et al., 2022.

The layer is the paper's (arXiv 2205.05198, section 4), without biases and the norms' weights, which
keep nothing of their own. Shapes in comments: b sequences, s tokens, h width, a heads, d = h/a.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention

BYTE_VALUES = 256


class Recomputed(torch.autograd.Function):
    """Keeps what a function was given, and computes the function again for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        function: Callable[..., Tensor],
        generator: torch.Generator | None,
        *inputs: Tensor,
    ) -> Tensor:
        """Return the function's output; autograd sees nothing of what happens in between."""
        ctx.function, ctx.generator = function, generator
        ctx.state = generator and generator.get_state()
        ctx.save_for_backward(*inputs)
        return function(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs, the function computed with the same dropout."""
        inputs: list[Tensor] = [kept.detach().requires_grad_() for kept in ctx.saved_tensors]
        if ctx.generator:
            later = ctx.generator.get_state()
            ctx.generator.set_state(ctx.state)
        with torch.enable_grad():
            output = ctx.function(*inputs)
        if ctx.generator:
            ctx.generator.set_state(later)
        return None, None, *torch.autograd.grad(output, inputs, gradients)


def recomputed(
    function: Callable[..., Tensor], generator: torch.Generator | None, *inputs: Tensor
) -> Tensor:
    """Return the function of the inputs, all of which take gradients; only they are kept.

    Draws of the generator are repeated for the backward pass; without one nothing is, so that
    whatever the function draws is drawn anew.
    """
    found: Tensor = Recomputed.apply(function, generator, *inputs)
    return found


@dataclass(frozen=True)
class Dropout:
    """Sets a share of numbers to zero; the mask that it keeps takes one byte a number."""

    share: float
    generator: torch.Generator

    def __call__(self, x: Tensor) -> Tensor:
        """Return x with the rest made larger, so that the mean stays."""
        if not self.share:
            return x
        # On a CPU a float is drawn as slowly as eight bytes, and there are many to draw.
        dropped = round(BYTE_VALUES * self.share)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64, device=x.device)
        words.random_(-(2**63), None, generator=self.generator)
        kept = words.view(torch.uint8)[: x.numel()].view(x.shape) >= dropped
        return x * kept * (BYTE_VALUES / (BYTE_VALUES - dropped))


@dataclass(frozen=True)
class Layer:
    """A layer of a GPT: attention with all its scores, then a feed-forward part four times as wide.

    `causal` (s, s) is added to the scores: minus infinity for keys that come later.
    """

    heads: int
    causal: Tensor
    dropout: Dropout
    attention: Attention | None = None  # in place of `scored`

    def __call__(self, x: Tensor, *weights: Tensor) -> Tensor:
        """Return the layer's output (b, s, h) of x (b, s, h); bytes kept are those in 16 bits."""
        query, key, value, out, up, down = weights
        y = F.layer_norm(x, x.shape[-1:])  # its input, 2sbh, and two numbers a token
        q, k, v = (self._heads_of(F.linear(y, w)) for w in (query, key, value))  # their input, 2sbh
        attended = (self.attention or self.scored)(q, k, v)
        y = F.linear(attended.transpose(1, 2).flatten(2), out)  # its input, 2sbh
        x = x + self.dropout(y)  # the mask, sbh
        y = F.layer_norm(x, x.shape[-1:])  # 2sbh and two numbers a token
        y = F.linear(F.gelu(F.linear(y, up)), down)  # three inputs, 2sbh + 8sbh + 8sbh
        return x + self.dropout(y)  # the mask, sbh

    def scored(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return attention (b, a, s, d), every score of it held at once."""
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + self.causal  # q and k, 4sbh
        # The softmax, 2abs², the mask, abs², what is left, 2abs², and v, 2sbh.
        return self.dropout(scores.softmax(-1)) @ v

    def _heads_of(self, projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # b, a, s, d


Way = Callable[[Layer, Tensor, tuple[Tensor, ...]], Tensor]


def none(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the layer's output, everything kept: sbh(34 + 5as/h) bytes."""
    return layer(x, *weights)


def selective(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same with the scores computed again: 34sbh bytes (section 5)."""

    def scored(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return recomputed(layer.scored, layer.dropout.generator, q, k, v)

    return replace(layer, attention=scored)(x, *weights)


def full(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same with all of the layer computed again: its input, 2sbh bytes."""
    return recomputed(layer, layer.dropout.generator, x, *weights)


def by_pytorch(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same by PyTorch's own checkpoint, which repeats the default generator's draws."""
    return checkpoint(layer, x, *weights, use_reentrant=False)


def forgetful(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same, computed again with other dropout: the gradients are of another model."""
    return recomputed(layer, None, x, *weights)


def fused(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the layer's output with a kernel that never holds the scores, and drops none."""
    return replace(layer, attention=attention.stock)(x, *weights)


WAYS: Mapping[str, Way] = {
    "none": none,
    "selective": selective,
    "full": full,
    "full, PyTorch": by_pytorch,
    "full, other dropout": forgetful,
    "fused attention": fused,
}
