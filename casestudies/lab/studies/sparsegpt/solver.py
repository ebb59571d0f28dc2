"""SparseGPT: prune columns from left to right and let the columns not yet seen make up for it.

Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
2023, Algorithm 1. Letters are the paper's: W weights, E errors, B columns in a block.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.quantize.hessian import inverse_factor
from casestudies.lab.studies.sparsegpt.grid import Grid
from casestudies.lab.studies.sparsegpt.masks import Pattern, smallest, smallest_in_column

# Columns whose updates are applied one by one; updates further right wait for a matrix product.
# A multiple of every group of an n:m pattern.
INNER = 16


@dataclass(frozen=True)
class Settings:
    """How to prune: `block` columns share one mask selection; `bits` also quantizes what stays."""

    pattern: Pattern
    block: int = 128
    damping: float = 0.01
    bits: int | None = None


def prune(weights: Sequence[Tensor], gram: Tensor, settings: Settings) -> list[Tensor]:
    """Return the pruned weights of linear layers that share the inputs of `gram` = X^T X.

    Each of `weights` is (rows, columns) and is pruned as if it were alone; together they share
    the work on the Hessian. Raises ValueError if the columns do not fill the pattern's groups.
    """
    columns = len(gram)
    if columns % (settings.pattern.group or 1):
        raise ValueError(f"{columns} columns do not divide into groups: {settings.pattern}")
    u = inverse_factor(gram, settings.damping)
    stacked = torch.cat(list(weights))
    grid = Grid.of(stacked, settings.bits) if settings.bits else None
    # Transposed, so that a column of the paper's W is contiguous.
    w = stacked.T.contiguous()
    w[gram.diagonal() == 0] = 0
    rows = [len(weight) for weight in weights]
    for start in range(0, columns, settings.block):
        stop = min(start + settings.block, columns)
        e = _prune_block(w[start:stop], u[start:stop, start:stop], rows, settings.pattern, grid)
        factors = u[start:stop, stop:] / u.diagonal()[start:stop, None]
        w[stop:].addmm_(factors.T, e, alpha=-1)
    return [part.T.contiguous() for part in w.split(rows, dim=1)]


def _prune_block(
    w: Tensor, u: Tensor, rows: Sequence[int], pattern: Pattern, grid: Grid | None
) -> Tensor:
    """Prune the columns w (B, rows) in place and return their errors E, undivided by U's diagonal.

    Dividing row i of U by U[i, i] instead spares a division of every error.
    """
    diagonal = u.diagonal()[:, None]
    factors = u / diagonal
    e = torch.empty_like(w)
    keep = torch.ones_like(w) if pattern.group else _keep_block(w / diagonal, rows, pattern)
    for first in range(0, len(w), INNER):
        last = min(first + INNER, len(w))
        # Views of single columns, made all at once because each costs as much as the arithmetic.
        columns, kept, errors, row = (t[first:last].unbind() for t in (w, keep, e, factors))
        for i, column in enumerate(columns, first):
            if pattern.group and i % pattern.group == 0:
                group = slice(i, i + pattern.group)
                keep[group] = _keep_group(w[group] / diagonal[group], pattern)
            new = column * kept[i - first]
            if grid:
                new = grid.nearest(new)
            torch.sub(column, new, out=errors[i - first])
            column.copy_(new)
            w[i + 1 : last].addr_(row[i - first][i + 1 : last], errors[i - first], alpha=-1)
        w[last:].addmm_(factors[first:last, last:].T, e[first:last], alpha=-1)
    return e


def _keep_block(saliency: Tensor, rows: Sequence[int], pattern: Pattern) -> Tensor:
    """Return 1 where a weight stays and 0 where it goes, chosen over the block of each matrix."""
    drop = [
        smallest(part.abs(), round(pattern.sparsity * part.numel()))
        for part in saliency.split(list(rows), dim=1)
    ]
    return torch.cat(drop, dim=1).logical_not().to(saliency.dtype)


def _keep_group(saliency: Tensor, pattern: Pattern) -> Tensor:
    return smallest_in_column(saliency.abs(), pattern.zeros).logical_not().to(saliency.dtype)
