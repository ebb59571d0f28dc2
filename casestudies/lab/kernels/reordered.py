"""Products with weights in few bits that were rounded in another order than they lie in.

GPTQ's program may round columns in the order of their inputs' sizes ("act-order"), and then the
columns of a group lie anywhere: Y = X W^T with W[r, c] = step[r, g[c]] (code[r, c] - zero[r,
g[c]]). The Triton kernel of GPTQ-for-LLaMa reads g[c] with each column and fetches step and zero by
it, and so does this one; AWQ's kernel goes without such reordering on the fly (Lin et al., 2023).

All else is as in `few_bits.py`, for one token, so that the times of both tell what it costs.
"""

from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels import few_bits
from casestudies.lab.kernels.few_bits import CODES, ROWS_OF_ONE, WHOLE, Packed, number
from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, Equality, relative
from casestudies.lab.quantize.quantized import Format, Quantized, rounded

# That a program reads of a row at once: half as many as in order, since with each column's step and
# zero more do not fit in a thread's registers.
WORDS = 64


def groups_of(order: Tensor, group: int) -> Tensor:
    """Return each column's group (columns; int32), where order[k] is the k-th that was rounded."""
    return (order.argsort() // group).to(torch.int32)


def as_they_lie(matrix: Quantized, order: Tensor) -> Packed:
    """Return a matrix packed whose k-th column is to lie at order[k]; its grids stay in order."""
    codes = torch.empty_like(matrix.codes)
    codes[:, order] = matrix.codes
    return Packed.of(Quantized(codes, matrix.step, matrix.zero, matrix.format))


def unpacked(weights: Packed, group_of: Tensor) -> Tensor:
    """Return the weights (rows, columns) in float32, each on the grid of its column's group."""
    step, zero = (part[:, group_of.long()].float() for part in (weights.step, weights.zero))
    return (weights.codes().float() - zero) * step


def reference(x: Tensor, weights: Packed, group_of: Tensor) -> Tensor:
    """Return X W^T (1, rows) for x (1, columns), the weights unpacked in memory first."""
    return x @ unpacked(weights, group_of).to(x.dtype).T


def floor(rows: int, columns: int, form: Format, element: int = 2) -> Floor:
    """Return the least that a token's product takes; `element` bytes a number."""
    return few_bits.floor(rows, columns, form, 1, element) + Floor(4 * columns, 0)


def product(x: Tensor, weights: Packed, group_of: Tensor) -> Tensor:
    """Return X W^T (1, rows) for x (1, columns), weights of 8 or 4 bits.

    Raises ValueError for more tokens, or other bits.
    """
    if len(x) != 1 or weights.rest is not None:
        raise ValueError(f"{len(x)} tokens by {weights.format.bits} bits; one, by 8 or 4")
    columns, (rows, words) = weights.columns, weights.words.shape
    y = x.new_empty(1, rows)
    _product[(triton.cdiv(rows, ROWS_OF_ONE),)](
        x.contiguous(),
        weights.words,
        group_of,
        weights.step,
        weights.zero,
        y,
        rows,
        columns,
        words,
        weights.step.shape[1],
        BITS=weights.format.bits,
        CODES=CODES[weights.format.bits],
        ROWS=ROWS_OF_ONE,
        WORDS=WORDS,
        num_warps=4,
    )
    return y


@triton.jit
def _product(  # type: ignore[no-untyped-def]
    x, words, group_of, steps, zeros, y,
    rows, columns, width, groups,
    BITS: tl.constexpr, CODES: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """Multiply one token by ROWS rows; a program takes WORDS words of each at once."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    apart: tl.constexpr = 64 // CODES  # columns between a word's codes
    total = tl.zeros((ROWS, WORDS), tl.float32)
    for first in range(0, width, WORDS):
        at = first + tl.arange(0, WORDS)
        there = (row < rows)[:, None] & (at < width)[None, :]
        word = tl.load(words + row[:, None] * width + at, mask=there, other=0)
        column = (at // apart * 64 + at % apart)[None, :] + 0 * row[:, None]
        for k in tl.static_range(CODES):
            place = column + k * apart
            inside = place < columns
            given = tl.load(x + place, mask=inside, other=0).to(tl.float32)
            grid = row[:, None] * groups + tl.load(group_of + place, mask=inside, other=0)
            step = tl.load(steps + grid, mask=there, other=0).to(tl.float32)
            zero = tl.load(zeros + grid, mask=there, other=0).to(tl.float32) + WHOLE
            total += step * (number(word, word, k, BITS, CODES) - zero) * given
    tl.store(y + row, tl.sum(total, axis=1).to(y.dtype.element_ty), mask=row < rows)


def _apart(bits: int, dtype: torch.dtype, device: str) -> float:
    generator = torch.Generator().manual_seed(bits)
    order, form = torch.randperm(400, generator=generator), Format(bits, 128)
    matrix = rounded(torch.randn(70, 400, generator=generator), form)
    x = torch.randn(1, 400, generator=generator).to(dtype)
    weights = as_they_lie(matrix, order).to(device)
    return relative(
        product(x.to(device), weights, groups_of(order, form.group).to(device)),
        x[:, order].double() @ matrix.weights().double().T,
    )


EQUALITIES = tuple(
    Equality(
        f"reordered weights of {bits} bits, {str(dtype).removeprefix('torch.')}",
        TOLERANCES[dtype],
        partial(_apart, bits, dtype),
    )
    for bits, dtype in ((8, torch.bfloat16), (4, torch.float16))
)
