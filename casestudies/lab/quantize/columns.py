"""Change a layer's columns from left to right and let the columns not yet seen make up for it.

GPTQ (Frantar et al., 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", Algorithm 1) rounds every weight so, SparseGPT (Frantar and Alistarh, 2023,
Algorithm 1) prunes and may round what stays. Letters are the papers': W weights, E errors, B
columns in a block. All matrices of weights are transposed, so that a column of the papers' is
contiguous.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Columns whose updates are applied one by one; updates further right wait for a matrix product.
INNER = 16
# The new values of column i, given its number and its values. Columns before it are done, and those
# after it have made up for them: up to the end of its block where i, counted from the block's first
# column, is a multiple of INNER, and else up to the next such multiple.
Change = Callable[[int, Tensor], Tensor]
# Changes a block's columns (B, rows) in place, given U's part (B, B) and the number of the first,
# and returns E (B, rows), undivided by U's diagonal.
ChangeBlock = Callable[[Tensor, Tensor, int], Tensor]


def change(w: Tensor, u: Tensor, block: int, new: Change) -> None:
    """Change the columns w (columns, rows) in place, one by one.

    `u` is the inverse factor of the layer's Hessian (see `hessian.py`).
    """
    change_blocks(w, u, block, lambda part, own, start: change_block(part, own, start, new))


def change_blocks(w: Tensor, u: Tensor, block: int, changed: ChangeBlock) -> None:
    """Change the columns w (columns, rows) in place, block by block."""
    columns = len(w)
    for start in range(0, columns, block):
        stop = min(start + block, columns)
        e = changed(w[start:stop], u[start:stop, start:stop], start)
        factors = u[start:stop, stop:] / u.diagonal()[start:stop, None]
        w[stop:].addmm_(factors.T, e, alpha=-1)


def change_block(w: Tensor, u: Tensor, start: int, new: Change) -> Tensor:
    """Change a block's columns w (B, rows) in place and return E, undivided by U's diagonal.

    Dividing row i of U by U[i, i] instead spares a division of every error.
    """
    factors = u / u.diagonal()[:, None]
    e = torch.empty_like(w)
    for first in range(0, len(w), INNER):
        last = min(first + INNER, len(w))
        # Views of single columns, made all at once because each costs as much as the arithmetic.
        columns, errors, row = (t[first:last].unbind() for t in (w, e, factors))
        for i, column in enumerate(columns, first):
            values = new(start + i, column)
            torch.sub(column, values, out=errors[i - first])
            column.copy_(values)
            w[i + 1 : last].addr_(row[i - first][i + 1 : last], errors[i - first], alpha=-1)
        w[last:].addmm_(factors[first:last, last:].T, e[first:last], alpha=-1)
    return e
