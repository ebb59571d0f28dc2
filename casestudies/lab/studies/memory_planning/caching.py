"""PyTorch's caching allocator for CUDA, replayed by its rules: sizes only, no memory.

What is freed stays held, for a later tensor that fits. Rules of CUDACachingAllocator.cpp with its
default settings, on one stream; where a segment lies is taken to be in the order of asking.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from casestudies.lab.studies.memory_planning.plans import Life

MIB = 2**20
BLOCK = 512  # bytes, to whose multiples sizes go up
SMALL, SMALL_SEGMENT = MIB, 2 * MIB  # a tensor of at most the first comes from such a segment
MIDDLE, MIDDLE_SEGMENT = 10 * MIB, 20 * MIB  # one below the first too; others from one of their own
LARGE_STEP = 2 * MIB


@dataclass(eq=False)
class Segment:
    """Memory asked of the device at once, and its blocks in the order in which they lie."""

    size: int
    small: bool
    blocks: list["Block"] = field(default_factory=list)


@dataclass(eq=False)
class Block:
    """Bytes of a segment, used or free."""

    segment: Segment
    size: int
    used: bool = False


class CachingAllocator:
    """Segments that are never given back to the device."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    @property
    def held(self) -> int:
        return sum(segment.size for segment in self.segments)

    def take(self, size: int) -> Block:
        """Return a block of at least so many bytes: the smallest free one, or of a new segment."""
        size = -(-max(size, 1) // BLOCK) * BLOCK
        small = size <= SMALL
        alike = (block for s in self.segments if s.small == small for block in s.blocks)
        fitting = (block for block in alike if not block.used and block.size >= size)
        block = min(fitting, key=lambda b: b.size, default=None) or self._new(size, small)
        block.used = True
        rest = block.size - size
        if rest >= BLOCK if small else rest > SMALL:
            block.size = size
            blocks = block.segment.blocks
            blocks.insert(blocks.index(block) + 1, Block(block.segment, rest))
        return block

    def give_back(self, block: Block) -> None:
        """Let the block be used again, together with free neighbours."""
        block.used = False
        blocks = block.segment.blocks
        at = blocks.index(block)
        for first in (at, at - 1):
            pair = blocks[max(first, 0) : first + 2]
            if len(pair) == 2 and not any(one.used for one in pair):
                pair[0].size += blocks.pop(first + 1).size

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
            segment = Segment(SMALL_SEGMENT, small)
        elif size < MIDDLE:
            segment = Segment(MIDDLE_SEGMENT, small)
        else:
            segment = Segment(-(-size // LARGE_STEP) * LARGE_STEP, small)
        self.segments.append(segment)
        segment.blocks.append(Block(segment, segment.size))
        return segment.blocks[0]
