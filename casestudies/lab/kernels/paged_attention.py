"""Attention of one new token of each text, over keys and values in blocks, read where they lie.

PagedAttention's kernel (Kwon et al., 2023, arXiv 2309.06180, section 5.1). In PyTorch the blocks of a
text are first gathered into one piece: all that is held is read, written and read again. Here a
program follows the text's table. It serves all heads that share keys and values, which are read once
for them. Where texts and heads are few, several programs share a text, each with a span of its
tokens, and a second kernel joins what they found (Flash-Decoding, Dao et al., 2023).

Shapes in comments: R texts, H heads, K key-value heads, G heads that share one, D head width, C
blocks in a table, S tokens of a block, P spans, N tokens of a step. Inputs are float32, float16 or
bfloat16, all of one type; sums are float32.
"""

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.attention import FEW, softened

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
    """
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


def _spans(programs: int, most: int, device: torch.device) -> int:
    """Return how many programs share a text, so that each processor of the device has two."""
    if device.type != "cuda":
        return 1
    processors = torch.cuda.get_device_properties(device).multi_processor_count
    return max(1, min(triton.cdiv(2 * processors, programs), most // LEAST))


@triton.jit
def _attend(
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
    l = tl.zeros((ROWS,), tl.float32)  # noqa: E741
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
        o, l, m = softened(o, l, m, tl.where((t < length)[None, :], s, float("-inf")), v)
    rows = tl.num_programs(0) * heads  # R x H
    row += part * rows
    tl.store(found + row[:, None].to(tl.int64) * WIDTH + d[None, :], o, mask=held)
    tl.store(sums + row, l, mask=g < GROUP)
    tl.store(sums + tl.num_programs(2) * rows + row, m, mask=g < GROUP)


@triton.jit
def _join(
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
    l = tl.load(sums + at, mask=held, other=0.0)  # noqa: E741
    m = tl.load(sums + spans * rows + at, mask=held, other=-1e30)
    weight = tl.exp2(m - tl.max(m, 0))
    inside = d < WIDTH
    o = tl.load(found + at[:, None].to(tl.int64) * WIDTH + d[None, :], mask=held[:, None] & inside[None, :], other=0.0)  # fmt: skip
    joined = tl.sum(o * weight[:, None], 0) / tl.sum(l * weight, 0)
    tl.store(output + row * WIDTH + d, joined.to(output.dtype.element_ty), mask=inside)
