"""Adapters of low rank beside a layer's product, each text its own, read from the pages of a pool.

Punica's SGMV (Chen et al., 2023, arXiv 2310.18547, section 4) on S-LoRA's pages (Sheng et al.,
2023, arXiv 2311.03285, section 4): y += B (A x), for tokens of several tasks in a row. In PyTorch
the adapters of a batch are first gathered into one tensor, and segments of unlike lengths need
products of their own. Here a program finds an adapter's numbers by its table of pages. Two kernels:
A makes r numbers of each token, in spans of its columns that are summed when B reads them, so that
few tokens keep many programs busy and no sum depends on who came first.

Shapes in comments: N tokens, k numbers into a layer, d out of it, r the rank, R adapters, C pages
of one, P spans. Inputs are float32, float16 or bfloat16, all of one type; sums are float32.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, Equality, relative

TOKENS = 16  # of a program: the fewest rows that a matrix product has in Triton
INTO, OUT = 64, 64  # numbers into and out of a layer that a program takes at once
SPAN = 8 * INTO  # numbers into a layer of which a program makes a sum


class Pages(NamedTuple):
    """Where adapters lie: pages of a memory (pages, numbers), and by adapter which are its own."""

    memory: Tensor
    tables: Tensor  # R, C; int32


def tiles(segments: Sequence[tuple[int, int]], device: str) -> Tensor:
    """Return what programs take of a row (tiles, 3; int32): first token, end, and whose adapter.

    The row is segments one after another, each an adapter's number in the tables and its tokens.
    """
    found, first = list[tuple[int, int, int]](), 0
    for adapter, tokens in segments:
        end = first + tokens
        found += [(start, min(start + TOKENS, end), adapter) for start in range(first, end, TOKENS)]
        first = end
    return torch.tensor(found, dtype=torch.int32, device=device)


def add(y: Tensor, x: Tensor, pages: Pages, taken: Tensor, first: int, rank: int) -> None:
    """Add to y (N, d) what adapters of this rank make of x (N, k); `taken` is what `tiles` said.

    An adapter's numbers from `first` on are the layer's A (r, k), then B (r, d). Each token is in
    one tile. Raises ValueError for what is not contiguous.
    """
    if not all(part.is_contiguous() for part in (y, x, pages.memory, pages.tables)):
        raise ValueError("tokens and pages must be contiguous")
    (tokens, k), d = x.shape, y.shape[1]
    spans = triton.cdiv(k, SPAN)
    page = pages.memory.shape[1]
    inner = torch.empty(spans, tokens, rank, device=x.device)
    sizes = {"PAGE": page, "RANK": rank, "WIDE": max(TOKENS, triton.next_power_of_2(rank))}
    where = pages.memory, pages.tables, taken, pages.tables.stride(0), first
    _shrink[(len(taken), spans)](
        x, inner, *where, tokens, k, **sizes, TOKENS=TOKENS, INTO=INTO, SPAN=SPAN, num_warps=4
    )
    _expand[(len(taken), triton.cdiv(d, OUT))](
        y, inner, *where, tokens, k, d, spans, **sizes, TOKENS=TOKENS, OUT=OUT, num_warps=4
    )


def reference(y: Tensor, x: Tensor, pages: Pages, taken: Tensor, first: int, rank: int) -> None:
    """Do the same tile by tile, each adapter gathered from its pages."""
    k, d = x.shape[1], y.shape[1]
    for start, end, adapter in taken.tolist():
        held = pages.memory[pages.tables[adapter].long()].flatten()[first:].to(x.dtype)
        a, b = held[: rank * k].view(rank, k), held[rank * k : rank * (k + d)].view(rank, d)
        y[start:end] += x[start:end] @ a.T @ b


def floor(tokens: int, adapters: int, k: int, d: int, rank: int, element: int = 2) -> Floor:
    """Return the least that so many tokens of so many adapters take; `element` bytes a number."""
    numbers = adapters * rank * (k + d) + tokens * (k + 2 * d)
    return Floor(element * numbers, 2 * tokens * rank * (k + d))


@triton.jit
def _number(memory, tables, adapter, table_r, at, held, PAGE: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return an adapter's numbers at these places, 0 where not held."""
    page = tl.load(tables + adapter * table_r + at // PAGE, mask=held, other=0)
    return tl.load(memory + page.to(tl.int64) * PAGE + at % PAGE, mask=held, other=0.0)


@triton.jit
def _shrink(  # type: ignore[no-untyped-def]
    x,  # N, k
    inner,  # P, N, r
    memory,  # pages, PAGE
    tables,  # R, C
    taken,  # tiles, 3
    table_r,
    first,
    tokens,
    k,
    PAGE: tl.constexpr,
    RANK: tl.constexpr,
    WIDE: tl.constexpr,  # r, up to a power of two
    TOKENS: tl.constexpr,
    INTO: tl.constexpr,
    SPAN: tl.constexpr,
):
    """Write A x of a tile, of SPAN of the numbers into the layer."""
    tile, span = taken + 3 * tl.program_id(0), tl.program_id(1)
    n, end, adapter = tl.load(tile) + tl.arange(0, TOKENS), tl.load(tile + 1), tl.load(tile + 2)
    r = tl.arange(0, WIDE)
    found = tl.zeros((TOKENS, WIDE), tl.float32)
    for start in range(0, SPAN, INTO):
        column = span * SPAN + start + tl.arange(0, INTO)
        mine = (n < end)[:, None] & (column < k)[None, :]
        own = tl.load(x + n[:, None].to(tl.int64) * k + column[None, :], mask=mine, other=0.0)
        held = (r < RANK)[:, None] & (column < k)[None, :]
        at = first + r[:, None] * k + column[None, :]
        a = _number(memory, tables, adapter, table_r, at, held, PAGE).to(own.dtype)  # WIDE, INTO
        found = tl.dot(own, tl.trans(a), found, input_precision="tf32x3")
    at = (span * tokens + n[:, None]) * RANK + r[None, :]
    tl.store(inner + at, found, mask=(n < end)[:, None] & (r < RANK)[None, :])


@triton.jit
def _expand(  # type: ignore[no-untyped-def]
    y,  # N, d
    inner,  # P, N, r
    memory,  # pages, PAGE
    tables,  # R, C
    taken,  # tiles, 3
    table_r,
    first,
    tokens,
    k,
    d,
    spans,
    PAGE: tl.constexpr,
    RANK: tl.constexpr,
    WIDE: tl.constexpr,  # r, up to a power of two
    TOKENS: tl.constexpr,
    OUT: tl.constexpr,
):
    """Add B times the sum of the spans to OUT columns of a tile."""
    tile = taken + 3 * tl.program_id(0)
    n, end, adapter = tl.load(tile) + tl.arange(0, TOKENS), tl.load(tile + 1), tl.load(tile + 2)
    r, column = tl.arange(0, WIDE), tl.program_id(1) * OUT + tl.arange(0, OUT)
    mine = (n < end)[:, None] & (r < RANK)[None, :]
    total = tl.zeros((TOKENS, WIDE), tl.float32)
    for span in range(0, spans):
        at = (span * tokens + n[:, None]) * RANK + r[None, :]
        total += tl.load(inner + at, mask=mine, other=0.0)
    held = (r < RANK)[:, None] & (column < d)[None, :]
    at = first + RANK * k + r[:, None] * d + column[None, :]
    b = _number(memory, tables, adapter, table_r, at, held, PAGE).to(tl.float32)  # WIDE, OUT
    out = y + n[:, None].to(tl.int64) * d + column[None, :]
    there = (n < end)[:, None] & (column < d)[None, :]
    plain = tl.load(out, mask=there, other=0.0).to(tl.float32)
    found = tl.dot(total, b, plain, input_precision="tf32x3")
    tl.store(out, found.to(y.dtype.element_ty), mask=there)


def drawn(
    segments: Sequence[tuple[int, int]],
    k: int,
    d: int,
    rank: int,
    page: int,
    first: int,
    dtype: torch.dtype,
) -> tuple[Tensor, Tensor, Pages]:
    """Return random y and x of segments, and adapters on pages in no order; what is free is NaN."""
    generator = torch.Generator().manual_seed(k)
    tokens, adapters = sum(each for _, each in segments), 1 + max(own for own, _ in segments)
    y, x = (torch.randn(tokens, each, generator=generator).to(dtype) for each in (d, k))
    numbers = first + rank * (k + d)
    count = -(-numbers // page)
    memory = torch.full((adapters * count + 3, page), torch.nan, dtype=dtype)
    order = torch.randperm(len(memory), generator=generator)[: adapters * count]
    tables = order.view(adapters, count)
    held = torch.randn(adapters, count * page, generator=generator)
    memory[tables] = (held * min(k, d) ** -0.5).to(dtype).view(adapters, count, page)
    return y, x, Pages(memory, tables.to(torch.int32))


def _apart(rank: int, dtype: torch.dtype, device: str) -> float:
    segments, k, d, first = ((2, 1), (0, 19), (1, 3), (0, 1)), 600, 200, 37
    y, x, (memory, tables) = drawn(segments, k, d, rank, 256, first, dtype)
    exact, taken = y.double(), tiles(segments, "cpu")
    reference(exact, x.double(), Pages(memory.double(), tables), taken, first, rank)
    on_device = Pages(memory.to(device), tables.to(device))
    y = y.to(device)
    add(y, x.to(device), on_device, taken.to(device), first, rank)
    return relative(y, exact)


EQUALITIES = tuple(
    Equality(
        f"adapters of rank {rank} from pages, {str(dtype).removeprefix('torch.')}",
        TOLERANCES[dtype],
        partial(_apart, rank, dtype),
    )
    for rank, dtype in ((8, torch.float32), (40, torch.bfloat16))
)
