"""GPTQ for a stack of experts at once.

Frantar et al., "GPTQ: Accurate Post-Training Quantization", 2022: columns are rounded from left
to right, and the columns not yet rounded make up for the error. The experts of a block have
matrices of one shape, so all of them take each step together.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.studies.qmoe.codes.ternary import Ternary
from casestudies.lab.studies.qmoe.grid import TernaryGrid

# Columns after which the rest of a block, and then of the matrix, are brought up to date by one
# matrix product.
INNER, BLOCK = 16, 128
RETRIES = 3  # each with ten times the damping


@dataclass(frozen=True)
class Quantized:
    """A stack of matrices on its grid; `fallen_back` are the experts rounded to nearest."""

    weights: Tensor
    ternary: Ternary
    fallen_back: list[int]


def quantize(
    weights: Tensor, grams: Tensor, tokens: Tensor, clip: float, damping: float
) -> Quantized:
    """Return the experts' weights (E, rows, columns) fitted to the inputs of `grams` (X^T X each).

    An expert that saw fewer `tokens` (E) than one in each eight of its columns, or whose damped
    Gram matrix is not positive definite however much it is damped, is rounded to nearest.
    """
    factors, solved = inverse_factors(grams, damping)
    solved &= tokens.to(solved.device) * 8 >= weights.shape[-1]
    # With no coupling between columns the same steps round to nearest.
    factors[~solved] = torch.eye(grams.shape[-1]).to(grams)
    grid = TernaryGrid.of(weights, clip)
    values = _round_columns(weights.mT.contiguous(), factors, grid).mT.contiguous()
    return Quantized(values, grid.trits(values), (~solved).nonzero().flatten().tolist())


def inverse_factors(grams: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Return the upper triangular U of each matrix (E) with U^T U = (G + damping * mean)^-1.

    The second tensor says which of them exist; where Cholesky's method fails, or finds what is
    not a number, it is tried again with more damping.
    """
    size = grams.shape[-1]
    mean = grams.diagonal(dim1=-2, dim2=-1).mean(-1)
    identity = torch.eye(size).to(grams)
    factors = identity.repeat(len(grams), 1, 1)
    solved = torch.zeros(len(grams), dtype=torch.bool, device=grams.device)
    for retry in range(1 + RETRIES):
        left = (~solved).nonzero().flatten()
        damped = grams[left] + (damping * 10**retry * mean[left])[:, None, None] * identity
        # Cholesky read from the last column to the first gives the upper factor of G itself.
        lower, failed = torch.linalg.cholesky_ex(damped.flip(-2, -1))
        found = (failed == 0) & lower.isfinite().flatten(1).all(1)
        upper = lower[found].flip(-2, -1)
        factors[left[found]] = torch.linalg.solve_triangular(
            upper, identity.expand_as(upper), upper=True
        )
        solved[left[found]] = True
        if solved.all():
            break
    return factors, solved


def _round_columns(w: Tensor, u: Tensor, grid: TernaryGrid) -> Tensor:
    """Round the columns w (E, columns, rows) in place, one after another, and return them."""
    # Row i of U / U[i, i] is how later columns make up for an error in column i.
    factors = u / u.diagonal(dim1=-2, dim2=-1)[..., None]
    for start in range(0, w.shape[1], BLOCK):
        stop = min(start + BLOCK, w.shape[1])
        errors = _round_block(w[:, start:stop], factors[:, start:stop, start:stop], grid)
        w[:, stop:].baddbmm_(factors[:, start:stop, stop:].mT, errors, alpha=-1)
    return w


def _round_block(w: Tensor, factors: Tensor, grid: TernaryGrid) -> Tensor:
    """Round the columns w (E, B, rows) in place and return their errors."""
    errors = torch.empty_like(w)
    for first in range(0, w.shape[1], INNER):
        last = min(first + INNER, w.shape[1])
        for i in range(first, last):
            column = w[:, i].clone()
            w[:, i] = grid.nearest(column)
            errors[:, i] = column.sub_(w[:, i])
            w[:, i + 1 : last] -= factors[:, i, i + 1 : last, None] * errors[:, i, None]
        w[:, last:].baddbmm_(factors[:, first:last, last:].mT, errors[:, first:last], alpha=-1)
    return errors
