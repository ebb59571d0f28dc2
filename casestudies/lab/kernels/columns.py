"""The columns of one block, pruned from left to right while later ones make up: one kernel.

Frantar and Alistarh, 2023 (arXiv 2301.00774), algorithm 1. Step by step in PyTorch each column
costs several launches, which take longer than their arithmetic. Rows do not depend on each other,
so a program carries its rows through all columns. It looks back instead of ahead: column i, when
its turn comes, makes up for all errors before it,

    w_i - sum over j < i of (U[j, i] / U[j, j]) e_j,

so the only state is the errors, which stay in registers, and each weight is read and written once.

All is float32: a mask hangs on which of two numbers is smaller. Letters: `quantize/columns.py`.
"""

from functools import partial

import torch
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import Equality, relative
from casestudies.lab.quantize import columns, hessian
from casestudies.lab.quantize.grid import Grid

SPAN = 64  # columns whose errors registers hold; a product carries them to the rest of the block
ROWS = 32  # of a program: one for each thread of its only warp


def prune(
    w: Tensor, u: Tensor, keep: Tensor | None, zeros: int, group: int, grid: Grid | None = None
) -> Tensor:
    """Prune the columns w (B, rows) in place; return E (B, rows), undivided by U's diagonal.

    u (B, B) is the block's inverse factor. `keep` (B, rows) is 1 where a weight stays; without it
    the `zeros` least salient of every `group` columns go, a power of two that divides B. What stays
    is rounded to the grid, if there is one. Raises ValueError unless all is float32, the columns
    contiguous and whole groups.
    """
    if w.dtype != torch.float32 or u.dtype != torch.float32:
        raise ValueError(f"columns are pruned in float32, not in {w.dtype}")
    if not w.is_contiguous() or (keep is not None and not keep.is_contiguous()):
        raise ValueError("columns and what stays of them must be contiguous")
    if keep is None and len(w) % group:
        raise ValueError(f"{len(w)} columns are no groups of {group}")
    factors = u / u.diagonal()[:, None]
    e = torch.empty_like(w)
    for first in range(0, len(w), SPAN):
        last = min(first + SPAN, len(w))
        part = slice(first, last)
        _prune[(triton.cdiv(w.shape[1], ROWS),)](
            w[part],
            e[part],
            factors[part, part].T.contiguous(),
            u.diagonal()[part].contiguous(),
            w if keep is None else keep[part],
            grid.step if grid else w,
            grid.zero if grid else w,
            last - first,
            w.shape[1],
            grid.levels if grid else 0,
            MASKED=keep is not None,
            ROUNDED=grid is not None,
            ZEROS=zeros,
            GROUP=group if keep is None else 1,
            SPAN=SPAN,
            ROWS=ROWS,
            num_warps=1,
        )
        w[last:].addmm_(factors[part, last:].T, e[part], alpha=-1)
    return e


def floor(columns: int, rows: int) -> Floor:
    """Return the least that a block takes: weights read and written, errors written, no mask."""
    return Floor(4 * (3 * columns * rows + columns**2), columns**2 * rows)


@triton.jit
def _prune(  # type: ignore[no-untyped-def]
    w,  # B, rows
    e,  # B, rows
    factors,  # B, B: row i holds what column i takes of the errors before it
    diagonal,  # B
    keep,  # B, rows; not read unless MASKED
    step,  # rows; not read unless ROUNDED
    zero,  # rows
    columns,
    rows,
    levels,
    MASKED: tl.constexpr,
    ROUNDED: tl.constexpr,
    ZEROS: tl.constexpr,
    GROUP: tl.constexpr,
    SPAN: tl.constexpr,
    ROWS: tl.constexpr,
):
    r, j, g = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, SPAN), tl.arange(0, GROUP)
    held = r < rows
    errors = tl.zeros((SPAN, ROWS), tl.float32)
    for start in range(0, columns, GROUP):
        if not MASKED:
            saliency = tl.zeros((GROUP, ROWS), tl.float32)
            for n in tl.static_range(GROUP):
                now = _made_up(w, factors, errors, start + n, columns, r, rows, held, j)
                own = tl.div_rn(tl.abs(now), tl.load(diagonal + start + n))
                saliency = tl.where(g[:, None] == n, own[None, :], saliency)
            one, other = saliency[:, None, :], saliency[None, :, :]
            before = (other < one) | ((other == one) & (g[None, :, None] < g[:, None, None]))
            stays = (tl.sum(before.to(tl.int32), 1) >= ZEROS).to(tl.float32)  # GROUP, ROWS
        for n in tl.static_range(GROUP):
            i = start + n
            now = _made_up(w, factors, errors, i, columns, r, rows, held, j)
            at = i * rows + r
            if MASKED:
                new = now * tl.load(keep + at, mask=held, other=0.0)
            else:
                new = now * tl.sum(tl.where(g[:, None] == n, stays, 0.0), 0)
            if ROUNDED:
                size = tl.load(step + r, mask=held, other=1.0)
                nought = tl.load(zero + r, mask=held, other=0.0)
                # Numbers this large have no fraction: adding it rounds half to even.
                code = (tl.div_rn(new, size) + 12582912.0) - 12582912.0 + nought
                new = (tl.minimum(tl.maximum(code, 0.0), levels) - nought) * size
            tl.store(w + at, new, mask=held)
            errors = tl.where(j[:, None] == i, (now - new)[None, :], errors)
    at = j[:, None] * rows + r[None, :]
    tl.store(e + at, errors, mask=(j < columns)[:, None] & held[None, :])


@triton.jit
def _made_up(w, factors, errors, i, columns, r, rows, held, j):  # type: ignore[no-untyped-def]
    """Return column i (ROWS) less what it takes of the errors (SPAN, ROWS) before it."""
    taken = tl.load(factors + i * columns + j, mask=j < columns, other=0.0)
    own = tl.load(w + i * rows + r, mask=held, other=0.0)
    return own - tl.sum(taken[:, None] * errors, 0)


def reference(
    w: Tensor, u: Tensor, keep: Tensor | None, zeros: int, group: int, grid: Grid | None = None
) -> Tensor:
    """Do the same column by column; columns that matter alike go from left to right."""
    diagonal = u.diagonal()[:, None]
    stays = w.new_empty(w.shape) if keep is None else keep

    def pruned(i: int, column: Tensor) -> Tensor:
        if keep is None and i % group == 0:
            part = slice(i, i + group)
            saliency = (w[part] / diagonal[part]).abs()
            stays[part] = (saliency.argsort(dim=0, stable=True).argsort(dim=0) >= zeros).to(w)
        new = column * stays[i]
        return grid.nearest(new) if grid else new

    return columns.change_block(w, u, 0, pruned)


def drawn(count: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return random columns, an inverse factor, and which weights stay, all in float64."""
    generator = torch.Generator().manual_seed(count)
    mixing = torch.randn(count, count, generator=generator) / count**0.5
    inputs = (torch.randn(4 * count, count, generator=generator) @ mixing).double()
    w = torch.randn(count, rows, generator=generator).double()
    keep = torch.rand(count, rows, generator=generator).round().double()
    return w, hessian.inverse_factor(inputs.T @ inputs, 0.01), keep


def apart(count: int, rows: int, group: int | None, bits: int | None, device: str) -> float:
    """Return how far weights and errors are from those in float64, other masks included."""
    w, u, keep = drawn(count, rows)
    exact = w.clone()
    chosen = (keep if group is None else None), (group or 0) // 2, group or 1
    grid = Grid.of(w.T.float(), bits) if bits else None
    wide = grid and Grid(grid.step.double(), grid.zero.double(), grid.levels)
    errors = reference(exact, u, *chosen, wide)
    found, u = w.float().to(device), u.float().to(device)
    here = grid and Grid(grid.step.to(device), grid.zero.to(device), grid.levels)
    on_device = None if chosen[0] is None else keep.float().to(device)
    made = prune(found, u, on_device, *chosen[1:], here)
    return max(relative(found, exact), relative(made, errors))


EQUALITIES = tuple(
    Equality(f"{said} in one kernel, float32", 1e-5, partial(apart, *sizes))
    for said, sizes in (
        ("columns pruned by a mask", (80, 40, None, None)),
        ("columns pruned 2:4 and rounded", (24, 33, 4, 4)),
    )
)
