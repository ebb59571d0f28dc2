"""Frozen matrices that are stored in few bits, and made anew for each product with them."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.quantize.nf4 import Nf4, dequantize, quantize


class Nf4Linear(nn.Module):
    """A frozen linear layer as QLoRA stores it: in NF4, and computed with in float32."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = base.in_features, base.out_features
        for name, part in quantize(base.weight.detach())._asdict().items():
            self.register_buffer(name, part)

    @property
    def stored(self) -> Nf4:
        """Return the weight as it is stored."""
        return Nf4(**dict(self.named_buffers()))

    @property
    def constant_bytes(self) -> int:
        """Return how many of the stored bytes scale the codes."""
        return self.stored.stored_bytes - self.stored.packed.nbytes

    @property
    def stored_bytes(self) -> int:
        """Return the bytes of codes and constants."""
        return self.stored.stored_bytes

    @property
    def weight(self) -> Tensor:
        """Return the weight (d, k) in float32, made anew each time."""
        return dequantize(self.stored, torch.Size((self.out_features, self.in_features)))

    def forward(self, x: Tensor) -> Tensor:
        """Return W x (B, T, d) for x (B, T, k)."""
        return product(x, lambda: self.weight)


def product(x: Tensor, made: Callable[[], Tensor]) -> Tensor:
    """Return W x (B, T, d) for x (B, T, k) and the frozen W (d, k) that `made` returns."""
    found: Tensor = _Product.apply(x, made)
    return found


class _Product(torch.autograd.Function):
    """W x that keeps no float32 W for the way back, but makes it again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, made: Callable[[], Tensor]) -> Tensor:
        ctx.made = made
        return F.linear(x, made())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.made(), None
