"""Attention of one new token of each text, over keys and values in blocks, read where they lie.

PagedAttention's kernel (Kwon et al., 2023, arXiv 2309.06180, section 5.1). In PyTorch the blocks of
a text are first gathered into one piece: all that is held is read, written and read again. Here a
program follows the text's table. It serves all heads that share keys and values, which are read
once for them. Where texts and heads are few, several programs share a text, each with a span of its
tokens, and a second kernel joins what they found (Flash-Decoding, Dao et al., 2023).

Shapes in comments: R texts, H heads, K key-value heads, G heads that share one, D head width, C
blocks in a table, S tokens of a block, P spans, N tokens of a step. Inputs are float32, float16 or
bfloat16, all of one type; sums are float32.
"""

import math
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.attention import FEW, ROUNDED_TWICE, softened
from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import Equality, relative
from casestudies.lab.models import paged

STEP = 64  # tokens
LEAST = 4 * STEP  # tokens of a span: fewer cost more to join than they gain


def attend(
    query: Tensor,
    places: Tensor,
    tables: Tensor,
    lengths: Tensor,
    size: int,
    spans: int | None = None,
) -> Tensor:
    """Return (R, H, D) from queries (R, H, D) and a layer's `places` (blocks x S, 2, K, D).

    `tables` (R, C) are int32: text r's token t lies in place t % S of block tables[r, t // S], for
    all t below lengths[r], its own included; what stands in a table behind them is not read.
    Raises ValueError for places that are not contiguous, which are too many to copy.
    """
    if not places.is_contiguous() or tables.stride(1) != 1:
        raise ValueError("places, and the rows of tables, must be contiguous")
    texts, heads, width = query.shape
    shared, most = places.shape[2], tables.shape[1] * size
    if spans is None:
        spans = _spans(texts * shared, most, query.device)
    span = triton.cdiv(triton.cdiv(most, spans), STEP) * STEP
    query = query.contiguous()
    found = torch.empty(spans, texts, heads, width, device=query.device)
    sums = torch.empty(2, spans, texts, heads, device=query.device)
    wide = max(FEW, triton.next_power_of_2(width))
    _attend[(texts, shared, spans)](
        query,
        places,
        tables,
        lengths,
        found,
        sums,
        tables.stride(0),
        heads,
        span,
        width**-0.5 * math.log2(math.e),
        SHARED=shared,
        GROUP=heads // shared,
        ROWS=max(FEW, triton.next_power_of_2(heads // shared)),
        WIDTH=width,
        WIDE=wide,
        SIZE=size,
        N=STEP if query.element_size() * width <= 256 else STEP // 2,
        num_warps=4,
        num_stages=2,
    )
    output = torch.empty_like(query)
    _join[(texts * heads,)](
        found,
        sums,
        output,
        texts * heads,
        spans,
        WIDTH=width,
        WIDE=wide,
        SPANS=triton.next_power_of_2(spans),
        num_warps=1,
    )
    return output


def floor(lengths: list[int], heads: int, shared: int, width: int, element: int = 2) -> Floor:
    """Return the least that texts of these lengths take; `element` bytes a number."""
    numbers = 2 * width * (shared * sum(lengths) + heads * len(lengths))
    return Floor(element * numbers, 4 * width * heads * sum(lengths))


def _spans(programs: int, most: int, device: torch.device) -> int:
    """Return how many programs share a text, so that each processor of the device has two."""
    if device.type != "cuda":
        return 1
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(triton.cdiv(2 * processors, programs), most // LEAST))


@triton.jit
def _attend(  # type: ignore[no-untyped-def]
    query,  # R, H, D
    places,  # blocks x S, 2, K, D
    tables,  # R, C
    lengths,  # R
    found,  # P, R, H, D: sums of exp(score - m) times the values
    sums,  # 2, P, R, H: sums of exp(score - m), and m
    table_r,
    heads,
    span,
    scale,  # of scores, in powers of two
    SHARED: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,  # G, up to a power of two
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,  # D, up to a power of two
    SIZE: tl.constexpr,
    N: tl.constexpr,
):
    text, own, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    g, d = tl.arange(0, ROWS), tl.arange(0, WIDE)
    inside = (d < WIDTH)[None, :]
    held = (g < GROUP)[:, None] & inside
    row = text * heads + own * GROUP + g  # of R, H
    q = tl.load(query + row[:, None] * WIDTH + d[None, :], mask=held, other=0.0)
    length = tl.load(lengths + text)
    o = tl.zeros((ROWS, WIDE), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    m = tl.full((ROWS,), -1e30, tl.float32)
    for first in range(part * span, tl.minimum((part + 1) * span, length), N):
        t = first + tl.arange(0, N)
        read = (t < length)[:, None] & inside
        block = tl.load(tables + text * table_r + t // SIZE, mask=t < length, other=0)
        place = block.to(tl.int64) * SIZE + t % SIZE
        at = places + place[:, None] * (2 * SHARED * WIDTH) + own * WIDTH + d[None, :]
        k = tl.load(at, mask=read, other=0.0)
        v = tl.load(at + SHARED * WIDTH, mask=read, other=0.0)
        s = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scale  # ROWS, N
        o, total, m = softened(o, total, m, tl.where((t < length)[None, :], s, float("-inf")), v)
    rows = tl.num_programs(0) * heads  # R x H
    row += part * rows
    tl.store(found + row[:, None].to(tl.int64) * WIDTH + d[None, :], o, mask=held)
    tl.store(sums + row, total, mask=g < GROUP)
    tl.store(sums + tl.num_programs(2) * rows + row, m, mask=g < GROUP)


@triton.jit
def _join(  # type: ignore[no-untyped-def]
    found,  # P, R x H, D
    sums,  # 2, P, R x H
    output,  # R x H, D
    rows,
    spans,
    WIDTH: tl.constexpr,
    WIDE: tl.constexpr,
    SPANS: tl.constexpr,  # P, up to a power of two
):
    row, p, d = tl.program_id(0), tl.arange(0, SPANS), tl.arange(0, WIDE)
    at, held = p * rows + row, p < spans
    total = tl.load(sums + at, mask=held, other=0.0)
    m = tl.load(sums + spans * rows + at, mask=held, other=-1e30)
    weight = tl.exp2(m - tl.max(m, 0))
    inside = d < WIDTH
    at = found + at[:, None].to(tl.int64) * WIDTH + d[None, :]
    o = tl.load(at, mask=held[:, None] & inside[None, :], other=0.0)
    joined = tl.sum(o * weight[:, None], 0) / tl.sum(total * weight, 0)
    tl.store(output + row * WIDTH + d, joined.to(output.dtype.element_ty), mask=inside)


def drawn(
    lengths: list[int], heads: int, shared: int, width: int, size: int, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return random queries, places, tables and lengths; blocks in no order, NaN where free."""
    generator = torch.Generator().manual_seed(width)
    most = -(-max(lengths) // size)
    tables = torch.randperm(len(lengths) * most + 3, generator=generator)[: len(lengths) * most]
    tables = tables.view(-1, most)
    places = torch.full(((tables.numel() + 3) * size, 2, shared, width), torch.nan, dtype=dtype)
    for table, length in zip(tables, lengths, strict=True):
        at = torch.arange(length)
        held = 2 * torch.randn(length, 2, shared, width, generator=generator)
        places[table[at // size] * size + at % size] = held.to(dtype)
    query = 2 * torch.randn(len(lengths), heads, width, generator=generator).to(dtype)
    return query, places, tables.to(torch.int32), torch.tensor(lengths, dtype=torch.int32)


def _apart(size: int, width: int, spans: int, dtype: torch.dtype, device: str) -> float:
    query, places, tables, lengths = drawn([201, 1, 90], 6, 2, width, size, dtype)
    exact = paged.attend(query.double(), places.double(), tables, lengths, size)
    query, places, tables, lengths = (p.to(device) for p in (query, places, tables, lengths))
    found = attend(query, places, tables, lengths, size, spans)
    return relative(found, exact)


EQUALITIES = tuple(
    Equality(
        f"attention over blocks of {size} tokens, {spans} spans,"
        f" {str(dtype).removeprefix('torch.')}",
        ROUNDED_TWICE[dtype],
        partial(_apart, size, width, spans, dtype),
    )
    for size, width, spans, dtype in (
        (16, 64, 3, torch.float32),
        (16, 128, 1, torch.bfloat16),
    )
)
