"""Matrices in 4 bits a number: pairs in bytes, and a scale for each group of a row.

All ways to round share these bytes and one decoder; they differ in what the encoder writes as an
outlier, and in how the scale is found.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.quantize.grid import half_no_less
from casestudies.lab.studies.outlier_codes.about import (
    INT4_CLIPPED,
    INT4_NEAREST,
    NEARER_PAIRS,
    OLIVE,
    OLIVE_FLINT,
)
from casestudies.lab.studies.outlier_codes.pairs import (
    FLINT4,
    INT4,
    PairCode,
    Which,
    beside,
    decode,
    encode,
    squared_errors,
    victims,
)

ROWS = 64
LEAST_SCALE = 2.0**-24  # of float16
# Where normal numbers end, in root mean squares of a part. The publication tries such around 3.
ENDS = (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
UNSEARCHED = 3.0


class Rounding(NamedTuple):
    """A code, what is written as an outlier, and whether several scales are tried."""

    code: PairCode
    which: Which
    searched: bool


ROUNDINGS = {
    INT4_NEAREST: Rounding(INT4, Which.NONE, searched=False),
    INT4_CLIPPED: Rounding(INT4, Which.NONE, searched=True),
    OLIVE: Rounding(INT4, Which.GREATER, searched=True),
    OLIVE_FLINT: Rounding(FLINT4, Which.GREATER, searched=True),
    NEARER_PAIRS: Rounding(INT4, Which.NEARER, searched=True),
}


@dataclass(frozen=True)
class Packed:
    """A matrix (rows, columns) as stored; a row of odd length has a zero behind its end."""

    codes: Tensor  # rows, columns / 2 rounded up; uint8
    scale: Tensor  # rows, groups; float16
    columns: int
    group: int
    code: PairCode

    @property
    def stored_bytes(self) -> int:
        return self.codes.nbytes + self.scale.nbytes

    def weights(self) -> Tensor:
        """Return the numbers (rows, columns) in float32."""
        scale = self.scale.float().repeat_interleave(self.group, dim=1)
        return (decode(self.codes, self.code)[:, : self.columns]).mul_(scale[:, : self.columns])

    def victims(self) -> Tensor:
        """Return which numbers (rows, columns) are victims."""
        return victims(self.codes)[:, : self.columns]

    def outliers(self) -> Tensor:
        """Return which numbers (rows, columns) are outliers."""
        return beside(victims(self.codes))[:, : self.columns]


def pack(x: Tensor, rounding: Rounding, group: int) -> Packed:
    """Return x (rows, columns) with a scale for each `group` neighbours, which is even.

    Where the group is no shorter than a row there is one scale a row.
    """
    columns = x.shape[1]
    group = min(group, columns + columns % 2)
    parts = F.pad(x.float(), (0, -columns % group)).unflatten(1, (-1, group))
    # Some rows at a time, so that what is made of them stays in the processor's caches.
    scale = torch.cat([scales(some, rounding) for some in parts.split(ROWS)])
    codes = encode(parts / scale.float(), rounding.code, rounding.which).flatten(1)
    codes = codes[:, : -(-columns // 2)].contiguous()
    return Packed(codes, scale.squeeze(-1), columns, group, rounding.code)


def scales(parts: Tensor, rounding: Rounding) -> Tensor:
    """Return the scale (..., 1), float16, of each part (..., numbers).

    Of several it is the one with the least squared error, and the same are tried in all ways to
    round: plain rounding's, by which the largest number is the largest normal one; that by which it
    is the largest outlier; and those by which the normal numbers end at ENDS. Without a search it
    is plain rounding's, or where there are outliers that of UNSEARCHED.
    """
    code, which = rounding.code, rounding.which
    largest = parts.abs().amax(-1, keepdim=True)
    typical = parts.square().mean(-1, keepdim=True).sqrt()
    all_fit = largest * (code.normals[-1] / code.sizes[-1])
    if not rounding.searched:
        few = torch.minimum(largest, torch.maximum(UNSEARCHED * typical, all_fit))
        return _scale(largest if which is Which.NONE else few, code)
    found = _scale(largest, code)
    least = _cost(parts, found, rounding)
    for end in [all_fit] + [typical * times for times in ENDS]:
        scale = _scale(end, code)
        cost = _cost(parts, scale, rounding)
        found = torch.where(cost < least, scale, found)
        least = torch.minimum(cost, least)
    return found


def _scale(end: Tensor, code: PairCode) -> Tensor:
    return half_no_less((end / code.normals[-1]).clamp(min=LEAST_SCALE))


def _cost(parts: Tensor, scale: Tensor, rounding: Rounding) -> Tensor:
    step = scale.float()
    errors = squared_errors(parts / step, rounding.code, rounding.which)
    return errors.sum(-1, keepdim=True) * step.square()


class BrokenPromise(ArithmeticError):
    """What must hold of every matrix does not."""


def check(x: Tensor, packed: Packed, rounding: Rounding) -> None:
    """Raise BrokenPromise unless x (rows, columns) is in the bytes as the code promises.

    The bytes that the decoder's numbers are encoded to are the same bytes; and where all outliers
    are written, a number that is no victim, nor above the largest size, differs by no more than
    half a unit or the code's `furthest` share of it.
    """
    code = rounding.code
    if not encode(decode(packed.codes, code), code).equal(packed.codes):
        raise BrokenPromise("bytes that are read and written again are others")
    if rounding.which is not Which.GREATER:
        return
    scale = packed.scale.float().repeat_interleave(packed.group, dim=1)[:, : packed.columns]
    size, error = (x / scale).abs(), ((packed.weights() - x) / scale).abs()
    allowed = (size * code.furthest).clamp(min=0.5) * (1 + 1e-5)
    held = (error <= allowed) | packed.victims() | (size > code.sizes[-1])
    if not held.all():
        raise BrokenPromise(f"{int((~held).sum())} numbers moved too far")
