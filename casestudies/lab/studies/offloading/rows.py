"""Weights and gradients as one row of numbers, so that they lie and travel together."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def row_of(module: nn.Module) -> Tensor:
    """Return the weights of a module as one row (n)."""
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def parts(row: Tensor, shapes: Sequence[torch.Size]) -> list[Tensor]:
    """Return the row (n) as tensors of these shapes, which share its memory."""
    split = row.split([shape.numel() for shape in shapes])
    return [part.view(shape) for part, shape in zip(split, shapes, strict=True)]


def put_together(tensors: Sequence[Tensor], row: Tensor) -> None:
    """Fill the row (n) with the tensors' numbers."""
    torch.cat([tensor.flatten() for tensor in tensors], out=row)
