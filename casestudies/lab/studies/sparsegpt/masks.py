"""Which weights become zero."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Pattern:
    """The share of zeros, over a whole matrix or, given a `group`, in every so many columns."""

    sparsity: float
    group: int | None = None

    @property
    def zeros(self) -> int:
        """Return the number of zeros in a group."""
        return round(self.sparsity * (self.group or 0))


def parse(pattern: str, sparsity: float) -> Pattern:
    """Return the pattern named "unstructured", with that sparsity, or "n:m": n zeros in every m."""
    if pattern == "unstructured":
        return Pattern(sparsity)
    zeros, group = map(int, pattern.split(":"))
    return Pattern(zeros / group, group)


def smallest(scores: Tensor, count: int) -> Tensor:
    """Return a mask that is true at exactly `count` places, where the scores are smallest."""
    mask = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
    flat = scores.flatten()
    if flat.is_cuda:
        mask[flat.topk(count, largest=False, sorted=False).indices] = True
    elif 0 < count < len(flat):
        # NumPy selects with vector instructions, many times faster than PyTorch on a CPU.
        mask[torch.from_numpy(np.argpartition(flat.numpy(), count)[:count])] = True
    else:
        mask[:] = count > 0
    return mask.view(scores.shape)


def smallest_in_column(scores: Tensor, count: int) -> Tensor:
    """Return a mask that is true at the `count` smallest scores of each column (dimension 0)."""
    least = scores.topk(count, dim=0, largest=False, sorted=False).indices
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(0, least, value=True)
