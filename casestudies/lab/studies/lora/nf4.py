"""QLoRA's storage of frozen weights (Dettmers et al., 2023): NormalFloat and double quantization.

A weight takes 4 bits, the constant of each 64 weights 8, and that of each 256 constants 32.
"""

from functools import cache
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

BLOCK, CONSTANTS = 64, 256
LAST_QUANTILE = 0.9677083  # as in the publication's code: 1 is the mean of 29/30 and 31/32 away
EIGHT_BIT = torch.float8_e4m3fn
LARGEST_EIGHT_BIT = 448.0


@cache
def levels(device: torch.device | str = "cpu") -> Tensor:
    """Return NF4's 16 values: quantiles of a normal distribution, from -1 to 1, one of them 0.

    Eight lie on the positive side and seven on the negative one (section 3, equation 4).
    """
    sides = [
        torch.special.ndtri(torch.linspace(LAST_QUANTILE, 0.5, count + 1, dtype=torch.float64))
        for count in (8, 7)
    ]
    positive, negative = (side[:-1] for side in sides)
    found = torch.cat((-negative, torch.zeros(1), positive.flip(0)))
    return (found / found.max()).float().to(device)


class Nf4(NamedTuple):
    """A matrix as it is stored: two weights a byte, and the constants that scale them."""

    packed: Tensor  # uint8
    constants: Tensor  # 8 bits for each 64 weights
    scales: Tensor  # 32 bits for each 256 constants
    mean: Tensor  # of all constants, which are positive, so that their 8 bits are not wasted


def quantize(weight: Tensor) -> Nf4:
    """Return the weight (d, k) in NF4 with double quantization."""
    blocks = _rows(weight.flatten(), BLOCK)
    constants = blocks.abs().amax(1, keepdim=True)
    table = levels(weight.device)
    between = (table[1:] + table[:-1]) / 2
    unit = blocks / constants.clamp_min(torch.finfo(weight.dtype).tiny)
    codes = torch.bucketize(unit.flatten(), between).to(torch.uint8)
    mean = constants.mean()
    centred = _rows(constants.flatten() - mean, CONSTANTS)
    scales = centred.abs().amax(1).clamp_min(torch.finfo(weight.dtype).tiny)
    eight_bits = (centred / scales[:, None] * LARGEST_EIGHT_BIT).to(EIGHT_BIT)
    return Nf4(
        codes[::2] << 4 | codes[1::2],
        eight_bits.flatten()[: len(blocks)].clone(),
        scales,
        mean,
    )


def dequantize(stored: Nf4, shape: torch.Size) -> Tensor:
    """Return the weight of this shape in float32."""
    codes = torch.stack((stored.packed >> 4, stored.packed & 15), dim=1).flatten().int()
    eight_bits = _rows(stored.constants.float(), CONSTANTS)
    constants = (eight_bits / LARGEST_EIGHT_BIT * stored.scales[:, None]).flatten() + stored.mean
    blocks = levels(codes.device)[codes].view(-1, BLOCK)
    weights = blocks * constants[: len(blocks), None]
    return weights.flatten()[: shape.numel()].view(shape)


def _rows(values: Tensor, length: int) -> Tensor:
    """Return the values in rows of this length, the last one filled up with zeros."""
    return F.pad(values, (0, -len(values) % length)).view(-1, length)


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
