"""LLM.int8(): columns of activations with outliers are multiplied as they are, the rest in 8 bits.

Dettmers et al., 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale", section
3.2: with O the columns h of X (tokens, columns) in which any token reaches the threshold,

    X W^T ~ sum over h in O of X_h W_h  +  s_x s_w sum over the others of int8(X_h) int8(W_h)

The publication keeps W_h of the outliers in 16 bits. Which columns they are turns out only when X
is there, so here they are read back from 8 bits, as its library does: nothing else is stored.
"""

import torch
from torch import Tensor, nn

from casestudies.lab.studies.quantization.int8 import per_token


class OutliersApart:
    """What layers read instead of X: outliers' columns as they are, the others in 8 bits.

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
