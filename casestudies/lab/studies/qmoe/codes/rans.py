"""A range code (rANS): within one percent of the entropy for wide rows, read from any row.

Five trits make a symbol. A row's state after the last symbol stands first, in two units of 16
bits, and the units that decoding takes in follow (Duda, "Asymmetric numeral systems", 2013). As
with the dictionaries, a row that does not become shorter is in base 3.
"""

import hashlib
from functools import lru_cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes.coding import (
    NOTHING_WRONG,
    Counts,
    Trits,
    Units,
    base_3_units,
    read_base_3,
    trits_in_unit,
    write_base_3,
)
from casestudies.lab.studies.qmoe.codes.compiled import compiled

SYMBOL_TRITS = 5
SCALE_BITS = 14  # frequencies add up to 2 ** SCALE_BITS
LOWEST = 1 << 16  # of a state between symbols
PER_UNIT = trits_in_unit(16)


@lru_cache(64)
def frequencies(zeros: int) -> NDArray[np.int64]:
    """Return each symbol's share of 2^14, where `zeros` 256ths of the trits are zeros."""
    weight = (2 * zeros, 256 - zeros, 256 - zeros)
    # A symbol's number has its first trit as the least digit.
    products = [int(np.prod([weight[trit] for trit in trits])) for trits in _symbols()]
    shares = [max(1, (value << SCALE_BITS) // sum(products)) for value in products]
    shares[int(np.argmax(shares))] += (1 << SCALE_BITS) - sum(shares)
    return np.array(shares)


def sha256(zeros: int) -> bytes:
    """Return the hash of the frequencies."""
    return hashlib.sha256(frequencies(zeros).astype("<u2").tobytes()).digest()


def _symbols() -> list[tuple[int, ...]]:
    return [trits[::-1] for trits in product(range(3), repeat=SYMBOL_TRITS)]


def encode(trits: Trits, zeros: int) -> tuple[Units, Counts]:
    """Return the rows' units one after another, and how many belong to each row."""
    rows, columns = trits.shape
    units = np.empty(rows * base_3_units(columns, 16), np.uint16)
    counts = np.empty(rows, np.int64)
    shares = frequencies(zeros)
    used = _encode(trits, shares, np.cumsum(shares) - shares, units, counts)
    return units[:used].copy(), counts


def faulty_row(units: Units, counts: Counts, columns: int, zeros: int) -> int:
    """Return the first row whose units do not make up its columns exactly, or -1 if all do.

    The counts must add up to the units, and none may exceed base 3's.
    """
    starts = np.cumsum(counts) - counts
    trits = np.empty((1, columns), np.uint8)
    return int(_decode((units, starts, counts), _tables(zeros), trits))


def decode(units: Units, starts: Counts, counts: Counts, columns: int, zeros: int) -> Trits:
    """Return the trits of the rows whose units begin at `starts`."""
    trits = np.zeros((len(starts), columns), np.uint8)
    _decode((units, starts, counts), _tables(zeros), trits)
    return trits


@lru_cache(64)
def _tables(zeros: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Trits]:
    shares = frequencies(zeros)
    symbols = np.repeat(np.arange(len(shares), dtype=np.uint8), shares)
    return shares, np.cumsum(shares) - shares, symbols


@compiled
def _encode(trits, shares, below, units, counts):  # type: ignore[no-untyped-def]
    rows, columns = trits.shape
    most = -(-columns // PER_UNIT)
    taken = np.empty(most, np.uint16)
    start = 0
    for row in range(rows):
        used = _encode_row(trits[row], shares, below, taken)
        if used < most:
            units[start : start + used] = taken[most - used :]
            counts[row] = used
        else:
            counts[row] = write_base_3(trits[row], PER_UNIT, units, start) - start
        start += counts[row]
    return start


@compiled
def _encode_row(row, shares, below, taken):  # type: ignore[no-untyped-def]
    """Fill the end of `taken` with the row's units; return their number, or its size if full."""
    state, at = LOWEST, len(taken)
    if at < 3:
        return at
    first = (len(row) - 1) // SYMBOL_TRITS * SYMBOL_TRITS
    for start in range(first, -1, -SYMBOL_TRITS):
        symbol = 0
        for position in range(min(start + SYMBOL_TRITS, len(row)) - 1, start - 1, -1):
            symbol = 3 * symbol + row[position]
        if state >= shares[symbol] << (32 - SCALE_BITS):
            if at <= 3:
                return len(taken)
            at -= 1
            taken[at] = state & 0xFFFF
            state >>= 16
        state = (state // shares[symbol] << SCALE_BITS) + below[symbol] + state % shares[symbol]
    taken[at - 1], taken[at - 2] = state & 0xFFFF, state >> 16
    return len(taken) - at + 2


@compiled
def _decode(place, tables, trits):  # type: ignore[no-untyped-def]
    """Decode each row into `trits`, or all into its only row; return the first faulty one."""
    units, starts, counts = place
    shares, below, symbols = tables
    columns = trits.shape[1]
    most = -(-columns // PER_UNIT)
    for row in range(len(starts)):
        found = trits[row % len(trits)]
        coded = units[starts[row] : starts[row] + counts[row]]
        if counts[row] == most:
            for unit in coded:
                if unit >= 3**PER_UNIT:
                    return row
            read_base_3(coded, 0, PER_UNIT, found)
        elif not _decode_row(coded, shares, below, symbols, found):
            return row
    return NOTHING_WRONG


@compiled
def _decode_row(units, shares, below, symbols, row):  # type: ignore[no-untyped-def]
    """Fill the row and return whether the units were exactly its own."""
    if len(units) < 2:
        return False
    state, at = np.int64(units[0]) << 16 | np.int64(units[1]), 2
    for start in range(0, len(row), SYMBOL_TRITS):
        low = state & ((1 << SCALE_BITS) - 1)
        symbol = np.int64(symbols[low])
        state = shares[symbol] * (state >> SCALE_BITS) + low - below[symbol]
        if state < LOWEST:
            if at == len(units):
                return False
            state = state << 16 | np.int64(units[at])
            at += 1
        for position in range(start, min(start + SYMBOL_TRITS, len(row))):
            row[position] = symbol % 3
            symbol //= 3
    return state == LOWEST and at == len(units)
