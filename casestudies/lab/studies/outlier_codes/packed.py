"""Matrices in 4 bits a number: pairs in bytes, and a scale for each group of a row.

All ways to round share these bytes and one decoder; they differ in whether the encoder writes
outliers, and in how the scale is found.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.quantize.grid import half_no_less
from casestudies.lab.studies.outlier_codes.about import INT4_CLIPPED, INT4_NEAREST, OLIVE
from casestudies.lab.studies.outlier_codes.pairs import (
    FURTHEST,
    LARGEST,
    LARGEST_NORMAL,
    decode,
    encode,
    squared_errors,
    victims,
)

ROWS = 64
LEAST_SCALE = 2.0**-24  # of float16
# Where normal numbers may end, in root mean squares of a part.
ENDS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
UNSEARCHED = 3.0


class Rounding(NamedTuple):
    """Whether outliers are written as such, and whether several scales are tried."""

    outliers: bool
    searched: bool


ROUNDINGS = {
    INT4_NEAREST: Rounding(outliers=False, searched=False),
    INT4_CLIPPED: Rounding(outliers=False, searched=True),
    OLIVE: Rounding(outliers=True, searched=True),
}


@dataclass(frozen=True)
class Packed:
    """A matrix (rows, columns) as stored; a row of odd length has a zero behind its end."""

    codes: Tensor  # rows, columns / 2 rounded up; uint8
    scale: Tensor  # rows, groups; float16
    columns: int
    group: int

    @property
    def stored_bytes(self) -> int:
        return self.codes.nbytes + self.scale.nbytes

    def scales(self) -> Tensor:
        """Return the scale of each number (rows, columns) in float32."""
        return self.scale.float().repeat_interleave(self.group, dim=1)[:, : self.columns]

    def weights(self) -> Tensor:
        """Return the numbers (rows, columns) in float32."""
        return decode(self.codes)[:, : self.columns].mul_(self.scales())

    def victims(self) -> Tensor:
        """Return which numbers (rows, columns) are victims."""
        return victims(self.codes)[:, : self.columns]


def pack(x: Tensor, rounding: Rounding, group: int) -> Packed:
    """Return x (rows, columns) with a scale for each `group` neighbours, which is even.

    Where the group is 0, or no shorter than a row, there is one scale a row.
    """
    columns = x.shape[1]
    row = columns + columns % 2
    group = min(group or row, row)
    parts = F.pad(x.float(), (0, -columns % group)).unflatten(1, (-1, group))
    # Some rows at a time, so that what is made of them stays in the processor's caches.
    scale = torch.cat([scales(some, rounding) for some in parts.split(ROWS)])
    codes = encode(parts / scale.float(), rounding.outliers).flatten(1)
    codes = codes[:, : -(-columns // 2)].contiguous()
    return Packed(codes, scale.squeeze(-1), columns, group)


def scales(parts: Tensor, rounding: Rounding) -> Tensor:
    """Return the scale (..., 1), float16, of each part (..., numbers).

    Of several it is the one with the least squared error, and the same are tried in all ways to
    round: plain rounding's, by which the largest number is 7; that by which it is the largest
    outlier; and those by which the normal numbers end at ENDS. Without a search it is plain
    rounding's, or where there are outliers that of UNSEARCHED.
    """
    largest = parts.abs().amax(-1, keepdim=True)
    typical = parts.square().mean(-1, keepdim=True).sqrt()
    all_fit = largest * (LARGEST_NORMAL / LARGEST)
    if not rounding.searched:
        few = torch.minimum(largest, torch.maximum(UNSEARCHED * typical, all_fit))
        return _scale(few if rounding.outliers else largest)
    found = _scale(largest)
    least = _cost(parts, found, rounding)
    for end in [all_fit] + [typical * times for times in ENDS]:
        scale = _scale(end)
        cost = _cost(parts, scale, rounding)
        found = torch.where(cost < least, scale, found)
        least = torch.minimum(cost, least)
    return found


def _scale(end: Tensor) -> Tensor:
    return half_no_less((end / LARGEST_NORMAL).clamp(min=LEAST_SCALE))


def _cost(parts: Tensor, scale: Tensor, rounding: Rounding) -> Tensor:
    step = scale.float()
    errors = squared_errors(parts / step, rounding.outliers)
    return errors.sum(-1, keepdim=True) * step.square()


class BrokenPromise(ArithmeticError):
    """What must hold of every matrix does not."""


def check(x: Tensor, packed: Packed, rounding: Rounding) -> None:
    """Raise BrokenPromise unless x (rows, columns) is in the bytes as the code promises.

    The bytes that the decoder's numbers are encoded to are the same bytes; and where outliers are
    written, a number that is no victim, nor above the largest size, differs by no more than half a
    unit or the share FURTHEST of itself.
    """
    if not encode(decode(packed.codes)).equal(packed.codes):
        raise BrokenPromise("bytes that are read and written again are others")
    if not rounding.outliers:
        return
    scale = packed.scales()
    size, error = (x / scale).abs(), ((packed.weights() - x) / scale).abs()
    allowed = (size * FURTHEST).where(size > LARGEST_NORMAL, 0).clamp(min=0.5) * (1 + 1e-5)
    held = (error <= allowed) | packed.victims() | (size > LARGEST)
    if not held.all():
        raise BrokenPromise(f"{int((~held).sum())} numbers moved too far")
