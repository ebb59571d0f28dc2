"""Attention over a sequence that ranks share by tokens: a ring of keys and values, and Ulysses.

Ring attention (Liu et al. 2023, arXiv 2310.01889) passes blocks of keys and values round while each
rank attends with its own queries; what it has found is put together by an online softmax. Ulysses
(Jacobs et al. 2023, arXiv 2309.14509) exchanges tokens for heads before attention, and back.
Shapes in comments: b sequences, a heads, n = s/t tokens of a rank, d head width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.shared import exchanged, moved
from casestudies.lab.models import attention

HEADS, TOKENS = 1, 2  # dimensions of queries, keys and values
ALL = slice(None)
KERNEL = "_scaled_dot_product_flash_attention_for_cpu"


class Meeting(NamedTuple):
    """What a rank computes of its queries and a block of keys: some of each, or none at all."""

    queries: slice = ALL
    keys: slice = ALL
    causal: bool = False  # each query sees the keys up to its own, of which there are as many

    def pairs(self, tokens: int) -> int:
        """Return the pairs of query and key, each rank having so many tokens."""
        queries, keys = (len(range(tokens)[part]) for part in (self.queries, self.keys))
        return queries * (queries + 1) // 2 if self.causal else queries * keys


class Placement(NamedTuple):
    """Which tokens a rank has, and what it computes with the block of another."""

    tokens: Callable[[int, int, int], Tensor]  # of s, rank and ranks
    meeting: Callable[[int, int, int], Meeting | None]  # of rank, owner of the keys, and n


def _in_order(tokens: int, rank: int, ranks: int) -> Tensor:
    return torch.arange(tokens).chunk(ranks)[rank]


def _in_order_meeting(rank: int, owner: int, tokens: int) -> Meeting | None:
    return Meeting(causal=rank == owner) if owner <= rank else None


def _zig_zag(tokens: int, rank: int, ranks: int) -> Tensor:
    parts = torch.arange(tokens).chunk(2 * ranks)
    return torch.cat((parts[rank], parts[-1 - rank]))


def _zig_zag_meeting(rank: int, owner: int, tokens: int) -> Meeting:
    half = tokens // 2
    if owner == rank:
        return Meeting(causal=True)
    # Of an earlier rank the first half is before all of ours, and the second after all; of a later
    # one both halves are before our second half and after our first.
    return Meeting(keys=slice(half)) if owner < rank else Meeting(queries=slice(half, None))


CONTIGUOUS = Placement(_in_order, _in_order_meeting)
ZIG_ZAG = Placement(_zig_zag, _zig_zag_meeting)


class _Passing:
    """A tensor on its way to the next rank, while that of the one before comes."""

    def __init__(self, tensor: Tensor, tag: int) -> None:
        rank, ranks = dist.get_rank(), dist.get_world_size()
        self._sent, self._received = tensor.contiguous(), torch.empty_like(tensor)
        going = dist.isend(self._sent, (rank + 1) % ranks, tag=tag)
        coming = dist.irecv(self._received, (rank - 1) % ranks, tag=tag)
        self._both = [work for work in (going, coming) if work]

    def received(self) -> Tensor:
        """Wait for both and return what came."""
        for work in self._both:
            work.wait()
        return self._received


@dataclass
class Ring:
    """Causal attention in a ring; `pairs` counts those of query and key in forward passes."""

    placement: Placement
    pairs: int = 0

    def __call__(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Return attention (b, a, n, d) of the rank's queries, over the keys of all ranks."""
        found: Tensor = _InRing.apply(query, key, value, self)
        return found

    def _meetings(self, tokens: int) -> list[Meeting | None]:
        """Return what the rank computes as its own block comes, the one before it, and so on."""
        rank, ranks = dist.get_rank(), dist.get_world_size()
        owners = ((rank - step) % ranks for step in range(ranks))
        return [self.placement.meeting(rank, owner, tokens) for owner in owners]


def _kernel(direction: str = "") -> Callable[..., tuple[Tensor, ...]]:
    """Return the kernel that `scaled_dot_product_attention` calls on a CPU.

    No public function returns the softmax's logarithm and has a gradient for a block of keys, and
    one written with PyTorch's operations would hold the scores and take several times as long.
    """
    found: Callable[..., tuple[Tensor, ...]] | None
    found = getattr(torch.ops.aten, KERNEL + direction, None)
    if found is None:
        raise RuntimeError(
            f"ring attention needs PyTorch's {KERNEL + direction}, which PyTorch"
            f" {torch.__version__} does not have"
        )
    return found


class _InRing(torch.autograd.Function):
    """Keeps queries, keys, values and output of the rank's tokens, and a logarithm for each."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, ring: Ring) -> Tensor:
        meetings = ring._meetings(query.shape[TOKENS])
        block = torch.stack((key, value))
        found = logarithm = torch.empty(0)
        for step, meeting in enumerate(meetings):
            passing = _Passing(block, 0) if step + 1 < len(meetings) else None
            if meeting:
                rows = meeting.queries
                k, v = block[..., meeting.keys, :]
                new, more = _kernel()(query[:, :, rows], k, v, 0.0, meeting.causal)
                if step:
                    before = logarithm[:, :, rows]
                    both = torch.logaddexp(before, more)
                    found[:, :, rows] *= (before - both).exp().unsqueeze(-1)
                    found[:, :, rows] += new * (more - both).exp().unsqueeze(-1)
                    logarithm[:, :, rows] = both
                else:  # its own block, which all its queries meet
                    found, logarithm = new.to(more.dtype), more
                ring.pairs += meeting.pairs(query.shape[TOKENS])
            if passing:
                block = passing.received()
        found = found.to(query.dtype)
        ctx.ring = ring
        ctx.save_for_backward(query, key, value, found, logarithm)
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, found, logarithm = ctx.saved_tensors
        meetings = ctx.ring._meetings(query.shape[TOKENS])
        block = torch.stack((key, value))
        of_query = torch.zeros_like(query, dtype=logarithm.dtype)
        of_own = torch.zeros_like(block)
        going: _Passing | None = None
        for step, meeting in enumerate(meetings):
            passing = _Passing(block, 0) if step + 1 < len(meetings) else None
            of_block = torch.zeros_like(block)
            if meeting:
                rows, columns = meeting.queries, meeting.keys
                given = (t[:, :, rows] for t in (gradients[0], query))
                kept = (t[:, :, rows] for t in (found, logarithm))
                k, v = block[..., columns, :]
                of_q, *of_kv = _kernel("_backward")(*given, k, v, *kept, 0.0, meeting.causal)
                of_query[:, :, rows] += of_q
                of_block[..., columns, :] = torch.stack(of_kv)
            if step == 0:
                of_own = of_block
            else:  # what ranks before have found goes on with it, and at last to the owner
                going = _Passing(of_block + going.received() if going else of_block, 1)
            if passing:
                block = passing.received()
        if going:
            of_own = of_own + going.received()
        return of_query.to(query.dtype), *of_own, None


def ulysses(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return causal attention (b, a, n, d) of the rank's tokens, which lie in order over ranks."""
    to_heads = partial(exchanged, scattered=HEADS, gathered=TOKENS)
    to_tokens = partial(exchanged, scattered=TOKENS, gathered=HEADS)
    q, k, v = (moved(x, to_heads, to_tokens) for x in (query, key, value))  # b, a/t, s, d
    return moved(attention.stock(q, k, v), to_tokens, to_heads)
