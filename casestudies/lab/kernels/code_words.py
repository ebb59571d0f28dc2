"""Products with ternary weights that stay in the code words of a dictionary.

Frantar and Alistarh, 2023, "QMoE: Practical Sub-1-Bit Compression of Trillion-Parameter Models",
section 4: each of a row's code words, of 8 or 16 bits, stands for a sequence of weights of which
most are zero. Here a program of one warp multiplies one row: it looks its words up, finds by a
prefix sum where each word's sequence begins, and adds the few products of each.

The table gives each word's length and the places and trits of its nonzeros (at most 4 of 16 bits'
words, 2 of 8 bits'); they are packed as tightly as the dictionary allows, the paper's in 4 bytes a
word, 256 KiB, ours of 16 bits in 8, and ours of 8 bits in 4, 1 KiB, which every L1 cache holds.

X (tokens, columns) and Y (tokens, rows) are float32, float16 or bfloat16; sums are float32.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, Equality, relative

# As a dictionary's 64-bit entries are built: a sequence's length in the lowest bits, and then for
# each trit that is not zero 7 bits of its place and 2 of the trit.
LENGTH_BITS, PLACE_BITS, TRIT_BITS = 7, 7, 2
# Code words that a program looks up at once, where it multiplies one token, or several.
UNITS_OF_ONE, UNITS_OF_MORE = 128, 32
MOST_TOKENS = 16


@dataclass(frozen=True)
class Table:
    """What each code word stands for, in as few bits as the dictionary's sequences need."""

    words: Tensor  # 2^bits; int32 or int64
    length_bits: int
    place_bits: int
    most: int  # nonzeros of a word

    @classmethod
    def of(cls, entries: NDArray[np.uint64]) -> "Table":
        """Return the table of a dictionary's 64-bit entries."""
        lengths = entries & np.uint64(2**LENGTH_BITS - 1)
        slots, most = entries >> np.uint64(LENGTH_BITS), 0
        length_bits = int(lengths.max()).bit_length()
        place_bits = max(1, int(lengths.max() - 1).bit_length())
        words = lengths.astype(np.int64)
        while slots.any():
            place = (slots & np.uint64(2**PLACE_BITS - 1)).astype(np.int64)
            trit = (slots >> np.uint64(PLACE_BITS) & np.uint64(3)).astype(np.int64)
            words |= (place | trit << place_bits) << length_bits + most * (place_bits + TRIT_BITS)
            slots >>= np.uint64(PLACE_BITS + TRIT_BITS)
            most += 1
        fits = length_bits + most * (place_bits + TRIT_BITS) < 32
        return cls(
            torch.from_numpy(words.astype(np.int32 if fits else np.int64)),
            length_bits,
            place_bits,
            most,
        )


@dataclass(frozen=True)
class Coded:
    """A ternary matrix (rows, columns) in code words.

    A row of as many units as base 3 would take is in base 3, `trits` in a unit; others are shorter.
    Every row's words are sound: none has a nonzero past the row's end, and none follows its end.
    """

    units: Tensor  # all rows' units; uint8, or int16 for the bits of 16
    starts: Tensor  # rows + 1; int32
    scales: Tensor  # rows, 2: what trits 1 and 2 stand for; bfloat16
    table: Table
    columns: int

    @classmethod
    def of(
        cls,
        units: NDArray[Any],
        counts: NDArray[np.int64],
        scales: NDArray[np.float32],
        table: Table,
        columns: int,
    ) -> "Coded":
        """Return the matrix of units (uint8 or uint16), so many to each row."""
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        kept = units if units.itemsize == 1 else units.view(np.int16)
        return cls(
            torch.from_numpy(kept.copy()),
            torch.from_numpy(starts),
            torch.from_numpy(scales).bfloat16(),
            table,
            columns,
        )

    @property
    def trits(self) -> int:
        """Return how many trits of a row in base 3 a unit holds."""
        return 5 * self.units.itemsize

    def to(self, device: str) -> "Coded":
        """Return the matrix on the device."""
        units, starts, scales = (p.to(device) for p in (self.units, self.starts, self.scales))
        table = replace(self.table, words=self.table.words.to(device))
        return replace(self, units=units, starts=starts, scales=scales, table=table)

    def weights(self) -> Tensor:
        """Return the weights (rows, columns) in float32."""
        units = self.units.long() & 256**self.units.itemsize - 1
        counts = self.starts.diff()
        row = torch.arange(len(counts), device=units.device).repeat_interleave(counts)
        in_base_3 = counts[row] == -(-self.columns // self.trits)
        word = torch.where(in_base_3, 0, self.table.words[torch.where(in_base_3, 0, units)].long())
        length = torch.where(in_base_3, self.trits, word & 2**self.table.length_bits - 1)
        ends = torch.cat([length.new_zeros(1), length.cumsum(0)])
        begin = ends[:-1] - ends[self.starts[:-1].long()][row]
        found = self.scales.new_zeros(len(counts), self.columns, dtype=torch.float32)

        def put(place: Tensor, trit: Tensor, where: Tensor) -> None:
            kept = where & (trit > 0)
            scale = self.scales[row[kept], trit[kept] - 1].float()
            found[row[kept], place[kept]] = scale

        slots = word >> self.table.length_bits
        for _ in range(self.table.most):
            place = begin + (slots & 2**self.table.place_bits - 1)
            put(place, slots >> self.table.place_bits & 3, ~in_base_3)
            slots = slots >> self.table.place_bits + TRIT_BITS
        for k in range(self.trits):
            put(begin + k, units // 3**k % 3, in_base_3)
        return found


def reference(x: Tensor, weights: Coded) -> Tensor:
    """Return X W^T (tokens, rows) for x (tokens, columns), the weights decoded in memory first."""
    return x @ weights.weights().to(x.dtype).T


def floor(weights: Coded, tokens: int, nonzeros: int, element: int = 2) -> Floor:
    """Return the least that the product of so many tokens takes; `element` bytes a number.

    The table, which many matrices share, is not counted. `nonzeros` are those of the weights.
    """
    stored = weights.units.nbytes + weights.starts.nbytes + weights.scales.nbytes
    numbers = tokens * (len(weights.scales) + weights.columns)
    return Floor(stored + element * numbers, 2 * tokens * nonzeros)


def product(x: Tensor, weights: Coded) -> Tensor:
    """Return X W^T (tokens, rows) for x (tokens, columns). Raises ValueError beyond 16 tokens."""
    (tokens, columns), rows = x.shape, len(weights.scales)
    if tokens > MOST_TOKENS:
        raise ValueError(f"{tokens} tokens; at most {MOST_TOKENS} are multiplied from code words")
    y = x.new_empty(tokens, rows)
    _row[(rows,)](
        x.T.contiguous(),
        weights.units,
        weights.starts,
        weights.scales,
        weights.table.words,
        y,
        tokens,
        rows,
        columns,
        triton.cdiv(columns, weights.trits),
        MOST=weights.table.most,
        LENGTH_BITS=weights.table.length_bits,
        PLACE_BITS=weights.table.place_bits,
        UNIT_BITS=8 * weights.units.itemsize,
        TRITS=weights.trits,
        UNITS=UNITS_OF_ONE if tokens == 1 else UNITS_OF_MORE,
        TOKENS=triton.next_power_of_2(tokens),
        num_warps=1,
    )
    return y


@triton.jit
def _row(  # type: ignore[no-untyped-def]
    x, units, starts, scales, table, y,
    tokens, rows, columns, most_units,
    MOST: tl.constexpr, LENGTH_BITS: tl.constexpr, PLACE_BITS: tl.constexpr,
    UNIT_BITS: tl.constexpr, TRITS: tl.constexpr, UNITS: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Multiply all tokens by a row; x is (columns, tokens), so that a place's numbers adjoin."""
    row = tl.program_id(0)
    start, stop = tl.load(starts + row), tl.load(starts + row + 1)
    low = tl.load(scales + 2 * row).to(tl.float32)
    high = tl.load(scales + 2 * row + 1).to(tl.float32)
    token = tl.arange(0, TOKENS)
    total = tl.zeros((UNITS, TOKENS), tl.float32)
    if stop - start == most_units:
        for first in range(0, most_units, UNITS):
            at = first + tl.arange(0, UNITS)
            unit = tl.load(units + start + at, mask=at < most_units, other=0).to(tl.int32)
            unit &= (1 << UNIT_BITS) - 1
            for k in tl.static_range(TRITS):
                trit = unit % 3
                unit //= 3
                # Past the row's end all trits are zero.
                total += _products(x, at * TRITS + k, trit, low, high, token, tokens)
    else:
        position = 0
        for first in range(start, stop, UNITS):
            at = first + tl.arange(0, UNITS)
            unit = tl.load(units + at, mask=at < stop, other=0).to(tl.int32)
            unit &= (1 << UNIT_BITS) - 1
            word = tl.load(table + unit, mask=at < stop, other=0)
            length = (word & ((1 << LENGTH_BITS) - 1)).to(tl.int32)
            begin = position + tl.cumsum(length, 0) - length
            position += tl.sum(length, 0)
            slots = word >> LENGTH_BITS
            for _ in tl.static_range(MOST):
                place = begin + (slots & ((1 << PLACE_BITS) - 1)).to(tl.int32)
                trit = (slots >> PLACE_BITS & 3).to(tl.int32)
                total += _products(x, place, trit, low, high, token, tokens)
                slots >>= PLACE_BITS + 2
    found = tl.sum(total, 0).to(y.dtype.element_ty)
    tl.store(y + token * rows + row, found, mask=token < tokens)


@triton.jit
def _products(x, place, trit, low, high, token, tokens):  # type: ignore[no-untyped-def]
    """Return what the trits (UNITS) at these columns add, (UNITS, TOKENS)."""
    there = (trit > 0)[:, None] & (token < tokens)[None, :]
    values = tl.load(x + place[:, None] * tokens + token[None, :], mask=there, other=0)
    return tl.where(trit == 1, low, high)[:, None] * values.to(tl.float32)


def random(
    rows: int, columns: int, unit_bits: int, most: int, generator: np.random.Generator
) -> Coded:
    """Return a matrix of random words of a random dictionary; every third row is in base 3.

    The dictionary's words are of 28 weights at most, `most` of which are not zero; its first word
    is zeros alone.
    """
    lengths = generator.integers(14, 29, 2**unit_bits)
    lengths[0] = 28
    entries = lengths.copy()
    for slot in range(most):
        # One nonzero in each of as many parts of the sequence.
        place = lengths // most * slot + generator.integers(0, lengths // most)
        trit = generator.integers(1, 3, len(lengths))
        entries |= (place | trit << PLACE_BITS) << LENGTH_BITS + slot * (PLACE_BITS + TRIT_BITS)
    entries[0] = 28
    kind, trits = (np.uint8, 5) if unit_bits == 8 else (np.uint16, 10)
    in_base_3 = -(-columns // trits)
    units, counts = [], []
    for row in range(rows):
        if row % 3 == 2:
            drawn = generator.integers(0, 3**trits, in_base_3)
            drawn[-1] %= 3 ** (columns - (in_base_3 - 1) * trits)
        else:
            drawn = generator.integers(0, len(entries), in_base_3)
            ends = np.cumsum(lengths[drawn])
            drawn = drawn[: int(np.searchsorted(ends, columns)) + 1]
            drawn[-1] = 0
            if len(drawn) == in_base_3:  # a row of a word is in base 3
                drawn[:] = 0
        units.append(drawn.astype(kind))
        counts.append(len(drawn))
    scales = generator.standard_normal((rows, 2)).astype(np.float32)
    table = Table.of(entries.astype(np.uint64))
    return Coded.of(np.concatenate(units), np.array(counts), scales, table, columns)


def _apart(unit_bits: int, most: int, tokens: int, dtype: torch.dtype, device: str) -> float:
    weights = random(9, 700, unit_bits, most, np.random.default_rng(most))
    x = torch.randn(tokens, 700, generator=torch.Generator().manual_seed(tokens)).to(dtype)
    found = product(x.to(device), weights.to(device))
    return relative(found, x.double() @ weights.weights().double().T)


EQUALITIES = tuple(
    Equality(
        f"code words of {bits} bits, nonzeros: {most}, tokens: {tokens},"
        f" {str(dtype).removeprefix('torch.')}",
        TOLERANCES[dtype],
        partial(_apart, bits, most, tokens, dtype),
    )
    for bits, most, tokens, dtype in (
        (16, 3, 1, torch.bfloat16),
        (8, 2, 1, torch.bfloat16),
        (16, 4, 1, torch.float32),
        (16, 3, 16, torch.bfloat16),
        (8, 2, 5, torch.float32),
    )
)
