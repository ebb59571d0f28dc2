"""Round-to-nearest quantization on one grid per row of weights."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Evenly spaced values from each row's least to its greatest weight; zero is one of them."""

    step: Tensor  # rows
    zero: Tensor  # rows: the number of steps from the least value to zero
    levels: int

    @classmethod
    def of(cls, weight: Tensor, bits: int) -> "Grid":
        """Return the grid of 2^bits values that spans the rows of `weight` (rows, columns)."""
        low = weight.amin(1).clamp(max=0)
        high = weight.amax(1).clamp(min=0)
        levels = 2**bits - 1
        step = ((high - low) / levels).clamp(min=1e-12)
        return cls(step, (-low / step).round(), levels)

    def nearest(self, column: Tensor) -> Tensor:
        """Return the grid's values nearest to a column of weights (rows) or several (..., rows)."""
        steps = (column / self.step).round_().add_(self.zero).clamp_(0, self.levels)
        return steps.sub_(self.zero).mul_(self.step)
