"""Where tensors lie in shared memory: planners that know when each is first and last used.

Plain Python, sizes and offsets in bytes. Two tensors may share bytes only where no call uses both:
what a call writes lies apart from all that it reads.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple

ALIGNMENT = 64  # bytes, at which PyTorch's allocator for the CPU places tensors as well
LEAST_CHUNK, SCALE = 2 * 2**20, 1.2  # TurboTransformers, algorithm 1: bytes, and times the tensor


class Life(NamedTuple):
    """A tensor's bytes, a multiple of the alignment, and the calls between which it is needed."""

    size: int
    first: int
    last: int


class Spot(NamedTuple):
    """Where a tensor lies: in which piece of memory, and how many bytes from its beginning."""

    chunk: int
    offset: int


@dataclass(frozen=True)
class Plan:
    """A spot for each tensor, in their order, and the bytes of each piece of memory.

    The last `new` of these were not held before.
    """

    spots: tuple[Spot, ...]
    chunks: tuple[int, ...]
    new: int = 1

    @property
    def bytes(self) -> int:
        return sum(self.chunks)


def aligned(size: int) -> int:
    """Return the size, at least one byte, up to the next multiple of the alignment."""
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


def most_alive(lives: Sequence[Life]) -> int:
    """Return the most bytes that are needed at one time, which no plan goes below."""
    changes = [(life.first, life.size) for life in lives]
    # What a call gives back goes before what the next one makes comes: the sort puts it first.
    changes += [(life.last + 1, -life.size) for life in lives]
    return max(accumulate(change for _, change in sorted(changes)), default=0)


def apart(lives: Sequence[Life]) -> Plan:
    """Return the plan in which no two tensors share a byte."""
    ends = list(accumulate(life.size for life in lives))
    spots = (Spot(0, end - life.size) for end, life in zip(ends, lives, strict=True))
    return Plan(tuple(spots), (ends[-1] if ends else 0,))


def by_size(lives: Sequence[Life]) -> Plan:
    """Return the plan that places the largest tensor first (Pisarchyk and Lee, 2020)."""
    return _in_order(lives, _largest_first(lives))


def by_time(lives: Sequence[Life]) -> Plan:
    """Return the plan that places tensors as they come, as one does who knows no future."""
    return _in_order(lives, sorted(range(len(lives)), key=lambda i: lives[i].first))


def in_chunks(lives: Sequence[Life], held: Sequence[int] = ()) -> Plan:
    """Return TurboTransformers' plan, with what the last request left `held` tried first.

    The largest tensor is placed first, into the smallest chunk where a gap fits it; where none
    does, a new one is made, of 2 MiB or 1.2 times the tensor. One without a tensor is given back.
    """
    meets = together(lives)
    sizes = list(held)
    inside: list[list[int | None]] = [[None] * len(lives) for _ in sizes]
    spots: dict[int, Spot] = {}
    for i in _largest_first(lives):
        for chunk in sorted(range(len(sizes)), key=sizes.__getitem__):
            offset = _gap(i, lives, meets, inside[chunk], sizes[chunk])
            if offset is not None:
                break
        else:
            chunk, offset = len(sizes), 0
            sizes.append(max(LEAST_CHUNK, aligned(int(SCALE * lives[i].size))))
            inside.append([None] * len(lives))
        inside[chunk][i] = offset
        spots[i] = Spot(chunk, offset)
    used = sorted({spot.chunk for spot in spots.values()})
    now = {chunk: number for number, chunk in enumerate(used)}
    moved = (Spot(now[spots[i].chunk], spots[i].offset) for i in range(len(lives)))
    new = sum(chunk >= len(held) for chunk in used)
    return Plan(tuple(moved), tuple(sizes[chunk] for chunk in used), new)


def together(lives: Sequence[Life]) -> list[list[int]]:
    """Return for each tensor those that are needed at a time when it is needed."""
    meets: list[list[int]] = [[] for _ in lives]
    alive: list[tuple[int, int]] = []  # last call and tensor, a heap
    for i in sorted(range(len(lives)), key=lambda i: lives[i].first):
        while alive and alive[0][0] < lives[i].first:
            heapq.heappop(alive)
        for _, other in alive:
            meets[i].append(other)
            meets[other].append(i)
        heapq.heappush(alive, (lives[i].last, i))
    return meets


def overlaps(lives: Sequence[Life], plan: Plan) -> int:
    """Return how many pairs share bytes while both are needed, or reach beyond their chunk."""
    found = 0
    for i, others in enumerate(together(lives)):
        chunk, offset = plan.spots[i]
        found += offset < 0 or offset + lives[i].size > plan.chunks[chunk]
        for j in others:
            there = plan.spots[j]
            found += (
                i < j
                and there.chunk == chunk
                and there.offset < offset + lives[i].size
                and offset < there.offset + lives[j].size
            )
    return found


def _in_order(lives: Sequence[Life], order: Iterable[int]) -> Plan:
    """Return the plan that gives each in turn the tightest gap that is free while it is needed."""
    meets = together(lives)
    offsets: list[int | None] = [None] * len(lives)
    for i in order:
        offsets[i] = _gap(i, lives, meets, offsets)
    spots = tuple(Spot(0, offset or 0) for offset in offsets)
    ends = (spot.offset + life.size for spot, life in zip(spots, lives, strict=True))
    return Plan(spots, (max(ends, default=0),))


def _largest_first(lives: Sequence[Life]) -> list[int]:
    return sorted(range(len(lives)), key=lambda i: (-lives[i].size, lives[i].first))


def _gap(
    i: int,
    lives: Sequence[Life],
    meets: Sequence[Sequence[int]],
    offsets: Sequence[int | None],
    limit: int | None = None,
) -> int | None:
    """Return where tensor i fits tightest, else behind all others; None if that is too far."""
    size, begin = lives[i].size, 0
    best: tuple[int, int] | None = None
    placed = sorted((at, lives[j].size) for j in meets[i] if (at := offsets[j]) is not None)
    for at, taken in placed:
        if at - begin >= size and (best is None or at - begin < best[0]):
            best = at - begin, begin
        begin = max(begin, at + taken)
    if best is not None:
        return best[1]
    return begin if limit is None or begin + size <= limit else None
