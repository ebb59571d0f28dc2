"""Multiplies a vector by a matrix that stays in its code words.

Each code word stands for at most six weights that are not zero: their positions and signs are one
64-bit entry, so a word costs a few products instead of one for each of its weights.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes.coding import Counts, Units, read_base_3, table_of
from casestudies.lab.studies.qmoe.codes.compiled import KEEP
from casestudies.lab.studies.qmoe.codes.dictionary import Dictionary

Floats = NDArray[np.float32]
# Sums may be taken in any order, as in any fast matrix product.
FAST = {"reassoc", "contract"}


def product(
    units: Units, counts: Counts, scales: Floats, x: Floats, dictionary: Dictionary
) -> Floats:
    """Return y = W x (rows) for units that were found to be sound, in float32 on one thread.

    `scales` (rows, 2) are the least and the greatest value of each row.
    """
    y = np.empty(len(counts), np.float32)
    _product((units, counts, scales), table_of(dictionary), x.astype(np.float32, copy=False), y)
    return y


@numba.njit(cache=KEEP, fastmath=FAST)
def _product(rows, table, x, y):  # type: ignore[no-untyped-def]
    units, counts, scales = rows
    entries, most, per_unit = table
    trits = np.empty(len(x), np.uint8)
    value = np.zeros(4, np.float32)
    start = 0
    for row in range(len(counts)):
        value[1], value[2] = scales[row, 0], scales[row, 1]
        stop = start + counts[row]
        if counts[row] == -(-len(x) // per_unit):
            read_base_3(units, start, per_unit, trits)
            total = np.float32(0)
            for column in range(len(x)):
                total += value[trits[column]] * x[column]
            y[row] = total
        else:
            y[row] = _coded_row(units[start:stop], entries, most, value, x)
        start = stop


@numba.njit(cache=KEEP, fastmath=FAST)
def _coded_row(units, entries, most, value, x):  # type: ignore[no-untyped-def]
    a = b = c = d = np.float32(0)
    position = np.int64(0)
    # Written out, with four sums, because a loop over the slots takes twice the time. Slots that
    # a sequence does not have count its first weight zero times.
    for unit in units:
        entry = entries[unit]
        a += _slot(entry >> np.uint64(7), value, x, position)
        b += _slot(entry >> np.uint64(16), value, x, position)
        c += _slot(entry >> np.uint64(25), value, x, position)
        if most > 3:
            d += _slot(entry >> np.uint64(34), value, x, position)
        if most > 4:
            a += _slot(entry >> np.uint64(43), value, x, position)
            b += _slot(entry >> np.uint64(52), value, x, position)
        position += np.int64(entry & np.uint64(127))
    return a + b + c + d


@numba.njit(cache=KEEP, fastmath=FAST, inline="always")
def _slot(slot, value, x, position):  # type: ignore[no-untyped-def]
    at = position + np.int64(slot & np.uint64(127))
    return value[slot >> np.uint64(7) & np.uint64(3)] * x[at]
