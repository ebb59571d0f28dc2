"""Frozen linear layers whose weights are stored as QLoRA stores them (Dettmers et al., 2023)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.quantize.nf4 import Nf4, dequantize, quantize


class Nf4Linear(nn.Module):
    """A frozen linear layer that keeps its weight in NF4 and computes in float32."""

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
    def weight(self) -> Tensor:
        """Return the weight (d, k) in float32, made anew each time."""
        return dequantize(self.stored, torch.Size((self.out_features, self.in_features)))

    def forward(self, x: Tensor) -> Tensor:
        """Return W x (B, T, d) for x (B, T, k)."""
        product: Tensor = _Product.apply(x, self)
        return product


class _Product(torch.autograd.Function):
    """W x that keeps no float32 W for the way back, but makes it again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: Nf4Linear) -> Tensor:
        ctx.layer = layer
        return F.linear(x, layer.weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] @ ctx.layer.weight, None
