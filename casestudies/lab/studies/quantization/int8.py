"""Weights and activations in 8 bits: one scale for all, for a token or a row; LLM.int8().

Numbers are rounded to those that 8 bits hold and computed with in float32, which is what an
integer product says, but for the order of its sums.
"""

import torch
from torch import Tensor, nn

from casestudies.lab.quantize.grid import Grid
from casestudies.lab.quantize.int8 import scale_of, to_int8


def rounded(x: Tensor, dim: int | None = None) -> Tensor:
    """Return x on 8 bits, with one scale for all of it or one for each row along `dim`."""
    scale = scale_of(x, dim)
    return to_int8(x, scale) * scale


def unrounded(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return X as it is."""
    return x


def per_tensor(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return X on 8 bits with one scale for all of it."""
    return rounded(x)


def per_token(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return X on 8 bits with one scale a token."""
    return rounded(x, dim=-1)


def as_quantize_dynamic(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return X as PyTorch's `quantize_dynamic` rounds it for x86: 7 bits, one grid for all of it.

    The eighth bit is left out so that sums of two products fit into 16.
    """
    flat = x.reshape(-1, 1)
    return Grid.of(flat.T, bits=7).nearest(flat).view_as(x)


class OutliersApart:
    """What layers read instead of X: outliers' columns as they are, the others in 8 bits.

    Dettmers et al., 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale",
    section 3.2: with O the columns h of X (tokens, columns) in which any token reaches the
    threshold,

        X W^T ~ sum over h in O of X_h W_h  +  s_x s_w sum over the others of int8(X_h) int8(W_h)

    The publication keeps W_h of the outliers in 16 bits. Which columns they are turns out only when
    X is there, so here they are read back from 8 bits, as its library does: nothing else is stored.

    `share` is that of multiply-adds of which both factors are in 8 bits.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._all = self._int8 = 0

    @property
    def share(self) -> float:
        """Return the share of all multiply-adds so far."""
        return self._int8 / self._all

    def __call__(self, linear: nn.Linear, x: Tensor) -> Tensor:
        outlier = (x.abs() >= self._threshold).flatten(0, -2).any(0)  # O, by columns
        products = x.numel() // x.shape[-1] * linear.out_features  # of each column
        self._all += products * len(outlier)
        self._int8 += products * int((~outlier).sum())
        # A token's scale does not see its outliers.
        return torch.where(outlier, x, per_token(linear, x.masked_fill(outlier, 0)))
