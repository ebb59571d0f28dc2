"""OliVe's outlier-victim pairs: two numbers in one byte, of which one may be an outlier.

After Guo et al., 2023, "OliVe: Accelerating Large Language Models via Hardware-friendly
Outlier-Victim Pair Quantization". A half of a byte holds an int4, -7 to 7, unless the other half is
the identifier 1000, which no such number is written as: then it holds an outlier, and its
neighbour, the victim, is zero. An outlier is an `abfloat`, a sign, two bits of exponent and one of
mantissa, with a bias that lets its range begin where that of the normal numbers ends:

    (-1)^s (2 + m) << (e + 2)      12, 16, 24, 32, 48, 64, 96

All functions take numbers in units of their scale; the first of a pair is the upper half.
"""

from functools import cache
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

IDENTIFIER = 0b1000
SIGN = 0b1000
BIAS = 2
LARGEST_NORMAL = 7


def abfloat(code: int) -> int:
    """Return the number of a 4-bit code; both codes of zero, 0000 and 1000, are no outliers."""
    exponent, mantissa = code >> 1 & 0b11, code & 0b1
    size = (2 + mantissa) << (exponent + BIAS) if code & 0b111 else 0
    return -size if code & SIGN else size


NORMALS = tuple(range(LARGEST_NORMAL + 1))
SIZES = NORMALS + tuple(abfloat(code) for code in range(1, 8))
LARGEST = SIZES[-1]
# The largest share of itself by which a number beyond 7 moves to the nearest size, up to LARGEST.
FURTHEST = max((b - a) / (b + a) for a, b in pairwise(SIZES) if a >= LARGEST_NORMAL)


def nibble(size: int, negative: bool) -> int:
    """Return the 4 bits of one of SIZES: of an int4 in two's complement, or of an outlier."""
    if size > LARGEST_NORMAL:
        return SIGN * negative | SIZES.index(size) - LARGEST_NORMAL
    return -size & 0b1111 if negative else size


def pair(byte: int) -> tuple[int, int]:
    """Return both numbers of a byte; 0x80, 0x88 and 0x08, which none is written as, are 0."""
    left, right = byte >> 4, byte & 0b1111
    if right == IDENTIFIER:
        return abfloat(left), 0
    if left == IDENTIFIER:
        return 0, abfloat(right)
    # 8 to 15 are -8 to -1.
    return (left ^ SIGN) - SIGN, (right ^ SIGN) - SIGN


class Tables(NamedTuple):
    """What encoding and decoding look up, on one device."""

    numbers: Tensor  # 256, 2; float32, both numbers of each byte
    nearest: Tensor  # 2 x LARGEST + 1; float32, the size nearest to those from k/2 to (k + 1)/2
    nibbles: Tensor  # 2, LARGEST + 1; uint8, of each size, positive and negative


@cache
def tables(device: torch.device) -> Tables:
    """Return the tables. All sizes are whole, so the middle between two is a multiple of 1/2."""
    sizes = torch.tensor(SIZES, dtype=torch.float32)
    halves = torch.arange(2 * LARGEST + 1) / 2 + 0.25
    nibbles = torch.zeros(2, LARGEST + 1, dtype=torch.uint8)
    for size in SIZES:
        nibbles[0, size], nibbles[1, size] = nibble(size, False), nibble(size, True)
    return Tables(
        torch.tensor([pair(byte) for byte in range(256)], dtype=torch.float32).to(device),
        sizes[(halves[:, None] - sizes).abs().argmin(1)].to(device),
        nibbles.to(device),
    )


def _chosen(x: Tensor, outliers: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return sizes, the sizes written for them, and the victims, each (2, ..., pairs)."""
    nearest = tables(x.device).nearest
    size = x.unflatten(-1, (-1, 2)).movedim(-1, 0).abs().contiguous()
    near = nearest.take((2 * size).clamp_(max=len(nearest) - 1).long())
    normal = near.clamp(max=LARGEST_NORMAL)
    if not outliers:
        return size, normal, torch.zeros_like(near, dtype=torch.bool)
    stays = (near > normal) & (size >= size.flip(0))
    stays[1] &= ~stays[0]  # of two alike
    victim = stays.flip(0)
    return size, torch.where(stays, near, normal).masked_fill_(victim, 0), victim


def squared_errors(x: Tensor, outliers: bool) -> Tensor:
    """Return (..., pairs) what encoding numbers (..., columns) would cost."""
    size, written, _ = _chosen(x, outliers)
    return (written - size).square_().sum(0)


def encode(x: Tensor, outliers: bool = True) -> Tensor:
    """Return the bytes (..., columns / 2), uint8, of finite numbers (..., columns), even columns.

    Each number takes the nearest size, the greater one in the middle between two, and of two
    outliers in a pair the greater stays. Without outliers the largest size is 7.
    """
    nibbles = tables(x.device).nibbles
    _, written, victim = _chosen(x, outliers)
    negative = x.unflatten(-1, (-1, 2)).movedim(-1, 0) < 0
    halves = nibbles.take(written.long() + negative * nibbles.shape[1])
    left, right = halves.masked_fill_(victim, IDENTIFIER)
    return left << 4 | right


def decode(codes: Tensor) -> Tensor:
    """Return the numbers (..., 2 x bytes), float32, of bytes (..., bytes): a look-up a byte."""
    return F.embedding(codes.int(), tables(codes.device).numbers).flatten(-2)


def victims(codes: Tensor) -> Tensor:
    """Return, for bytes (..., bytes), which of their numbers (..., 2 x bytes) are victims."""
    halves = torch.stack((codes >> 4, codes & 0b1111), dim=-1)
    return (halves == IDENTIFIER).flatten(-2)
