"""Products of int8 activations and int8 weights, summed in int32 on tensor cores.

Y = s_x s_w (X W^T) + b, where the whole numbers are multiplied and summed exactly and the scales
come after: of weights one a row, of activations one a token (Yao et al., 2022, "ZeroQuant",
section 4) or one for all that is known before (Xiao et al., 2022, "SmoothQuant", section 4). Then
Y is float16, with ReLU or without; or, by a scale that is known, rounded to int8 for the next
product before it was anywhere but in registers.

Shapes in comments: N tokens, K columns, R rows of the weights.
"""

from functools import partial
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.kernels.int8_tokens import misrounded, nearest
from casestudies.lab.measure.equality import TOLERANCES, Equality, differing, relative
from casestudies.lab.quantize.int8 import INT8, Int8

LONGEST = 2**31 // INT8**2  # columns whose products any int32 holds the sum of


class Tile(NamedTuple):
    """What a program multiplies at once, and by how many warps, so many loads ahead."""

    tokens: int
    rows: int
    columns: int
    warps: int
    stages: int


# The larger, the fewer bytes are read for each product; the smaller, the more programs there are to
# keep a whole GPU busy. Which is the fastest hangs on the shape and the GPU.
TILES = (
    Tile(128, 256, 64, 8, 4),
    Tile(128, 128, 128, 8, 3),
    Tile(64, 128, 128, 4, 3),
    Tile(64, 64, 128, 4, 4),
    Tile(32, 64, 128, 4, 4),
)


def product(
    x: Int8,
    weights: Int8,
    bias: Tensor,
    step: Tensor | None = None,
    *,
    relu: bool = False,
    tile: Tile = TILES[-1],
) -> Tensor:
    """Return s_x s_w (X W^T) + b (N, R) for X (N, K), W (R, K) and b (R; float16).

    It is float16; with `step` (1), a scale that is known, it is the codes of Y rounded by it.
    Raises ValueError for what is not contiguous, and for more columns than int32 holds the sum of.
    """
    (tokens, columns), rows = x.codes.shape, len(weights.codes)
    if not (x.codes.is_contiguous() and weights.codes.is_contiguous()):
        raise ValueError("activations and weights must be contiguous")
    if columns > LONGEST:
        raise ValueError(f"sums of {columns} products may be more than 32 bits hold")
    dtype = torch.float16 if step is None else torch.int8
    y = torch.empty(tokens, rows, dtype=dtype, device=x.codes.device)
    # Neighbouring programs share weights, of which there are the most.
    _product[(triton.cdiv(tokens, tile.tokens), triton.cdiv(rows, tile.rows))](
        *x,
        *weights,
        bias,
        bias if step is None else step,
        y,
        tokens,
        rows,
        columns,
        EACH=len(x.scale) == tokens,
        RELU=relu,
        ROUNDED=step is not None,
        WHOLE=columns % tile.columns == 0,
        TOKENS=tile.tokens,
        ROWS=tile.rows,
        COLUMNS=tile.columns,
        num_warps=tile.warps,
        num_stages=tile.stages,
    )
    return y


def reference(x: Int8, weights: Int8, bias: Tensor, *, relu: bool = False) -> Tensor:
    """Return Y (N, R) in float64, where sums of whole numbers are exact; nothing is rounded."""
    sums = x.codes.double() @ weights.codes.double().T
    y = sums * x.scale.double()[:, None] * weights.scale.double() + bias.double()
    return y.relu() if relu else y


def floor(tokens: int, rows: int, columns: int, element: int = 2) -> Floor:
    """Return the least that a product takes; `element` bytes a number of Y."""
    scales = 4 * (tokens + rows) + 2 * rows
    return Floor(
        columns * (tokens + rows) + element * tokens * rows + scales, 2 * tokens * rows * columns
    )


@triton.jit
def _product(  # type: ignore[no-untyped-def]
    x,  # N, K
    x_scale,  # N; 1 unless EACH
    w,  # R, K
    w_scale,  # R
    bias,  # R
    step,  # 1; not read unless ROUNDED
    y,  # N, R
    tokens,
    rows,
    columns,
    EACH: tl.constexpr,
    RELU: tl.constexpr,
    ROUNDED: tl.constexpr,
    WHOLE: tl.constexpr,  # whether the columns are whole tiles
    TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    n = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    r = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    k = tl.arange(0, COLUMNS)
    # Beyond the last there is the last once more, so that no load but of columns needs a mask.
    x += tl.minimum(n, tokens - 1)[:, None].to(tl.int64) * columns + k[None, :]
    w += tl.minimum(r, rows - 1)[:, None].to(tl.int64) * columns + k[None, :]
    total = tl.zeros((TOKENS, ROWS), tl.int32)
    for first in range(0, columns, COLUMNS):
        if WHOLE:
            a, b = tl.load(x), tl.load(w)
        else:
            inside = (first + k < columns)[None, :]
            a, b = tl.load(x, mask=inside, other=0), tl.load(w, mask=inside, other=0)
        total = tl.dot(a, tl.trans(b), total, out_dtype=tl.int32)
        x += COLUMNS
        w += COLUMNS

    there = (n < tokens)[:, None] & (r < rows)[None, :]
    scale = tl.load(w_scale + r, mask=r < rows, other=0.0)[None, :]
    added = tl.load(bias + r, mask=r < rows, other=0.0).to(tl.float32)[None, :]
    if ROUNDED:
        # Steps of Y instead of Y. One division for all: each its own would need more registers.
        per_step = tl.div_rn(1.0, tl.load(step))
        scale *= per_step
        added *= per_step
    if EACH:
        scale = tl.load(x_scale + n, mask=n < tokens, other=0.0)[:, None] * scale
    else:
        scale *= tl.load(x_scale)
    found = total.to(tl.float32) * scale + added
    if RELU:
        found = tl.maximum(found, 0.0)
    at = y + n[:, None].to(tl.int64) * rows + r[None, :]
    if ROUNDED:
        tl.store(at, nearest(found), mask=there)
    else:
        tl.store(at, found.to(tl.float16), mask=there)


def drawn(
    tokens: int, rows: int, columns: int, generator: torch.Generator, *, each: bool = True
) -> tuple[Int8, Int8, Tensor]:
    """Return random codes of every size and scales that make Y about 1, where the generator is.

    Activations have one scale a token, or unless `each` one for all.
    """
    device = generator.device

    def codes(count: int) -> Tensor:
        size = count, columns
        found = torch.randint(-INT8, INT8 + 1, size, generator=generator, device=device)
        return found.to(torch.int8)

    def scales(count: int) -> Tensor:
        return (0.5 + torch.rand(count, generator=generator, device=device)) / 73 / columns**0.25

    bias = torch.randn(rows, generator=generator, device=device).half()
    x = Int8(codes(tokens), scales(tokens if each else 1))
    return x, Int8(codes(rows), scales(rows)), bias


def _on(device: str, x: Int8, weights: Int8, bias: Tensor) -> tuple[Int8, Int8, Tensor]:
    x, weights = (Int8(*(part.to(device) for part in each)) for each in (x, weights))
    return x, weights, bias.to(device)


def _inexact(tile: Tile, device: str) -> float:
    """Return the share of sums that are not exact: scales are powers of two, so none is rounded."""
    x, weights, bias = drawn(70, 80, 528, torch.Generator().manual_seed(0))
    small = Int8(x.codes // 32, torch.ones(70)), Int8(weights.codes // 32, torch.ones(80))
    exact = reference(*small, 0 * bias)  # at most 8,000; those beyond 2,048 are rounded once
    return differing(product(*_on(device, *small, 0 * bias), tile=tile), exact.half())


def _apart(each: bool, relu: bool, known: float, tile: Tile, device: str) -> float:
    given = drawn(150, 304, 640, torch.Generator().manual_seed(1), each=each)
    exact = reference(*given, relu=relu)
    step = torch.tensor([known], device=device) if known else None
    found = product(*_on(device, *given), step, relu=relu, tile=tile)
    if step is None:
        return relative(found, exact)
    return misrounded(Int8(found, step), exact, static=True)


EQUALITIES = (
    *(
        Equality(
            f"sums of int8 products, tiles of {tile.tokens} x {tile.rows}",
            0.0,
            partial(_inexact, tile),
        )
        for tile in TILES
    ),
    *(
        Equality(
            f"int8 product, {'a scale a token' if each else 'one scale'},"
            f" {'ReLU, rounded to int8' if known else 'float16'},"
            f" tiles of {tile.tokens} x {tile.rows}",
            TOLERANCES[torch.float16],
            partial(_apart, each, bool(known), known, tile),
        )
        for tile in TILES
        for each, known in ((True, 0.0), (False, 0.02))
    ),
)
