"""PyTorch's own product of bfloat16 activations with int4 weights, in groups of 64."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

GROUP, MIDDLE, LEVELS = 64, 8, 15
KERNEL = "_weight_int4pack_mm_for_cpu"
aten: Any = torch.ops.aten


def has_kernel(device: str, kernel: str = KERNEL) -> bool:
    """Return whether PyTorch has such a kernel for the device, "cpu" or "cuda"."""
    return torch._C._dispatch_has_kernel_for_dispatch_key(f"aten::{kernel}", device.upper())


def int4(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Return the product with W (rows, columns) in half a byte a weight, of X in bfloat16."""
    groups = weight.unflatten(1, (-1, GROUP))  # rows, groups, columns of a group
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    step = ((high - low) / LEVELS).clamp(min=1e-12)
    codes = ((groups - low) / step).round().to(torch.int32).flatten(1)
    # The kernel reads (code - 8) step + middle.
    grids = torch.cat([step, low + MIDDLE * step], dim=-1)  # rows, groups, 2
    grids = grids.transpose(0, 1).contiguous().bfloat16()
    packed = aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    return lambda x: aten._weight_int4pack_mm_for_cpu(x, packed, GROUP, grids)
