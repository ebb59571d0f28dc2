"""Dictionaries of short ternary sequences, one code word each.

A trit is 0 for a zero weight, 1 for the least and 2 for the greatest value of its row. Sequences
are ordered by their probability when trits are independent; ties go by the number of zeros, then
alphabetically. Probabilities are compared as whole numbers, so every machine builds the same
dictionary, which its hash proves.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

# The paper's choices: pairs of trits, at most 14 of them, and 88.5 % zeros whatever the data.
PAPER_ZERO, PAPER_OTHER, PAPER_LONGEST, PAPER_BITS = 8850, 575, 28, 16
# How a sequence is packed into 64 bits; 6 nonzeros fit beside its length.
LENGTH_BITS, POSITION_BITS, SLOT_BITS = 7, 7, 9
LONGEST, MOST_NONZEROS = 127, 6
NO_CODE = -1


@dataclass(frozen=True, eq=False)
class Dictionary:
    """The sequence of each code word, as a 64-bit entry.

    An entry holds the sequence's length in its lowest 7 bits, and then 9 bits for each trit that
    is not zero: 7 for its position and 2 for the trit. It is 0 for a code word without meaning.
    `most` is the largest number of such trits in a sequence.
    """

    bits: int
    entries: NDArray[np.uint64]
    most: int

    @classmethod
    def of(cls, bits: int, sequences: list[bytes]) -> "Dictionary":
        """Return the dictionary that gives these sequences their code words in order."""
        entries = np.zeros(2**bits, np.uint64)
        entries[: len(sequences)] = [_entry(sequence) for sequence in sequences]
        return cls(bits, entries, max(len(s) - s.count(0) for s in sequences))

    @cached_property
    def sha256(self) -> bytes:
        """Return the hash of all entries."""
        return hashlib.sha256(self.entries.astype("<u8").tobytes()).digest()

    @cached_property
    def trie(self) -> NDArray[np.int32]:
        """Return the tree of all sequences, a row for each beginning of a longer one.

        A row holds what follows each of the three trits: another row, 0 if nothing, or -1 - code
        if the sequence ends there. The fourth number is the code of the beginning itself or -1.
        """
        places: dict[bytes, int] = {b"": 0}
        rows = [[0, 0, 0, NO_CODE]]
        for code, entry in enumerate(self.entries.tolist()):
            if entry:
                sequence = _sequence(entry)
                rows[_place(sequence[:-1], places, rows)][sequence[-1]] = -1 - code
        return np.array(rows, np.int32)


def _entry(sequence: bytes) -> int:
    entry, shift = len(sequence), LENGTH_BITS
    for position, trit in enumerate(sequence):
        if trit:
            entry |= (position | trit << POSITION_BITS) << shift
            shift += SLOT_BITS
    return entry


def _sequence(entry: int) -> bytes:
    sequence = bytearray(entry & (2**LENGTH_BITS - 1))
    slots = entry >> LENGTH_BITS
    while slots:
        position, trit = slots & (2**POSITION_BITS - 1), slots >> POSITION_BITS & 3
        sequence[position] = trit
        slots >>= SLOT_BITS
    return bytes(sequence)


def _place(beginning: bytes, places: dict[bytes, int], rows: list[list[int]]) -> int:
    """Return the row of a beginning, which it gets if it has none; shorter sequences come first."""
    if beginning not in places:
        parent = rows[_place(beginning[:-1], places, rows)]
        code = -1 - parent[beginning[-1]] if parent[beginning[-1]] else NO_CODE
        places[beginning] = parent[beginning[-1]] = len(rows)
        rows.append([0, 0, 0, code])
    return places[beginning]


@lru_cache(1)
def paper() -> Dictionary:
    """Return the paper's dictionary: the 65,536 most probable sequences of pairs.

    Beginnings of sequences are sequences too, so any row can be coded, and any row can end.
    """
    lengths = range(2, PAPER_LONGEST + 1, 2)
    sequences = most_probable(PAPER_ZERO, PAPER_OTHER, 2**PAPER_BITS, lengths, PAPER_LONGEST)
    return Dictionary.of(PAPER_BITS, sequences)


@lru_cache(16)
def tunstall(bits: int, zeros: int) -> Dictionary:
    """Return Tunstall's dictionary for `zeros` 256ths of zeros, 1 to 255.

    The likeliest sequence makes way for its three continuations until the code words are used
    up; no sequence begins another, so none is wasted on what a longer one could say.
    """
    inner = most_probable(
        2 * zeros, 256 - zeros, (2**bits - 1) // 2, range(LONGEST), MOST_NONZEROS - 1
    )
    known = set(inner)
    leaves = (s + bytes([trit]) for s in inner for trit in range(3))
    return Dictionary.of(bits, [leaf for leaf in leaves if leaf not in known])


def most_probable(
    zero: int, other: int, count: int, lengths: Iterable[int], most_nonzeros: int
) -> list[bytes]:
    """Return the `count` most probable sequences of the given lengths, or all if fewer.

    `zero` and `other` are in proportion to the probability of trit 0 and of each of the others.
    """
    lengths = set(lengths)
    longest = max(lengths)
    kinds = [(n - k, k) for n in lengths for k in range(min(n, most_nonzeros) + 1)]
    kinds.sort(key=lambda kind: (-_probability(kind, zero, other, longest), kind))
    alphabetical: dict[tuple[int, int], list[bytes]] = {(0, 0): [b""]}
    found: list[bytes] = []
    for zeros, nonzeros in kinds:
        if len(found) >= count:
            break
        found += _alphabetical(zeros, nonzeros, count, alphabetical)
    return found[:count]


def _probability(kind: tuple[int, int], zero: int, other: int, longest: int) -> int:
    """Return how probable one sequence of a kind is, in units that all kinds share."""
    zeros, nonzeros = kind
    rest = longest - zeros - nonzeros
    return int(zero**zeros * other**nonzeros * (zero + 2 * other) ** rest)


def _alphabetical(
    zeros: int, nonzeros: int, count: int, known: dict[tuple[int, int], list[bytes]]
) -> list[bytes]:
    """Return the first `count` sequences of so many zeros and nonzeros in alphabetical order."""
    if zeros < 0 or nonzeros < 0:
        return []
    if (zeros, nonzeros) not in known:
        sequences = [b"\0" + s for s in _alphabetical(zeros - 1, nonzeros, count, known)]
        rest = _alphabetical(zeros, nonzeros - 1, count, known)
        sequences += [bytes([trit]) + s for trit in (1, 2) for s in rest]
        known[zeros, nonzeros] = sequences[:count]
    return known[zeros, nonzeros]
