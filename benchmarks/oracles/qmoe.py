"""Matrices that are hard on a code, and the fewest code words that a row can take."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes.coding import decode
from casestudies.lab.studies.qmoe.codes.dictionary import LONGEST, Dictionary
from casestudies.lab.studies.qmoe.codes.ternary import Ternary, bfloat16

# From each weight's column and a source of random numbers to its trit.
PATTERNS: dict[str, Callable[[NDArray[Any], np.random.Generator], NDArray[Any]]] = {
    "half zeros": lambda at, rng: rng.choice(3, at.shape, p=[0.5, 0.25, 0.25]),
    "mostly zeros": lambda at, rng: rng.choice(3, at.shape, p=[0.95, 0.025, 0.025]),
    "uniform": lambda at, rng: rng.integers(0, 3, at.shape),
    "no zeros": lambda at, rng: rng.integers(1, 3, at.shape),
    "one sign": lambda at, rng: rng.integers(0, 2, at.shape) * 2,
    "all zeros": lambda at, rng: 0 * at,
    "all least": lambda at, rng: 0 * at + 1,
    "only the last": lambda at, rng: (at == at.shape[1] - 1) * 2,
    "every 29th": lambda at, rng: at % 29 == 28,
    "sparse and full rows": lambda at, rng: rng.integers(1, 3, at.shape) * _odd_rows(at),
}


def _odd_rows(at: NDArray[Any]) -> NDArray[Any]:
    return (np.arange(len(at)) % 2)[:, None]


def ternary(shape: tuple[int, int], pattern: str, seed: int = 0) -> Ternary:
    """Return such a matrix; every row has scales of its own."""
    rng = np.random.default_rng(seed)
    at = np.broadcast_to(np.arange(shape[1]), shape)
    scales = rng.standard_normal((shape[0], 2)).astype(np.float32)
    return Ternary(PATTERNS[pattern](at, rng).astype(np.uint8), bfloat16(scales))


def fewest_codes(row: NDArray[np.uint8], sequences: set[bytes]) -> int:
    """Return the least number of sequences that make up a row and zeros after its end."""
    columns, longest = len(row), max(map(len, sequences))
    padded = bytes(row) + bytes(longest)
    fewest = [0] + [columns] * columns
    for start in range(columns):
        for end in range(start + 1, start + longest + 1):
            if padded[start:end] in sequences:
                reached = min(end, columns)
                fewest[reached] = min(fewest[reached], fewest[start] + 1)
    return fewest[columns]


def sequences(dictionary: Dictionary) -> list[bytes]:
    """Return the dictionary's sequences in the order of their code words."""
    lengths = (dictionary.entries[dictionary.entries > 0] & 127).astype(int)
    starts = np.arange(len(lengths))
    units = starts.astype(np.uint16)
    trits = decode(units, starts, np.ones_like(starts), LONGEST, dictionary)
    return [bytes(row[:length]) for row, length in zip(trits, lengths, strict=True)]
