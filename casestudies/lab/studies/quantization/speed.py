"""What packed weights buy in speed: the linear layers of a model in turn, as a step reads them.

The kernels are PyTorch's own. Where only weights are packed, activations are bfloat16: int8 with
one scale a row, and int4 with a scale and a zero for each group. Where activations are rounded,
too, each product rounds them first, multiplies whole numbers and scales the sums.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.quantize.int8 import scale_of, to_int8

TOKENS = (1, 256)
INT4_GROUP, INT4_MIDDLE, INT4_LEVELS = 64, 8, 15
LEAST_TOKENS_OF_GPU = 16
INT8_KERNEL, INT4_KERNEL = "_weight_int8pack_mm", "_weight_int4pack_mm_for_cpu"
aten: Any = torch.ops.aten

Product = Callable[[Tensor], Tensor]  # of activations (tokens, columns) in bfloat16


def int8(weight: Tensor) -> Product:
    """Return the product with W (rows, columns) in one byte a weight."""
    scale = scale_of(weight, dim=1).bfloat16()
    codes = to_int8(weight, scale.float()).to(torch.int8)
    scales = scale.flatten()
    return lambda x: aten._weight_int8pack_mm(x, codes, scales)


def unpacked(weight: Tensor) -> Product:
    """Return the same product by a dense one with the weights unpacked each time."""
    scale = scale_of(weight, dim=1).bfloat16()
    codes = to_int8(weight, scale.float()).to(torch.int8)
    return lambda x: F.linear(x, codes.to(x.dtype) * scale)


def both_in_int8(weight: Tensor, dim: int | None) -> Product:
    """Return the product of whole numbers: one scale for all of X, or one a token along `dim`."""
    scale = scale_of(weight, dim=1)
    codes = to_int8(weight, scale).to(torch.int8).T
    scales = scale.bfloat16().flatten()

    def product(x: Tensor) -> Tensor:
        of_x = scale_of(x, dim)
        whole = torch._int_mm(to_int8(x, of_x).to(torch.int8), codes)
        return whole.to(x.dtype) * of_x * scales

    return product


def int4(weight: Tensor) -> Product:
    """Return the product with W (rows, columns) in half a byte a weight, in groups of 64."""
    groups = weight.unflatten(1, (-1, INT4_GROUP))  # rows, groups, columns of a group
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    step = ((high - low) / INT4_LEVELS).clamp(min=1e-12)
    codes = ((groups - low) / step).round().to(torch.int32).flatten(1)
    # The kernel reads (code - 8) step + middle.
    grids = torch.cat([step, low + INT4_MIDDLE * step], dim=-1)  # rows, groups, 2
    grids = grids.transpose(0, 1).contiguous().bfloat16()
    packed = aten._convert_weight_to_int4pack_for_cpu(codes, 1)
    return lambda x: aten._weight_int4pack_mm_for_cpu(x, packed, INT4_GROUP, grids)


def kernels(device: str, tokens: int) -> dict[str, Callable[[Tensor], Product]]:
    """Return by variant what makes a product of so many tokens, where the device has a kernel."""
    key = device.upper()
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    made: dict[str, Callable[[Tensor], Product]] = {"unpacked first": unpacked}
    if has(f"aten::{INT8_KERNEL}", key):
        made["int8 kernel"] = int8
    if has(f"aten::{INT4_KERNEL}", key):
        made["int4 kernel"] = int4
    # On a GPU the product of whole numbers asks for more than 16 tokens.
    if device == "cpu" or tokens > LEAST_TOKENS_OF_GPU:
        made["W8A8 per tensor"] = partial(both_in_int8, dim=None)
        made["W8A8 per token"] = partial(both_in_int8, dim=-1)
    return made


@torch.inference_mode()
def speeds(
    weights: Sequence[Tensor], tokens: int, rounds: int, generator: torch.Generator
) -> dict[str, list[float]]:
    """Return, per variant, the time in float32 divided by its own, once a round.

    So many tokens are multiplied with each of the weights (rows, columns), which are float32.
    """
    device = weights[0].device.type
    inputs = {
        columns: torch.randn(tokens, columns, generator=generator).to(device)
        for columns in {weight.shape[1] for weight in weights}
    }
    half = {columns: x.bfloat16() for columns, x in inputs.items()}
    halves = [weight.bfloat16() for weight in weights]

    def of(products: Sequence[Product]) -> Callable[[], None]:
        def run() -> None:
            for weight, product in zip(weights, products, strict=True):
                product(half[weight.shape[1]])

        return run

    def in_float32() -> None:
        for weight in weights:
            F.linear(inputs[weight.shape[1]], weight)

    def in_bfloat16() -> None:
        for weight in halves:
            F.linear(half[weight.shape[1]], weight)

    runs = {"float32": in_float32, "bfloat16": in_bfloat16} | {
        variant: of([make(weight) for weight in weights])
        for variant, make in kernels(device, tokens).items()
    }
    return ratios(alternately(runs, rounds, device), to="float32")
