"""Weights and activations in 8 bits, with one scale for all numbers, one a token or one a row.

Numbers are rounded to those that 8 bits hold and computed with in float32, which is what an
integer product says, but for the order of its sums.
"""

from torch import Tensor, nn

from casestudies.lab.quantize.grid import Grid

INT8 = 127


def to_int8(x: Tensor, scale: Tensor) -> Tensor:
    """Return x / scale as whole numbers, -127 to 127."""
    return (x / scale).round_().clamp_(-INT8, INT8)


def scale_of(x: Tensor, dim: int | None = None) -> Tensor:
    """Return the scale by which the largest of x, or of each row along `dim`, becomes 127."""
    largest = x.abs().max() if dim is None else x.abs().amax(dim, keepdim=True)
    return (largest / INT8).clamp(min=1e-12)


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
