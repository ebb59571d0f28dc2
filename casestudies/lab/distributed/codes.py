"""Numbers as the bytes that are sent: whole, or block by block as codes of 8 or 4 bits.

ZeRO++ (Wang et al., 2023, section 3.1) quantizes a row of numbers in blocks, each with a scale of
its own, so that one large number spoils its block alone.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

SCALE_BYTES = 4  # a scale is in float32: gradients are too small for 16 bits
SMALLEST = torch.finfo(torch.float32).tiny  # of what is less a step is not exact


class Code(Protocol):
    """How rows of numbers become rows of bytes."""

    def encode(self, x: Tensor) -> Tensor: ...

    def decode(self, sent: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Whole:
    """Each number by itself, rounded to a type."""

    dtype: torch.dtype

    def encode(self, x: Tensor) -> Tensor:
        """Return float32 x (..., n) as bytes (..., n times those of the type)."""
        return x.to(self.dtype).contiguous().view(torch.uint8)

    def decode(self, sent: Tensor) -> Tensor:
        """Return the numbers in float32."""
        return sent.view(self.dtype).float()


@dataclass(frozen=True)
class Blocks:
    """Blocks of so many numbers: whole codes of 8 or 4 bits, and the size of one step of them.

    A number comes back no further than half a step from what it was; a step is the largest
    absolute value of the block divided by 127 or 7.
    """

    bits: int
    block: int

    def encode(self, x: Tensor) -> Tensor:
        """Return float32 x (..., n) as bytes (..., n bits / 8 + 4 n / block): scales, codes."""
        blocks = x.unflatten(-1, (-1, self.block))  # ..., n / block, block
        scale = F.threshold(blocks.abs().amax(-1, keepdim=True) / self._most, SMALLEST, 0)
        codes = (blocks / scale.where(scale > 0, 1)).round_().flatten(-2)
        return torch.cat((scale.squeeze(-1).view(torch.uint8), self._packed(codes)), -1)

    def decode(self, sent: Tensor) -> Tensor:
        """Return the numbers in float32."""
        # A block takes its scale and its codes, so their bytes tell how many blocks there are.
        count = sent.shape[-1] // (SCALE_BYTES + self.block * self.bits // 8)
        scales, packed = sent.tensor_split((SCALE_BYTES * count,), -1)
        blocks = self._unpacked(packed).unflatten(-1, (count, self.block))
        scale = scales.contiguous().view(torch.float32).unsqueeze(-1)
        return (blocks * scale).flatten(-2)

    @property
    def _most(self) -> int:
        return 2 ** (self.bits - 1) - 1

    def _packed(self, codes: Tensor) -> Tensor:
        if self.bits == 8:
            return codes.to(torch.int8).view(torch.uint8)
        low, high = (codes + 8).to(torch.uint8).chunk(2, -1)
        return low | high << 4

    def _unpacked(self, packed: Tensor) -> Tensor:
        if self.bits == 8:
            return packed.view(torch.int8).float()
        return torch.cat((packed & 15, packed >> 4), -1).float().sub_(8)


def of_bits(bits: int, block: int) -> Code:
    """Return the code of so many bits: whole numbers in 32 and 16, blocks in 8 and 4."""
    if bits in (8, 4):
        return Blocks(bits, block)
    return Whole({32: torch.float32, 16: torch.bfloat16}[bits])
