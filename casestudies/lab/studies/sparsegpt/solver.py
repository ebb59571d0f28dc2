"""SparseGPT: prune columns from left to right and let the columns not yet seen make up for it.

Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot",
2023, Algorithm 1. The loop over columns is that of GPTQ; what is its own is which weights go.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.quantize import columns
from casestudies.lab.quantize.grid import Grid
from casestudies.lab.quantize.hessian import inverse_factor
from casestudies.lab.studies.sparsegpt.masks import Pattern, smallest, smallest_in_column


@dataclass(frozen=True)
class Settings:
    """How to prune: `block` columns share one mask selection; `bits` also quantizes what stays.

    With `one_kernel` the columns of a block are pruned by one, in Triton.
    """

    pattern: Pattern
    block: int = 128
    damping: float = 0.01
    bits: int | None = None
    one_kernel: bool = False


def prune(weights: Sequence[Tensor], gram: Tensor, settings: Settings) -> list[Tensor]:
    """Return the pruned weights of linear layers that share the inputs of `gram` = X^T X.

    Each of `weights` is (rows, columns) and is pruned as if it were alone; together they share
    the work on the Hessian. Raises ValueError if the columns do not fill the pattern's groups.
    """
    if len(gram) % (settings.pattern.group or 1):
        raise ValueError(f"{len(gram)} columns do not divide into groups: {settings.pattern}")
    u = inverse_factor(gram, settings.damping)
    stacked = torch.cat(list(weights))
    grid = Grid.of(stacked, settings.bits) if settings.bits else None
    w = stacked.T.contiguous()
    w[gram.diagonal() == 0] = 0
    rows = [len(weight) for weight in weights]
    if settings.one_kernel:
        columns.change_blocks(w, u, settings.block, _in_one_kernel(rows, grid, settings))
    else:
        pruning = _pruning(w, u.diagonal()[:, None], rows, grid, settings)
        columns.change(w, u, settings.block, pruning)
    return [part.T.contiguous() for part in w.split(rows, dim=1)]


def _pruning(
    w: Tensor, diagonal: Tensor, rows: Sequence[int], grid: Grid | None, settings: Settings
) -> columns.Change:
    """Return what sets weights of a column to zero and rounds the others."""
    pattern, size = settings.pattern, settings.block
    keep = torch.ones_like(w)  # 1 where a weight stays
    kept = keep.unbind()

    def pruned(i: int, column: Tensor) -> Tensor:
        if pattern.group and i % pattern.group == 0:
            group = slice(i, i + pattern.group)
            keep[group] = _keep_group(w[group] / diagonal[group], pattern)
        elif not pattern.group and i % size == 0:
            block = slice(i, i + size)
            keep[block] = _keep_block(w[block] / diagonal[block], rows, pattern)
        new = column * kept[i]
        return grid.nearest(new) if grid else new

    return pruned


def _in_one_kernel(
    rows: Sequence[int], grid: Grid | None, settings: Settings
) -> columns.ChangeBlock:
    """Return what does the same to a block of columns at once."""
    from casestudies.lab.kernels import columns as kernel

    pattern = settings.pattern

    def pruned(w: Tensor, u: Tensor, start: int) -> Tensor:
        if pattern.group:
            return kernel.prune(w, u, None, pattern.zeros, pattern.group, grid)
        keep = _keep_block(w / u.diagonal()[:, None], rows, pattern)
        return kernel.prune(w, u, keep, 0, 1, grid)

    return pruned


def _keep_block(saliency: Tensor, rows: Sequence[int], pattern: Pattern) -> Tensor:
    """Return 1 where a weight stays and 0 where it goes, chosen over the block of each matrix."""
    drop = [
        smallest(part.abs(), round(pattern.sparsity * part.numel()))
        for part in saliency.split(list(rows), dim=1)
    ]
    return torch.cat(drop, dim=1).logical_not().to(saliency.dtype)


def _keep_group(saliency: Tensor, pattern: Pattern) -> Tensor:
    return smallest_in_column(saliency.abs(), pattern.zeros).logical_not().to(saliency.dtype)
