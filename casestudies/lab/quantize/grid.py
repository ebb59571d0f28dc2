"""Evenly spaced values that weights are rounded to, one grid for each row."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Evenly spaced values from each row's least to its greatest weight; zero is one of them.

    A weight within them is no further from the nearest than half a step.
    """

    step: Tensor  # rows
    zero: Tensor  # rows: the number of steps from the least value to zero
    levels: int

    @classmethod
    def of(cls, weight: Tensor, bits: int, *, stored: bool = False) -> "Grid":
        """Return the grid of 2^bits values that spans the rows of `weight` (rows, columns).

        A grid that is to be stored has steps that 16 bits hold.
        """
        low = weight.amin(1).clamp(max=0)
        high = weight.amax(1).clamp(min=0)
        levels = 2**bits - 1
        step = ((high - low) / levels).clamp(min=1e-12)
        step = half_no_less(step).to(step.dtype) if stored else step
        return cls(step, (-low / step).round(), levels)

    def codes(self, column: Tensor) -> Tensor:
        """Return which values are nearest to a column of weights (rows) or several (..., rows)."""
        return (column / self.step).round_().add_(self.zero).clamp_(0, self.levels)

    def values(self, codes: Tensor) -> Tensor:
        """Return the values of these codes (..., rows)."""
        return (codes - self.zero).mul_(self.step)

    def nearest(self, column: Tensor) -> Tensor:
        """Return the grid's values nearest to a column of weights (rows) or several (..., rows)."""
        return self.values(self.codes(column))


def half_no_less(x: Tensor) -> Tensor:
    """Return positive x in float16, rounded up, so that a grid reaches as far as its weights."""
    half = x.half()
    # The bits of the next larger number are those of the next larger integer.
    up = half.view(torch.int16) + (half.to(x.dtype) < x).to(torch.int16)
    return up.view(torch.float16)
