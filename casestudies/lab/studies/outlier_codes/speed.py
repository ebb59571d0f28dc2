"""What decoding costs without a circuit for it: the products of a model's layers, one by one.

A byte's two numbers are looked up in a table of 256 rows, the product is in bfloat16, and its sums
are multiplied by the scale of their row. Plain int4 in the same bytes is unpacked by arithmetic.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.quantize.int4_kernel import GROUP, has_kernel, int4
from casestudies.lab.studies.outlier_codes.about import INT4_NEAREST, KERNEL, OLIVE
from casestudies.lab.studies.outlier_codes.packed import ROUNDINGS, pack
from casestudies.lab.studies.outlier_codes.pairs import tables

TOKENS = (1, 256)
LARGEST = 7

Product = Callable[[Tensor], Tensor]  # of activations (tokens, columns) in bfloat16


def looked_up(weight: Tensor) -> Product:
    """Return the product with W (rows, columns) in OliVe's pairs, decoded each time."""
    packed = pack(weight, ROUNDINGS[OLIVE], weight.shape[1])
    numbers = tables(packed.code, weight.device).numbers.bfloat16()  # whole, so nothing is lost
    scale = packed.scale.flatten().bfloat16()
    codes = packed.codes
    return lambda x: F.linear(x, F.embedding(codes.int(), numbers).flatten(1)) * scale


def unpacked(weight: Tensor) -> Product:
    """Return the product with W (rows, columns) in plain int4 in the same bytes."""
    step = (weight.abs().amax(1, keepdim=True) / LARGEST).clamp(min=1e-12)
    whole = ((weight / step).round() + LARGEST).to(torch.uint8)
    codes = whole[:, 0::2] << 4 | whole[:, 1::2]
    scale = step.flatten().bfloat16()

    def product(x: Tensor) -> Tensor:
        halves = torch.stack((codes >> 4, codes & 0b1111), dim=-1).flatten(1)
        return F.linear(x, halves.to(x.dtype) - LARGEST) * scale

    return product


def products(weights: Sequence[Tensor]) -> dict[str, list[Product]]:
    """Return by variant what multiplies with each of the weights, where there is a way."""
    made = {OLIVE: looked_up, INT4_NEAREST: unpacked}
    whole_groups = all(weight.shape[1] % GROUP == 0 for weight in weights)
    if whole_groups and has_kernel(weights[0].device.type):
        made[KERNEL] = int4
    return {name: [make(weight) for weight in weights] for name, make in made.items()}


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

    def of(given: dict[int, Tensor], by: Sequence[Product]) -> Callable[[], None]:
        def run() -> None:
            for weight, product in zip(weights, by, strict=True):
                product(given[weight.shape[1]])

        return run

    def dense(matrices: Sequence[Tensor]) -> list[Product]:
        return [partial(F.linear, weight=matrix) for matrix in matrices]

    runs = {
        "float32": of(inputs, dense(weights)),
        "bfloat16": of(half, dense([weight.bfloat16() for weight in weights])),
    } | {name: of(half, by) for name, by in products(weights).items()}
    return ratios(alternately(runs, rounds, device), to="float32")
