"""Rounds weights to three values per row: the row's least, zero, and its greatest."""

from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.studies.qmoe.codes.ternary import Ternary


@dataclass(frozen=True)
class TernaryGrid:
    """Three values for each row of a stack of matrices: `low`, zero and `high` (..., rows)."""

    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, weights: Tensor, clip: float) -> "TernaryGrid":
        """Return `clip` times the least and greatest weights of each row (..., rows, columns).

        They are rounded to bfloat16, in which they will be stored.
        """
        low = weights.amin(-1).clamp(max=0) * clip
        high = weights.amax(-1).clamp(min=0) * clip
        return cls(*(value.bfloat16().to(weights.dtype) for value in (low, high)))

    def nearest(self, column: Tensor) -> Tensor:
        """Return the grid's values nearest to a column of weights (..., rows)."""
        zero = torch.zeros_like(column)
        up = torch.where(column > self.high / 2, self.high, zero)
        return torch.where(column < self.low / 2, self.low, up)

    def trits(self, values: Tensor) -> Ternary:
        """Return grid values (..., rows, columns) as one matrix, all rows below one another."""
        trits = (values > 0).byte() * 2 + (values < 0).byte()
        scales = torch.stack([self.low, self.high], -1).float()
        return Ternary(
            trits.flatten(0, -2).cpu().numpy(), scales.flatten(0, -2).contiguous().cpu().numpy()
        )


def round_to_nearest(weights: Tensor, clip: float) -> tuple[Tensor, Ternary]:
    """Return a stack of matrices (..., rows, columns) on their grid, as weights and as trits."""
    grid = TernaryGrid.of(weights, clip)
    rounded = grid.nearest(weights.movedim(-1, 0)).movedim(0, -1).contiguous()
    return rounded, grid.trits(rounded)
