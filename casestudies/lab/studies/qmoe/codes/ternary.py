"""Weights of three values per row."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes.coding import Trits

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Ternary:
    """A matrix of trits (rows, columns), and what trits 1 and 2 stand for in each row.

    `scales` (rows, 2) are float32 numbers that bfloat16 can hold. Trit 0 stands for zero.
    """

    trits: Trits
    scales: Floats

    def values(self) -> Floats:
        """Return the weights (rows, columns)."""
        low, high = self.scales[:, :1], self.scales[:, 1:]
        return np.choose(self.trits, [np.float32(0), low, high])

    def zeros(self) -> float:
        """Return the share of zeros."""
        return float(np.mean(self.trits == 0))

    def entropy(self) -> float:
        """Return the bits per weight that no code of single independent trits can undercut."""
        shares = np.bincount(self.trits.ravel(), minlength=3) / self.trits.size
        return math.fsum(-share * math.log2(share) for share in shares.tolist() if share)


def bfloat16(values: Floats) -> Floats:
    """Return the nearest numbers that bfloat16 can hold, ties to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
