"""A function that autograd computes again for the backward pass, instead of what it keeps."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


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
