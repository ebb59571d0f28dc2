"""Whole numbers of 8 bits with scales: the nearest to x / scale, ties to the even one."""

from typing import NamedTuple

import torch
from torch import Tensor

INT8 = 127
LEAST = 1e-12  # scale of what is all zeros


def to_int8(x: Tensor, scale: Tensor) -> Tensor:
    """Return x / scale as whole numbers, -127 to 127, in the type of x."""
    return (x / scale).round_().clamp_(-INT8, INT8)


def scale_of(x: Tensor, dim: int | None = None) -> Tensor:
    """Return the scale by which the largest of x, or of each row along `dim`, becomes 127."""
    largest = x.abs().max() if dim is None else x.abs().amax(dim, keepdim=True)
    return (largest / INT8).clamp(min=LEAST)


class Int8(NamedTuple):
    """A matrix as whole numbers: of a row's, or of all, the scale is what 1 stands for."""

    codes: Tensor  # rows, columns; int8
    scale: Tensor  # rows, or 1; float32

    @classmethod
    def of(cls, x: Tensor, scale: Tensor | None = None) -> "Int8":
        """Return x (rows, columns) rounded: by this scale (1), or by one of each row's own."""
        x = x.float()
        scale = scale_of(x, dim=1).flatten() if scale is None else scale
        return cls(to_int8(x, scale[:, None]).to(torch.int8), scale)

    def numbers(self) -> Tensor:
        """Return what it stands for (rows, columns) in float64, where the product is exact."""
        return self.codes.double() * self.scale.double()[:, None]
