"""What linear layers read in 8 bits: one scale for all or one a token, outliers apart, smoothed.

Dettmers et al., 2022, "LLM.int8(): 8-bit Matrix Multiplication for Transformers at Scale"; Xiao
et al., 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models".
Letters are the papers': X activations (tokens, columns), W weights, s scales. Numbers are rounded
to those that 8 bits hold and computed with in float32, which is what an integer product says, but
for the order of its sums.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

INT8 = 127
# What a linear layer reads in place of its inputs X (..., columns).
Reading = Callable[[nn.Linear, Tensor], Tensor]


def to_int8(x: Tensor, scale: Tensor) -> Tensor:
    """Return x / scale as whole numbers, -127 to 127."""
    return (x / scale).round_().clamp_(-INT8, INT8)


def scale_of(x: Tensor, dim: int | None = None) -> Tensor:
    """Return the scale by which the largest of x, or of each row along `dim`, becomes 127."""
    largest = x.abs().max() if dim is None else x.abs().amax(dim, keepdim=True)
    return (largest / INT8).clamp(min=1e-12)


def rounded_rows(weight: Tensor) -> Tensor:
    """Return W (rows, columns) on 8 bits with one scale a row (vector-wise)."""
    scale = scale_of(weight, dim=1)
    return to_int8(weight, scale) * scale


def per_tensor(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return X on 8 bits with one scale for all of it."""
    scale = scale_of(x)
    return to_int8(x, scale) * scale


def per_token(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return X on 8 bits with one scale a token."""
    scale = scale_of(x, dim=-1)
    return to_int8(x, scale) * scale


class OutliersApart:
    """LLM.int8(): columns of X in which any token reaches the threshold stay as they are.

    The others are rounded with one scale a token. `share` is that of multiply-adds done in 8 bits.
    The outliers' weights are those of 8 bits, too, so that nothing else need be stored.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._all = self._int8 = 0

    @property
    def share(self) -> float:
        """Return the share of all multiply-adds so far."""
        return self._int8 / self._all

    def __call__(self, linear: nn.Linear, x: Tensor) -> Tensor:
        outlier = (x.abs() >= self._threshold).flatten(0, -2).any(0)  # columns
        products = x.numel() // x.shape[-1] * linear.out_features  # of each column
        self._all += products * len(outlier)
        self._int8 += products * int((~outlier).sum())
        return torch.where(outlier, x, per_token(linear, x.masked_fill(outlier, 0)))


def smoothed(scales: Mapping[nn.Linear, Tensor], read: Reading) -> Reading:
    """Return what lets each layer read X / s, rounded; its weights are to be those of W s."""
    return lambda linear, x: read(linear, x / scales[linear])


def smoothing(largest: Tensor, weights: Sequence[Tensor], strength: float) -> Tensor:
    """Return s = max|X|^a / max|W|^(1-a) by columns (equation 4), for layers that share inputs.

    `largest` is max|X| of each column over calibration text, `strength` the paper's a.
    """
    of_weights = torch.stack([weight.abs().amax(0) for weight in weights]).amax(0)
    s = largest.clamp(min=1e-5) ** strength / of_weights.clamp(min=1e-5) ** (1 - strength)
    return s.clamp(min=1e-5)


@contextmanager
def reading(linears: Iterable[nn.Linear], read: Reading) -> Iterator[None]:
    """Let the layers read what `read` makes of their inputs, until the context is left."""
    with ExitStack() as stack:
        for linear in linears:
            handle = linear.register_forward_pre_hook(lambda layer, given: (read(layer, given[0]),))
            stack.callback(handle.remove)
        yield
