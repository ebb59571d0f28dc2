"""Tokens rounded to 8 bits by whatever makes them: a norm with the sum before it, or GELU.

Yao et al., 2022, "ZeroQuant" (arXiv 2206.01861), section 4.3: what rounds a token for the next
product is a part of the operator before, so that its numbers are read and written once. A token's
scale is its own, or one of all tokens that is known before, as in SmoothQuant (Xiao et al., 2022,
arXiv 2211.10438). A program has one token, all of it in registers.

Shapes in comments: N tokens, C numbers of one. Inputs are float32, float16 or bfloat16, all of one
type; sums are float32. Of what is rounded nothing but the sum is rounded to that type before.
"""

from functools import partial

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, Equality, relative
from casestudies.lab.quantize.int8 import INT8, LEAST, Int8

EPSILON = tl.constexpr(1e-5)  # of the norm
# GELU by tanh, as GPT-2's authors compute it, is x / (1 + exp(-SLOPE x (1 + CUBIC x^2))).
SLOPE, CUBIC = tl.constexpr(1.5957691216057308), tl.constexpr(0.044715)
# Numbers from here to twice this have a step of 1: adding it rounds half to even.
WHOLE = tl.constexpr(12582912.0)
MOST, SMALLEST = tl.constexpr(float(INT8)), tl.constexpr(LEAST)


Norm = tuple[Tensor, Tensor]  # weight and bias (C), in the type of the tokens


def rounded(x: Tensor, step: Tensor | None = None, *, gelu: bool = False) -> Int8:
    """Return x (N, C), or its GELU, rounded: by the scale `step` (1), or by one a token."""
    tokens, columns = x.shape
    found = _empty(x, step)
    _round[(tokens,)](
        x.contiguous(),
        *found,
        columns,
        GELU=gelu,
        STATIC=step is not None,
        **_in_registers(columns),
    )
    return found


def normed(
    x: Tensor, added: Tensor | None, norm: Norm, step: Tensor | None = None, *, after: bool
) -> tuple[Int8, Tensor]:
    """Return the norm of x + added (N, C each) rounded, and what the next sum begins with.

    That is the sum, or with `after`, where norms follow sums as in BERT, its norm.
    """
    found = _empty(x, step)
    return found, _normed(x, added, norm, found, after=after, static=step is not None)


def normed_only(
    x: Tensor, added: Tensor | None, norm: Norm, *, after: bool
) -> tuple[Tensor, Tensor]:
    """Return the same and round nothing: the norm is in the type of x."""
    y = torch.empty_like(x)
    return y, _normed(x, added, norm, y, after=after, static=False)


def _normed(
    x: Tensor,
    added: Tensor | None,
    norm: Norm,
    found: Int8 | Tensor,
    *,
    after: bool,
    static: bool,
) -> Tensor:
    tokens, columns = x.shape
    rounding = isinstance(found, Int8)
    # What is there already is not written again.
    written = torch.empty_like(x) if (rounding if after else added is not None) else None
    outputs = found if isinstance(found, Int8) else (found, found)
    _norm[(tokens,)](
        x.contiguous(),
        x if added is None else added.contiguous(),
        *norm,
        x if written is None else written,
        *outputs,
        columns,
        ADDED=added is not None,
        AFTER=after,
        WRITTEN=written is not None,
        ROUNDED=rounding,
        STATIC=static,
        **_in_registers(columns),
    )
    if written is not None:
        return written
    return found if after and isinstance(found, Tensor) else x


def _empty(x: Tensor, step: Tensor | None) -> Int8:
    """Return memory for x rounded; a scale that is known is in its place."""
    codes = torch.empty(x.shape, dtype=torch.int8, device=x.device)
    own = torch.empty(len(x), dtype=torch.float32, device=x.device) if step is None else step
    return Int8(codes, own)


def _in_registers(columns: int) -> dict[str, int]:
    wide = triton.next_power_of_2(columns)
    return {"WIDE": wide, "num_warps": max(1, min(16, wide // 512))}


def reference(x: Tensor, *, gelu: bool) -> Tensor:
    """Return what `rounded` rounds."""
    return F.gelu(x, approximate="tanh") if gelu else x


def reference_normed(
    x: Tensor, added: Tensor | None, norm: Norm, *, after: bool
) -> tuple[Tensor, Tensor]:
    """Return what `normed` rounds, and what the next sum begins with."""
    total = x if added is None else x + added
    y = F.layer_norm(total, total.shape[-1:], *norm, eps=EPSILON.value)
    return y, y if after else total


def floor(tokens: int, columns: int, element: int = 2) -> Floor:
    """Return the least that a norm of a sum takes, rounded; `element` bytes a number."""
    numbers = 3 * tokens * columns + 2 * columns
    return Floor(element * numbers + tokens * (columns + 4), 9 * tokens * columns)


@triton.jit
def nearest(y):  # type: ignore[no-untyped-def]
    """Return y as whole numbers, -127 to 127, ties to the even one."""
    within = tl.minimum(tl.maximum(y, -MOST), MOST)
    return ((within + WHOLE) - WHOLE).to(tl.int8)


@triton.jit
def _write(y, held, at, codes, scales, STATIC: tl.constexpr):  # type: ignore[no-untyped-def]
    """Write a token (WIDE), zero where not held, rounded by the scale or by its own."""
    if STATIC:
        scale = tl.load(scales)
    else:
        scale = tl.maximum(tl.div_rn(tl.max(tl.abs(y), 0), MOST), SMALLEST)
        tl.store(scales + tl.program_id(0), scale)
    tl.store(codes + at, nearest(tl.div_rn(y, scale + tl.zeros_like(y))), mask=held)


@triton.jit
def _round(  # type: ignore[no-untyped-def]
    x,  # N, C
    codes,  # N, C
    scales,  # N; 1 if STATIC
    columns,
    GELU: tl.constexpr,
    STATIC: tl.constexpr,
    WIDE: tl.constexpr,  # C, up to a power of two
):
    column = tl.arange(0, WIDE)
    held = column < columns
    at = tl.program_id(0).to(tl.int64) * columns + column
    y = tl.load(x + at, mask=held, other=0.0).to(tl.float32)
    if GELU:
        # As good as infinite at 80, without an overflow.
        y = y / (1 + tl.exp(tl.minimum(-SLOPE * y * (1 + CUBIC * y * y), 80.0)))
    _write(y, held, at, codes, scales, STATIC)


@triton.jit
def _norm(  # type: ignore[no-untyped-def]
    x,  # N, C
    added,  # N, C; not read unless ADDED
    weight,  # C
    bias,
    written,  # N, C; not written unless WRITTEN
    found,  # N, C
    scales,  # N; 1 if STATIC; not there unless ROUNDED
    columns,
    ADDED: tl.constexpr,
    AFTER: tl.constexpr,
    WRITTEN: tl.constexpr,
    ROUNDED: tl.constexpr,
    STATIC: tl.constexpr,
    WIDE: tl.constexpr,  # C, up to a power of two
):
    column = tl.arange(0, WIDE)
    held = column < columns
    at = tl.program_id(0).to(tl.int64) * columns + column
    total = tl.load(x + at, mask=held, other=0.0).to(tl.float32)
    if ADDED:
        total += tl.load(added + at, mask=held, other=0.0).to(tl.float32)
    apart = tl.where(held, total - tl.sum(total, 0) / columns, 0.0)
    y = apart * tl.rsqrt(tl.sum(apart * apart, 0) / columns + EPSILON)
    y *= tl.load(weight + column, mask=held, other=0.0).to(tl.float32)
    y += tl.load(bias + column, mask=held, other=0.0).to(tl.float32)
    if WRITTEN:
        kept = y if AFTER else total
        tl.store(written + at, kept.to(written.dtype.element_ty), mask=held)
    if ROUNDED:
        _write(y, held, at, found, scales, STATIC)
    else:
        tl.store(found + at, y.to(found.dtype.element_ty), mask=held)


def misrounded(found: Int8, exact: Tensor, *, static: bool) -> float:
    """Return how far codes and scales are from those of exact numbers (N, C) in float64.

    A code may be half a step off; what is more counts as a share of the largest number, and so does
    what a token's scale is off. What a scale known before cannot hold is cut off.
    """
    codes, scale = found.codes.to(exact.device).double(), found.scale.to(exact.device).double()
    most = INT8 * scale[:, None]
    own = torch.zeros_like(most) if static else (exact.abs().amax(1, keepdim=True) - most).abs()
    wanted = exact.clamp(-most, most) if static else exact
    beyond = ((codes * scale[:, None] - wanted).abs() - scale[:, None] / 2).clamp(min=0)
    return (torch.maximum(beyond, own).max() / wanted.abs().max()).item()


def drawn(tokens: int, columns: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Norm]:
    """Return random x and what is added to it, and a norm."""
    generator = torch.Generator().manual_seed(columns)
    x, added = 3 * torch.randn(2, tokens, columns, generator=generator)
    weight, bias = torch.randn(2, columns, generator=generator)
    return x.to(dtype), added.to(dtype), (weight.to(dtype), bias.to(dtype))


def _apart_of_gelu(columns: int, device: str) -> float:
    x, _, _ = drawn(5, columns, torch.float16)
    exact = reference(x.double(), gelu=True)
    return misrounded(rounded(x.to(device), gelu=True), exact, static=False)


def _apart_of_norm(
    columns: int, after: bool, known: float, dtype: torch.dtype, device: str
) -> float:
    x, added, norm = drawn(5, columns, dtype)
    wide = norm[0].double(), norm[1].double()
    exact, kept = reference_normed(x.double(), added.double(), wide, after=after)
    x, added = x.to(device), added.to(device)
    norm = norm[0].to(device), norm[1].to(device)
    step = torch.tensor([known], device=device) if known else None
    found, written = normed(x, added, norm, step, after=after)
    plain, _ = normed_only(x, added, norm, after=after)
    return max(
        misrounded(found, exact, static=step is not None),
        relative(written, kept),
        relative(plain, exact),
    )


EQUALITIES = (
    Equality(
        "GELU rounded to int8, float16", TOLERANCES[torch.float16], partial(_apart_of_gelu, 3000)
    ),
    *(
        Equality(
            f"norm {'after' if after else 'before'} rounded to int8 by"
            f" {'one scale' if known else 'a scale a token'}, {str(dtype).removeprefix('torch.')}",
            TOLERANCES[dtype],
            partial(_apart_of_norm, columns, after, known, dtype),
        )
        for columns, after, known, dtype in (
            (768, True, 0.0, torch.float16),
            (7168, False, 0.02, torch.float16),
            (100, False, 0.0, torch.float32),
        )
    ),
)
