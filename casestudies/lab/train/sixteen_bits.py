"""Linear layers in 16 bits on a CPU, as fast forward and backward as the processor can.

Many processors multiply no 16-bit numbers. What PyTorch does instead takes up to a hundred times as
long as in float32 where there is AVX2 alone, and a small model's step ten times. Units for 16 bits
add up in float32 and round once; so does this, on any processor.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

SIXTEEN_BITS = (torch.bfloat16, torch.float16)


class Linear(torch.autograd.Function):
    """x (..., C) times the transpose of a weight (D, C), each product in float32 and rounded."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """Return the product (..., D), of the type of x; what is kept is in 16 bits."""
        ctx.save_for_backward(x, weight)
        return F.linear(x.float(), weight.float()).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of x and of the weight, of their types."""
        x, weight = ctx.saved_tensors
        gradient = gradients[0].float()
        of_x = gradient @ weight.float()
        rows, read = gradient.reshape(-1, gradient.shape[-1]), x.reshape(-1, x.shape[-1])
        of_weight = rows.T @ read.float()
        return of_x.to(x.dtype), of_weight.to(weight.dtype)


class _InFloat32(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is F.linear and not kwargs:
            x, weight, bias = (*args, None)[:3]
            if bias is None and x.dtype == weight.dtype in SIXTEEN_BITS:
                return Linear.apply(x, weight)
        return func(*args, **(kwargs or {}))


def linears(device: str) -> AbstractContextManager[object]:
    """Return a context in which a CPU's linear layers without bias are those above."""
    return _InFloat32() if device == "cpu" else nullcontext()
