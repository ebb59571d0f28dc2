"""PyTorch's caching allocator for CUDA, replayed by its rules: sizes only, no memory.

What is freed stays held, for a later tensor that fits. Rules of CUDACachingAllocator.cpp with its
default settings, on one stream; where a segment lies is taken to be in the order of asking.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from casestudies.lab.studies.memory_planning.plans import Life

MIB = 2**20
BLOCK = 512  # bytes, to whose multiples sizes go up
SMALL, SMALL_SEGMENT = MIB, 2 * MIB  # a tensor of at most the first comes from such a segment
MIDDLE, MIDDLE_SEGMENT = 10 * MIB, 20 * MIB  # one below the first too; others from one of their own
LARGE_STEP = 2 * MIB


@dataclass(eq=False)
class Block:
    """Bytes of a segment, used or free; its neighbours are those of the same segment."""

    segment: int
    offset: int
    size: int
    small: bool
    before: "Block | None" = None
    after: "Block | None" = None
    used: bool = True

    @property
    def key(self) -> tuple[int, int, int]:
        return self.size, self.segment, self.offset


class CachingAllocator:
    """Segments that were asked of the device and are never given back."""

    def __init__(self) -> None:
        self.segments: list[int] = []  # bytes
        self.free: set[Block] = set()

    @property
    def held(self) -> int:
        return sum(self.segments)

    def take(self, size: int) -> Block:
        """Return a block of at least so many bytes: the smallest free one, or of a new segment."""
        size = -(-max(size, 1) // BLOCK) * BLOCK
        small = size <= SMALL
        fitting = (b for b in self.free if b.small == small and b.size >= size)
        block = min(fitting, key=lambda b: b.key, default=None) or self._new(size, small)
        self.free.discard(block)
        block.used = True
        rest = block.size - size
        if rest >= BLOCK if small else rest > SMALL:
            self._split(block, size)
        return block

    def give_back(self, block: Block) -> None:
        """Let the block be used again, together with free neighbours."""
        block.used = False
        if (before := block.before) and not before.used:
            self.free.discard(before)
            block = self._joined(before, block)
        if (after := block.after) and not after.used:
            self.free.discard(after)
            block = self._joined(block, after)
        self.free.add(block)

    def serve(self, lives: Sequence[Life]) -> None:
        """Take and give back what a computation needs, in its order."""
        coming, going = defaultdict(list), defaultdict(list)
        for tensor, life in enumerate(lives):
            coming[life.first].append(tensor)
            going[life.last].append(tensor)
        blocks: dict[int, Block] = {}
        for call in sorted({*coming, *going}):
            blocks |= {tensor: self.take(lives[tensor].size) for tensor in coming[call]}
            for tensor in going[call]:
                self.give_back(blocks.pop(tensor))

    def _new(self, size: int, small: bool) -> Block:
        if small:
            segment = SMALL_SEGMENT
        elif size < MIDDLE:
            segment = MIDDLE_SEGMENT
        else:
            segment = -(-size // LARGE_STEP) * LARGE_STEP
        self.segments.append(segment)
        return Block(len(self.segments), 0, segment, small)

    def _split(self, block: Block, size: int) -> None:
        rest = Block(
            block.segment,
            block.offset + size,
            block.size - size,
            block.small,
            block,
            block.after,
            used=False,
        )
        if block.after:
            block.after.before = rest
        block.size, block.after = size, rest
        self.free.add(rest)

    @staticmethod
    def _joined(first: Block, second: Block) -> Block:
        first.size += second.size
        first.after = second.after
        if second.after:
            second.after.before = first
        return first
