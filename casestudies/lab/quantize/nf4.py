"""QLoRA's storage of weights (Dettmers et al., 2023): NormalFloat and double quantization.

A weight takes 4 bits, the constant of each 64 weights 8, and that of each 256 constants 32.
"""

from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

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

    @property
    def stored_bytes(self) -> int:
        """Return the bytes of all parts."""
        return sum(part.nbytes for part in self)


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
