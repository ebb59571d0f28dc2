"""How small random weights get in each code, and how fast they are coded and multiplied."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numba
import numpy as np
import torch
import zstandard
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes import coding, container, dictionary
from casestudies.lab.studies.qmoe.codes.compiled import KEEP
from casestudies.lab.studies.qmoe.codes.container import CODES
from casestudies.lab.studies.qmoe.codes.fused import FAST
from casestudies.lab.studies.qmoe.codes.ternary import Floats, Ternary

COLUMNS = 4096
CODED_ROWS = 512
ROUNDS = 7
PRODUCTS = tuple(code for code in CODES if code != "rans")
ZSTANDARD_LEVEL = 19


@dataclass
class Coded:
    """Bits per weight of one code, and seconds of each round."""

    payload: float
    total: float
    encoding: list[float] = field(default_factory=list)
    decoding: list[float] = field(default_factory=list)


def random_weights(rows: int, columns: int, zeros: float, seed: int) -> Ternary:
    """Return independent trits with that share of zeros and the rest of either sign."""
    generator = np.random.default_rng(seed)
    trits = np.empty((rows, columns), np.uint8)
    for row in trits:  # row by row, or the random numbers would take many times the memory
        drawn = generator.random(columns, np.float32)
        row[:] = (drawn >= zeros).view(np.uint8) + (drawn >= (1 + zeros) / 2)
    return Ternary(trits, np.tile(np.array([[-0.5, 0.5]], np.float32), (rows, 1)))


def code_all(matrix: Ternary, rounds: int = ROUNDS) -> dict[str, Coded]:
    """Return what each code makes of the matrix, and Zstandard of its base 3 without row access."""
    found: dict[str, Coded] = {}
    for code in CODES:
        data = container.pack(matrix, code)
        packed = container.unpack(data)
        bits = 8 * packed.units.nbytes / matrix.trits.size
        found[code] = coded = Coded(bits, 8 * len(data) / matrix.trits.size)
        for _ in range(rounds):
            coded.encoding.append(_seconds(lambda code=code: container.encode(matrix, code)))  # type: ignore[misc]
            coded.decoding.append(_seconds(packed.matrix))
    found["zstd"] = _zstandard(matrix)
    return found


def _zstandard(matrix: Ternary) -> Coded:
    units = base_3(matrix)
    compressor = zstandard.ZstdCompressor(level=ZSTANDARD_LEVEL)
    start = time.thread_time()
    data = compressor.compress(units)
    encoding = time.thread_time() - start
    decoding = _seconds(lambda: zstandard.ZstdDecompressor().decompress(data))
    # Scales take two bytes each, as in the other codes.
    written = len(data) + 2 * matrix.scales.size
    weights = matrix.trits.size
    return Coded(8 * len(data) / weights, 8 * written / weights, [encoding], [decoding])


def base_3(matrix: Ternary) -> bytes:
    """Return the trits five in a byte, each row from a new byte on."""
    rows, columns = matrix.trits.shape
    units = np.empty(rows * coding.base_3_units(columns, 8), np.uint8)
    at = 0
    for row in matrix.trits:
        at = coding.write_base_3(row, coding.trits_in_unit(8), units, at)
    return units.tobytes()


def product_ratios(mebibytes: int, seed: int, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return, per way to store weights, the time of the dense product divided by its own.

    The matrix has 4096 columns, 88.5 % zeros and the given size in float32. In each round every
    product runs in turn on this thread, so that other work slows all of them alike, and twice, so
    that caches hold of its own data what they can when it is timed.
    """
    rows = max(1, mebibytes * 2**20 // 4 // COLUMNS)
    zeros = dictionary.PAPER_ZERO / 10_000
    multiply = products(random_weights(rows, COLUMNS, zeros, seed), seed)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        taken = [{name: _seconds_again(p) for name, p in multiply.items()} for _ in range(rounds)]
    finally:
        torch.set_num_threads(threads)
    dense = [min(times.pop("dense"), times.pop("dense, compiled")) for times in taken]
    return {
        name: [base / times[name] for base, times in zip(dense, taken, strict=True)]
        for name in taken[0]
    }


def products(matrix: Ternary, seed: int) -> dict[str, Callable[[], object]]:
    """Return, per way to store weights, what multiplies the matrix by the same random vector."""
    x = np.random.default_rng(seed).standard_normal(COLUMNS, np.float32)
    dense, tensor_x = matrix.values(), torch.from_numpy(x)
    tensor = torch.from_numpy(dense)
    signs = (matrix.trits == 2).view(np.int8) - (matrix.trits == 1).view(np.int8)
    scale = np.abs(matrix.scales[:, 0])
    quarters = matrix.trits.reshape(len(dense), 4, -1)
    two_bit = (
        quarters[:, 0] | quarters[:, 1] << 2 | quarters[:, 2] << 4 | quarters[:, 3] << 6
    ).astype(np.uint8)
    y = np.empty(len(dense), np.float32)
    found: dict[str, Callable[[], object]] = {
        "dense": lambda: tensor @ tensor_x,
        "dense, compiled": lambda: _dense(dense, x, y),
        "int8": lambda: _int8(signs, scale, x, y),
        "2-bit": lambda: _two_bit(two_bit, matrix.scales, x, y),
    }
    for code in PRODUCTS:
        packed = container.encode(matrix, code)
        found[code] = lambda packed=packed: packed.product(x)  # type: ignore[misc]
    return found


def _seconds(run: Callable[[], object]) -> float:
    """Return the processor seconds that the call takes on this thread."""
    start = time.thread_time()
    run()
    return time.thread_time() - start


def _seconds_again(run: Callable[[], object]) -> float:
    run()
    return _seconds(run)


@numba.njit(cache=KEEP, fastmath=FAST)
def _dense(w: Floats, x: Floats, y: Floats) -> Floats:
    for row in range(len(w)):
        total = np.float32(0)
        for column in range(len(x)):
            total += w[row, column] * x[column]
        y[row] = total
    return y


@numba.njit(cache=KEEP, fastmath=FAST)
def _int8(w: NDArray[np.int8], scale: Floats, x: Floats, y: Floats) -> Floats:
    for row in range(len(w)):
        total = np.float32(0)
        for column in range(len(x)):
            total += np.float32(w[row, column]) * x[column]
        y[row] = scale[row] * total
    return y


@numba.njit(cache=KEEP, fastmath=FAST)
def _two_bit(w: NDArray[np.uint8], scales: Floats, x: Floats, y: Floats) -> Floats:
    """Multiply a matrix of which a byte holds a trit from each quarter of its row."""
    quarter = w.shape[1]
    for row in range(len(w)):
        low = high = np.float32(0)
        for column in range(quarter):
            byte = np.int32(w[row, column])
            for k in range(4):
                value = x[k * quarter + column]
                low += np.float32(byte >> 2 * k & 1) * value
                high += np.float32(byte >> 2 * k + 1 & 1) * value
        y[row] = scales[row, 0] * low + scales[row, 1] * high
    return y
