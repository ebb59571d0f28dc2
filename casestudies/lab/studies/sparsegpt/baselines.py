"""The two simpler ways to choose what to prune; neither changes the weights that stay."""

from collections.abc import Sequence

import torch
from torch import Tensor

from casestudies.lab.quantize.grid import Grid
from casestudies.lab.studies.sparsegpt.masks import Pattern, smallest, smallest_in_column


def magnitude(weight: Tensor, pattern: Pattern, bits: int | None = None) -> Tensor:
    """Return `weight` (rows, columns) without its smallest entries, on a grid if `bits` is set."""
    scores = weight.abs()
    if pattern.group:
        drop = _smallest_in_groups(scores, pattern)
    else:
        drop = smallest(scores, round(pattern.sparsity * scores.numel()))
    return _apply(weight, drop, bits)


def wanda(
    weight: Tensor, inputs: Sequence[Tensor], pattern: Pattern, bits: int | None = None
) -> Tensor:
    """Return `weight` without the entries of each row that matter least for the given inputs.

    An entry matters by its size times the norm of its input (Sun et al., 2023, "A Simple and
    Effective Pruning Approach for Large Language Models").
    """
    norms = torch.stack([x.flatten(0, -2).square().sum(0) for x in inputs]).sum(0).sqrt()
    scores = weight.abs() * norms
    if pattern.group:
        drop = _smallest_in_groups(scores, pattern)
    else:
        count = round(pattern.sparsity * scores.shape[1])
        least = scores.topk(count, dim=1, largest=False, sorted=False).indices
        drop = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, least, value=True)
    return _apply(weight, drop, bits)


def _smallest_in_groups(scores: Tensor, pattern: Pattern) -> Tensor:
    rows, columns = scores.shape
    groups = scores.view(rows, columns // (pattern.group or 1), -1)
    drop = smallest_in_column(groups.movedim(2, 0), pattern.zeros)
    return drop.movedim(0, 2).reshape(rows, columns)


def _apply(weight: Tensor, drop: Tensor, bits: int | None) -> Tensor:
    kept = weight.masked_fill(drop, 0)
    return Grid.of(weight, bits).nearest(kept.T).T.contiguous() if bits else kept
