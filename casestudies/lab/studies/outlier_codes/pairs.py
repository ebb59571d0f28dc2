"""OliVe's outlier-victim pairs: two numbers in one byte, of which one may be an outlier.

Guo et al., 2023, "OliVe: Accelerating Large Language Models via Hardware-friendly Outlier-Victim
Pair Quantization", sections 3 and 4. A half of a byte holds a normal number, unless the other half
is the identifier 1000, which no normal number is written as: then it holds an outlier, and its
neighbour, the victim, is zero. An outlier is an `abfloat`, a sign, two bits of exponent and one of
mantissa, with a bias that lets its range begin where that of the normal numbers ends:

    (-1)^s (2 + m) << (e + bias)      int4 with bias 2: 0 to 7, then 12, 16, 24, 32, 48, 64, 96

All functions take numbers in units of their scale; the first of a pair is the upper half.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IDENTIFIER = 0b1000
SIGN = 0b1000
NORMALS = 8  # magnitudes of normal numbers, zero among them


def abfloat(code: int, bias: int) -> int:
    """Return the number of a 4-bit code; both codes of zero, 0000 and 1000, are no outliers."""
    exponent, mantissa = code >> 1 & 0b11, code & 0b1
    size = (2 + mantissa) << (exponent + bias) if code & 0b111 else 0
    return -size if code & SIGN else size


@dataclass(frozen=True)
class PairCode:
    """The normal numbers by size, how a negative one is written, and the outliers' bias."""

    normals: tuple[int, ...]
    bias: int
    twos_complement: bool

    @property
    def sizes(self) -> tuple[int, ...]:
        """Return the 15 magnitudes from zero on, first those of normal numbers."""
        return self.normals + tuple(abfloat(code, self.bias) for code in range(1, NORMALS))

    @property
    def furthest(self) -> float:
        """Return the largest share by which a number that is written differs from what it was.

        That is so from half a unit on, up to the largest size, and for no victim.
        """
        wide = [(a, b) for a, b in pairwise(self.sizes) if b - a > 1]
        return max((b - a) / (b + a) for a, b in wide)

    def nibble(self, index: int, negative: bool) -> int:
        """Return the 4 bits of the magnitude with this index in `sizes`."""
        if index >= NORMALS:
            return SIGN * negative | index - NORMALS + 1
        if self.twos_complement:
            return -index & 0b1111 if negative else index
        return SIGN | index if negative and index else index

    def normal(self, nibble: int) -> int:
        """Return the normal number of 4 bits that are not the identifier."""
        negative = bool(nibble & SIGN)
        index = 2 * NORMALS - nibble if negative and self.twos_complement else nibble & ~SIGN
        return -self.normals[index] if negative else self.normals[index]

    def pair(self, byte: int) -> tuple[int, int]:
        """Return both numbers of a byte; 0x80, 0x88 and 0x08, which none is written as, are 0."""
        left, right = byte >> 4, byte & 0b1111
        if right == IDENTIFIER:
            return abfloat(left, self.bias), 0
        if left == IDENTIFIER:
            return 0, abfloat(right, self.bias)
        return self.normal(left), self.normal(right)


INT4 = PairCode(tuple(range(NORMALS)), bias=2, twos_complement=True)
# The numbers of ANT's flint4; its own patterns of bits differ, in which they are no larger.
FLINT4 = PairCode((0, 1, 2, 3, 4, 6, 8, 16), bias=3, twos_complement=False)


class Which(Enum):
    """Which numbers of at least an outlier's size are written as one."""

    NONE = "none: the largest normal number takes their place"
    GREATER = "all, but of two in a pair only the greater"
    NEARER = "the same, where the pair's squared error is less so than without an outlier"


class Tables(NamedTuple):
    """What encoding and decoding look up, on one device."""

    numbers: Tensor  # 256, 2; float32, both numbers of each byte
    nearest: Tensor  # 2 x largest + 1; float32, the size nearest to those from k/2 to (k + 1)/2
    nibbles: Tensor  # 2, largest + 1; uint8, of each size, positive and negative


@cache
def tables(code: PairCode, device: torch.device) -> Tables:
    """Return the tables of a code. All sizes are whole, so between two lies a multiple of 1/2."""
    sizes = torch.tensor(code.sizes, dtype=torch.float32)
    halves = torch.arange(2 * code.sizes[-1] + 1) / 2 + 0.25
    nibbles = torch.zeros(2, code.sizes[-1] + 1, dtype=torch.uint8)
    for index, size in enumerate(code.sizes):
        nibbles[0, size], nibbles[1, size] = code.nibble(index, False), code.nibble(index, True)
    return Tables(
        torch.tensor([code.pair(byte) for byte in range(256)], dtype=torch.float32).to(device),
        sizes[(halves[:, None] - sizes).abs().argmin(1)].to(device),
        nibbles.to(device),
    )


def _chosen(x: Tensor, code: PairCode, which: Which) -> tuple[Tensor, Tensor, Tensor]:
    """Return sizes, the sizes written for them, and the victims, each (2, ..., pairs)."""
    nearest = tables(code, x.device).nearest
    size = x.unflatten(-1, (-1, 2)).movedim(-1, 0).abs().contiguous()
    near = nearest.take((2 * size).clamp_(max=len(nearest) - 1).long())
    normal = near.clamp(max=code.normals[-1])
    if which is Which.NONE:
        return size, normal, torch.zeros_like(near, dtype=torch.bool)
    other = size.flip(0)
    stays = (near > normal) & (size >= other)
    if which is Which.NEARER:
        without = (normal - size).square_().sum(0)
        stays &= (near - size).square_() + other.square() < without
    stays[1] &= ~stays[0]  # of two alike
    victim = stays.flip(0)
    return size, torch.where(stays, near, normal).masked_fill_(victim, 0), victim


def squared_errors(x: Tensor, code: PairCode, which: Which) -> Tensor:
    """Return (..., pairs) what encoding numbers (..., columns) would cost."""
    size, written, _ = _chosen(x, code, which)
    return (written - size).square_().sum(0)


def encode(x: Tensor, code: PairCode, which: Which = Which.GREATER) -> Tensor:
    """Return the bytes (..., columns / 2), uint8, of finite numbers (..., columns), even columns.

    Each number takes the nearest size, the greater one in the middle between two.
    """
    nibbles = tables(code, x.device).nibbles
    _, written, victim = _chosen(x, code, which)
    negative = x.unflatten(-1, (-1, 2)).movedim(-1, 0) < 0
    halves = nibbles.take(written.long() + negative * nibbles.shape[1])
    left, right = halves.masked_fill_(victim, IDENTIFIER)
    return left << 4 | right


def decode(codes: Tensor, code: PairCode) -> Tensor:
    """Return the numbers (..., 2 x bytes), float32, of bytes (..., bytes): a look-up a byte."""
    return F.embedding(codes.int(), tables(code, codes.device).numbers).flatten(-2)


def beside(marked: Tensor) -> Tensor:
    """Return, of marks (..., columns), columns even, each pair's the other way round."""
    return marked.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)


def victims(codes: Tensor) -> Tensor:
    """Return, for bytes (..., bytes), which of their numbers (..., 2 x bytes) are victims."""
    halves = torch.stack((codes >> 4, codes & 0b1111), dim=-1)
    return (halves == IDENTIFIER).flatten(-2)
