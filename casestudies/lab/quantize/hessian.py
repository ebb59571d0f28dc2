"""The layer-wise least-squares problem behind SparseGPT, GPTQ and their relatives.

For a layer with inputs X (tokens, columns), changing the weights by D costs |X D^T|^2, whose
second derivative for every row of weights is the Gram matrix G = X^T X (the papers' H is 2 G;
the factor cancels).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

TOKENS = 1024  # joined for one product: large products are fast, but joining takes memory
SMALL = 128  # columns below which halving no longer pays


def gram(inputs: Sequence[Tensor]) -> Tensor:
    """Return X^T X over all inputs, each (..., tokens, columns)."""
    *tokens, columns = inputs[0].shape
    total = inputs[0].new_zeros(columns, columns)
    joined = max(1, TOKENS // max(1, math.prod(tokens)))
    for start in range(0, len(inputs), joined):
        x = torch.cat([part.flatten(0, -2) for part in inputs[start : start + joined]])
        # NumPy sees that both factors are one array and computes only half of the product.
        total += x.T @ x if x.is_cuda else torch.from_numpy(x.numpy().T @ x.numpy())
    return total


def inverse_factor(gram_matrix: Tensor, damping: float) -> Tensor:
    """Return the upper triangular U with U^T U = (G + damping * mean(diag G) * I)^-1.

    Row i of U / U[i, i] is how the columns after i make up for a change of column i, once the
    columns before i are fixed: all of the paper's inverse Hessians in one factor. A column whose
    input is always zero gets 1 on the diagonal. Raises torch.linalg.LinAlgError if the damped
    matrix is not positive definite.
    """
    diagonal = gram_matrix.diagonal()
    damped = gram_matrix.clone()
    damped.diagonal().add_(damping * diagonal.mean() + (diagonal == 0))
    return _inverse_factor(damped)


def _inverse_factor(g: Tensor) -> Tensor:
    """Return the upper triangular U with U^T U = G^-1.

    With V = U^-1 upper triangular, G = V V^T. Halving G turns nearly all of the work into matrix
    products, which run several times faster than a Cholesky chain with a triangular inverse:

        G = [A   B]   V = [V1  X ]   U = [U1  -U1 X U2]   X = B U2^T
            [B^T D]       [0   V2]       [0    U2     ]   U1 from A - X X^T, U2 from D
    """
    if len(g) <= SMALL:
        # Cholesky read from the last column to the first gives the upper factor.
        v = torch.linalg.cholesky(g.flip(0, 1)).flip(0, 1)
        return torch.linalg.solve_triangular(v, torch.eye(len(v)).to(v), upper=True)
    half = len(g) // 2
    u = torch.zeros_like(g)
    u2 = u[half:, half:] = _inverse_factor(g[half:, half:])
    x = g[:half, half:] @ u2.T
    u1 = u[:half, :half] = _inverse_factor(torch.addmm(g[:half, :half], x, x.T, alpha=-1))
    torch.matmul(u1 @ x, u2, out=u[:half, half:]).neg_()
    return u
