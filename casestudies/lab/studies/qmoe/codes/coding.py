"""Rows of trits to code words of a dictionary, and back. No code word crosses rows.

A row that code words do not make shorter is written in base 3 instead, 5 trits in a unit of 8
bits or 10 in one of 16: never more than 1.6 bits a weight, up to a row's last unit. A row of as
many units as base 3 takes is in base 3; all others are shorter.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes.compiled import compiled
from casestudies.lab.studies.qmoe.codes.dictionary import Dictionary

Trits = NDArray[np.uint8]
Units = NDArray[Any]  # uint8 or uint16
Counts = NDArray[np.int64]
NOTHING_WRONG = -1


def trits_in_unit(bits: int) -> int:
    """Return how many trits base 3 puts into a unit of 8 or 16 bits."""
    return 5 * bits // 8


def base_3_units(columns: int, bits: int) -> int:
    """Return how many units a row takes in base 3, which is the most it ever takes."""
    return -(-columns // trits_in_unit(bits))


def encode(trits: Trits, dictionary: Dictionary) -> tuple[Units, Counts]:
    """Return the rows' units one after another, and how many belong to each row."""
    rows, columns = trits.shape
    most = base_3_units(columns, dictionary.bits)
    units = np.empty(rows * most, _unit_type(dictionary))
    counts = np.empty(rows, np.int64)
    used = _encode(trits, dictionary.trie, trits_in_unit(dictionary.bits), units, counts)
    return units[:used].copy(), counts


def faulty_row(units: Units, counts: Counts, columns: int, dictionary: Dictionary) -> int:
    """Return the first row whose units do not make up its columns, or -1 if all do.

    The counts must add up to the units, and none may exceed base 3's. Whatever passes may be
    decoded: no code word lacks a meaning, and none begins or has a nonzero past its row's end.
    """
    per_unit = trits_in_unit(dictionary.bits)
    return int(_faulty_row(units, counts, columns, per_unit, dictionary.entries))


def decode(
    units: Units, starts: Counts, counts: Counts, columns: int, dictionary: Dictionary
) -> Trits:
    """Return the trits of the rows whose units begin at `starts`."""
    trits = np.zeros((len(starts), columns), np.uint8)
    _decode((units, starts, counts), table_of(dictionary), trits)
    return trits


def table_of(dictionary: Dictionary) -> tuple[NDArray[np.uint64], int, int]:
    """Return what compiled loops need: entries, most nonzeros of one, base 3's trits in a unit."""
    return dictionary.entries, dictionary.most, trits_in_unit(dictionary.bits)


def _unit_type(dictionary: Dictionary) -> type[np.uint8] | type[np.uint16]:
    return np.uint8 if dictionary.bits == 8 else np.uint16


@compiled
def _encode(trits, trie, per_unit, units, counts):  # type: ignore[no-untyped-def]
    rows, columns = trits.shape
    most = -(-columns // per_unit)
    start = 0
    for row in range(rows):
        at, position = start, 0
        while position < columns and at - start < most - 1:
            units[at], position = longest_match(trits[row], position, trie)
            at += 1
        if position < columns:
            at = write_base_3(trits[row], per_unit, units, start)
        counts[row] = at - start
        start = at
    return start


@compiled
def longest_match(row, position, trie):  # type: ignore[no-untyped-def]
    """Return the code of the longest sequence that begins at `position`, and where it ends.

    Beyond the row's end stand as many zeros as the sequence needs.
    """
    node, code, end = 0, 0, position
    while True:
        node = trie[node, row[position] if position < len(row) else 0]
        if node == 0:
            return code, end
        position += 1
        if node < 0:
            return -1 - node, position
        if trie[node, 3] >= 0:
            code, end = trie[node, 3], position
            if position >= len(row):
                return code, end


@compiled
def write_base_3(row, per_unit, units, at):  # type: ignore[no-untyped-def]
    """Write the row in base 3 from `at` on and return where it ends."""
    for first in range(0, len(row), per_unit):
        value = 0
        for position in range(min(first + per_unit, len(row)) - 1, first - 1, -1):
            value = 3 * value + row[position]
        units[at] = value
        at += 1
    return at


@compiled
def read_base_3(units, at, per_unit, row):  # type: ignore[no-untyped-def]
    """Fill the row with the trits of the units from `at` on."""
    value = np.int64(0)
    for position in range(len(row)):
        if position % per_unit == 0:
            value = np.int64(units[at])
            at += 1
        row[position] = value % 3
        value //= 3


@compiled
def _faulty_row(units, counts, columns, per_unit, entries):  # type: ignore[no-untyped-def]
    at = 0
    for row in range(len(counts)):
        coded = units[at : at + counts[row]]
        at += counts[row]
        if counts[row] == -(-columns // per_unit):
            sound = np.all(coded.astype(np.int64) < 3**per_unit)
        else:
            sound = _makes_up(coded, columns, entries)
        if not sound:
            return row
    return NOTHING_WRONG


@compiled
def _makes_up(units, columns, entries):  # type: ignore[no-untyped-def]
    """Return whether the last code word, and no other, reaches the row's end or zeros beyond."""
    position = np.int64(0)
    for unit in units:
        entry = entries[unit]
        if entry == 0 or position >= columns:
            return False
        slots = entry >> np.uint64(7)
        while slots:
            if position + np.int64(slots & np.uint64(127)) >= columns:
                return False
            slots >>= np.uint64(9)
        position += np.int64(entry & np.uint64(127))
    return position >= columns


@compiled
def _decode(place, table, trits):  # type: ignore[no-untyped-def]
    units, starts, counts = place
    entries, most, per_unit = table
    for row in range(len(starts)):
        if counts[row] == -(-trits.shape[1] // per_unit):
            read_base_3(units, starts[row], per_unit, trits[row])
            continue
        position = np.int64(0)
        for unit in units[starts[row] : starts[row] + counts[row]]:
            slots = entries[unit] >> np.uint64(7)
            # As many as any sequence has, for the processor cannot guess how many this one has;
            # those that it does not have change nothing at its beginning.
            for _ in range(most):
                at = position + np.int64(slots & np.uint64(127))
                trits[row, at] |= np.uint8(slots >> np.uint64(7) & np.uint64(3))
                slots >>= np.uint64(9)
            position += np.int64(entries[unit] & np.uint64(127))
