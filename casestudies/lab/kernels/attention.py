"""Causal attention whose scores never leave fast memory: FlashAttention's forward pass.

Dao et al., 2022 (arXiv 2205.14135), algorithm 1, with the loop over queries outside as in the
second version (arXiv 2307.08691). A program holds a tile of queries and meets one tile of keys
after another; a running maximum and a running sum put the softmax right. The queries are those of
the last Q of T tokens. A sliding window and sinks (Xiao et al., 2023, arXiv 2309.17453) are masks,
and tiles that no query of a program sees are not read.

Shapes in comments: B sequences, H heads, K key-value heads, Q queries, T keys, D head width, M and
N queries and keys of a tile. Inputs are float32, float16 or bfloat16, all of one type; sums are
float32, and products of float32 are made of three TF32 products, which lose about as little.
"""

import math
from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, Equality, relative
from casestudies.lab.models import attention

# The shares of values are rounded to the inputs' type, and so is what they add up to.
ROUNDED_TWICE = {dtype: 2 * tolerance for dtype, tolerance in TOLERANCES.items()}
FEW = 16  # the fewest rows that a matrix product has in Triton


def attend(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None, sinks: int = 0
) -> Tensor:
    """Return (B, H, Q, D) from queries (B, H, Q, D), keys and values (B, K, T, D); K divides H.

    With a window a query sees that many tokens up to its own, and the first `sinks`. Nothing is
    kept for a backward pass: raises ValueError for inputs that ask for gradients.
    """
    if torch.is_grad_enabled() and any(part.requires_grad for part in (query, key, value)):
        raise ValueError("the kernel of attention has no backward pass")
    batch, heads, queries, width = query.shape
    shared, keys = key.shape[1:3]
    query, key, value = (
        part if part.stride(3) == 1 else part.contiguous() for part in (query, key, value)
    )
    output = torch.empty_like(query)
    tiling = _tiling(queries, width, query.element_size())
    _attend[(triton.cdiv(queries, tiling["M"]), batch * heads)](
        query,
        key,
        value,
        output,
        *(stride for part in (query, key, value, output) for stride in part.stride()[:3]),
        heads,
        heads // shared,
        queries,
        keys,
        keys if window is None else window,
        sinks,
        width**-0.5 * math.log2(math.e),
        WIDTH=width,
        SPAN=max(FEW, triton.next_power_of_2(width)),
        WINDOWED=window is not None,
        **tiling,
    )
    return output


def floor(
    batch: int, heads: int, shared: int, queries: int, keys: int, width: int, element: int = 2
) -> Floor:
    """Return the least that causal attention takes without a window; `element` bytes a number."""
    numbers = 2 * batch * width * (heads * queries + shared * keys)
    scores = queries * keys - queries * (queries - 1) // 2  # that a head's queries see
    return Floor(element * numbers, 4 * batch * heads * scores * width)


def _tiling(queries: int, width: int, number_bytes: int) -> dict[str, int]:
    """Return the largest tiles whose sums and products stay in registers, on Ampere and Hopper."""
    if number_bytes == 4:  # products made of three hold three times as much
        m, n, warps = (32, 32, 4) if width <= 64 else (16, 32, 4) if width <= 128 else (16, 32, 8)
    else:
        m, n, warps = (128, 64, 8) if width <= 64 else (128, 32, 8) if width <= 128 else (64, 32, 4)
    rows = min(m, max(FEW, triton.next_power_of_2(queries)))
    return {
        "M": rows,
        "N": n,
        "num_warps": warps if rows == m else 4,
        "num_stages": 1 if number_bytes == 4 and width > 128 else 2,
    }


@triton.jit
def _attend(  # type: ignore[no-untyped-def]
    query,  # B, H, Q, D
    key,  # B, K, T, D
    value,
    output,  # B, H, Q, D
    query_b,
    query_h,
    query_t,
    key_b,
    key_h,
    key_t,
    value_b,
    value_h,
    value_t,
    output_b,
    output_h,
    output_t,
    heads,
    group,  # heads that share keys and values
    queries,
    keys,
    window,
    sinks,
    scale,  # of scores, in powers of two
    WIDTH: tl.constexpr,
    SPAN: tl.constexpr,  # D, up to a power of two
    WINDOWED: tl.constexpr,
    M: tl.constexpr,
    N: tl.constexpr,
):
    # The last tile of queries sees the most keys: it begins first.
    first = (tl.num_programs(0) - 1 - tl.program_id(0)) * M
    sequence, head = (
        (tl.program_id(1) // heads).to(tl.int64),
        (tl.program_id(1) % heads).to(tl.int64),
    )
    rows, d = first + tl.arange(0, M), tl.arange(0, SPAN)
    held = (rows < queries)[:, None] & (d < WIDTH)[None, :]
    at = sequence * query_b + head * query_h + rows[:, None].to(tl.int64) * query_t + d[None, :]
    q = tl.load(query + at, mask=held, other=0.0)
    key += sequence * key_b + head // group * key_h
    value += sequence * value_b + head // group * value_h
    before = keys - queries
    positions = before + tl.minimum(rows, queries - 1)
    end = tl.minimum(before + first + M, keys)

    o = tl.zeros((M, SPAN), tl.float32)
    total = tl.zeros((M,), tl.float32)
    # Finite, so that a row that sees nothing of a tile subtracts no infinity from another.
    m = tl.full((M,), -1e30, tl.float32)
    if WINDOWED:
        start = tl.maximum(before + first - window + 1, 0) // N * N
        stop = tl.minimum((sinks + N - 1) // N * N, start)
    else:  # every row sees the keys before
        start = (before + first + 1) // N * N
        stop = start
    # Keys up to `stop`, which without a window need no mask; then those from `start` to `end`.
    for part in tl.static_range(2):
        for begin in range(start if part else 0, end if part else stop, N):
            t = begin + tl.arange(0, N)
            inside = (t < keys)[:, None] & (d < WIDTH)[None, :]
            k_at = key + t[:, None].to(tl.int64) * key_t + d[None, :]
            v_at = value + t[:, None].to(tl.int64) * value_t + d[None, :]
            if WINDOWED or part == 1 or WIDTH != SPAN:
                k = tl.load(k_at, mask=inside, other=0.0)
                v = tl.load(v_at, mask=inside, other=0.0)
            else:
                k, v = tl.load(k_at), tl.load(v_at)
            s = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scale  # M, N
            if WINDOWED or part == 1:
                seen = t[None, :] <= positions[:, None]
                if WINDOWED:
                    seen &= (t[None, :] > positions[:, None] - window) | (t[None, :] < sinks)
                s = tl.where(seen, s, float("-inf"))
            o, total, m = softened(o, total, m, s, v)

    at = sequence * output_b + head * output_h + rows[:, None].to(tl.int64) * output_t + d[None, :]
    tl.store(output + at, (o / total[:, None]).to(output.dtype.element_ty), mask=held)


@triton.jit
def softened(o, total, m, s, v):  # type: ignore[no-untyped-def]
    """Return what is known of M rows after scores s (M, N) of keys with values v (N, SPAN).

    The online softmax: m (M) is the largest score so far, finite from the beginning; `total` (M)
    the sum of exp(score - m), and o (M, SPAN) that of exp(score - m) times the values. Scores are
    in powers of two.
    """
    largest = tl.maximum(m, tl.max(s, 1))
    p = tl.exp2(s - largest[:, None])
    shrink = tl.exp2(m - largest)
    total = total * shrink + tl.sum(p, 1)
    return tl.dot(p.to(v.dtype), v, o * shrink[:, None], input_precision="tf32x3"), total, largest


def _apart(
    queries: int, width: int, window: int | None, sinks: int, dtype: torch.dtype, device: str
) -> float:
    generator = torch.Generator().manual_seed(width)
    q = 3 * torch.randn(1, 4, queries, width, generator=generator)
    k, v = 3 * torch.randn(2, 1, 2, 203, width, generator=generator)
    q, k, v = (part.to(dtype) for part in (q, k, v))
    found = attend(q.to(device), k.to(device), v.to(device), window, sinks)
    return relative(found, attention.naive(q.double(), k.double(), v.double(), window, sinks))


EQUALITIES = tuple(
    Equality(
        f"attention, {queries} queries, heads {width} wide, window: {window},"
        f" {str(dtype).removeprefix('torch.')}",
        ROUNDED_TWICE[dtype],
        partial(_apart, queries, width, window, sinks, dtype),
    )
    for queries, width, window, sinks, dtype in (
        (203, 64, 50, 70, torch.float32),
        (150, 128, None, 0, torch.bfloat16),
    )
)
