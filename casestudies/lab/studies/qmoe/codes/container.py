"""A ternary matrix as bytes and back. All numbers are little-endian.

| Part    | Bytes                  | Holds                                                     |
|---------|------------------------|-----------------------------------------------------------|
| header  | 32                     | see `HEADER`                                              |
| scales  | 4 a row                | two bfloat16: what trits 1 and 2 stand for                |
| counts  | 1, 2 or 4 a row        | units in the row; rows begin where the one before ends    |
| payload | 1 or 2 a unit          | the rows' units                                           |
| check   | 4                      | CRC-32 of all that comes before                           |
"""

import struct
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from casestudies.lab.studies.qmoe.codes import coding, dictionary, fused, rans
from casestudies.lab.studies.qmoe.codes.coding import Counts, Trits, Units
from casestudies.lab.studies.qmoe.codes.dictionary import Dictionary
from casestudies.lab.studies.qmoe.codes.ternary import Floats, Ternary

Code = Literal["paper", "tunstall-16", "tunstall-8", "rans"]
CODES: tuple[Code, ...] = get_args(Code)
WORD_BITS: dict[Code, int] = {"tunstall-16": 16, "tunstall-8": 8}  # of our dictionaries
MAGIC, VERSION = b"TRIT", 1
CHECK = struct.Struct("<I")
MOST_COLUMNS = 2**24  # so that a false header cannot ask for more memory than there is
HALF = 16  # bits of a bfloat16, which is the upper half of a float32


class Header(NamedTuple):
    """The first 32 bytes; `zeros` are 256ths, 0 for the paper's dictionary."""

    magic: bytes
    version: int
    code: int
    zeros: int
    count_bytes: int
    rows: int
    columns: int
    units: int
    table_hash: bytes


HEADER = struct.Struct("<4sBBBBIIQ8s")


class CorruptMatrix(ValueError):
    """The bytes are not a whole, sound matrix; the message says what is wrong first."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A matrix in its code. What `unpack` returns is sound: decoding stays inside its bytes."""

    code: Code
    zeros: int
    columns: int
    scales: Floats
    counts: Counts
    units: Units

    @cached_property
    def dictionary(self) -> Dictionary:
        """Return the dictionary of the code words. Raises ValueError for the range code."""
        return dictionary_of(self.code, self.zeros)

    @cached_property
    def starts(self) -> Counts:
        """Return where each row's units begin."""
        return np.cumsum(self.counts) - self.counts

    def matrix(self, rows: slice | NDArray[np.intp] = slice(None)) -> Ternary:
        """Return the given rows, decoding no others."""
        starts, counts = self.starts[rows], self.counts[rows]
        if self.code == "rans":
            trits = rans.decode(self.units, starts, counts, self.columns, self.zeros)
        else:
            trits = coding.decode(self.units, starts, counts, self.columns, self.dictionary)
        return Ternary(trits, self.scales[rows])

    def product(self, x: Floats) -> Floats:
        """Return y = W x without decoding W. Raises ValueError for the range code."""
        if len(x) != self.columns:
            raise ValueError(f"{len(x)} inputs for {self.columns} columns")
        return fused.product(self.units, self.counts, self.scales, x, self.dictionary)


def pack(matrix: Ternary, code: Code) -> bytes:
    """Return the matrix in the given code.

    Raises ValueError if bfloat16 cannot hold a scale or there are more than 2^24 columns.
    """
    rows, columns = matrix.trits.shape
    if columns > MOST_COLUMNS:
        raise ValueError(f"{columns} columns are too wide")
    packed = encode(matrix, code)
    most = coding.base_3_units(columns, 8 * packed.units.itemsize)
    count_bytes = next(size for size in (1, 2, 4) if most < 256**size)
    header = HEADER.pack(
        MAGIC,
        VERSION,
        CODES.index(code),
        packed.zeros,
        count_bytes,
        rows,
        columns,
        len(packed.units),
        _table_hash(code, packed.zeros),
    )
    body = b"".join([header, _halves(matrix.scales), *_little_endian(packed, count_bytes)])
    return body + CHECK.pack(zlib.crc32(body))


def encode(matrix: Ternary, code: Code) -> Packed:
    """Return the matrix in the given code, which is fitted to its share of zeros."""
    zeros = _zeros(matrix.trits, code)
    if code == "rans":
        units, counts = rans.encode(matrix.trits, zeros)
    else:
        units, counts = coding.encode(matrix.trits, dictionary_of(code, zeros))
    return Packed(code, zeros, matrix.trits.shape[1], matrix.scales, counts, units)


def unpack(data: bytes) -> Packed:
    """Return the matrix in its code. Raises CorruptMatrix unless every byte is as `pack` writes."""
    header = _header(data)
    code = CODES[header.code]
    unit_type = np.dtype("u1" if code == "tunstall-8" else "<u2")
    at = HEADER.size
    sizes = (4 * header.rows, header.count_bytes * header.rows, unit_type.itemsize * header.units)
    if at + sum(sizes) + CHECK.size != len(data):
        raise CorruptMatrix(f"{len(data)} bytes do not fit what the header says")
    halves = np.frombuffer(data, "<u2", 2 * header.rows, at).astype(np.uint32)
    counts = np.frombuffer(data, f"<u{header.count_bytes}", header.rows, at + sizes[0])
    units = np.frombuffer(data, unit_type, header.units, at + sizes[0] + sizes[1])
    packed = Packed(
        code,
        header.zeros,
        header.columns,
        (halves << HALF).view(np.float32).reshape(-1, 2),
        counts.astype(np.int64),
        units.astype(unit_type.newbyteorder("=")),
    )
    _check_rows(packed)
    return packed


def _header(data: bytes) -> Header:
    if len(data) < HEADER.size + CHECK.size:
        raise CorruptMatrix("shorter than a header")
    header = Header(*HEADER.unpack_from(data))
    if header.magic != MAGIC or header.version != VERSION:
        raise CorruptMatrix("not a ternary matrix of this version")
    if (zlib.crc32(data[: -CHECK.size]),) != CHECK.unpack(data[-CHECK.size :]):
        raise CorruptMatrix("the checksum does not match")
    if header.code >= len(CODES) or header.count_bytes not in (1, 2, 4):
        raise CorruptMatrix("an unknown code")
    if header.columns > MOST_COLUMNS:
        raise CorruptMatrix(f"{header.columns} columns are too wide")
    if (header.zeros == 0) != (CODES[header.code] == "paper"):
        raise CorruptMatrix("a share of zeros that the code cannot have")
    if header.table_hash != _table_hash(CODES[header.code], header.zeros):
        raise CorruptMatrix("written with another dictionary")
    return header


def _check_rows(packed: Packed) -> None:
    most = coding.base_3_units(packed.columns, 8 * packed.units.itemsize)
    if packed.counts.max(initial=0) > most or packed.counts.sum() != len(packed.units):
        raise CorruptMatrix("the rows' counts do not add up")
    if not np.isfinite(packed.scales).all():
        raise CorruptMatrix("a scale is not a number")
    if packed.code == "rans":
        row = rans.faulty_row(packed.units, packed.counts, packed.columns, packed.zeros)
    else:
        row = coding.faulty_row(packed.units, packed.counts, packed.columns, packed.dictionary)
    if row != coding.NOTHING_WRONG:
        raise CorruptMatrix(f"row {row} does not decode to {packed.columns} columns")


def _zeros(trits: Trits, code: Code) -> int:
    if code == "paper":
        return 0
    share = float(np.mean(trits == 0)) if trits.size else 0.5
    return min(max(round(256 * share), 1), 255)


def dictionary_of(code: Code, zeros: int) -> Dictionary:
    """Return a code's dictionary. Raises ValueError for the range code, which has none."""
    if code == "paper":
        return dictionary.paper()
    if code == "rans":
        raise ValueError("the range code has no dictionary")
    return dictionary.tunstall(WORD_BITS[code], zeros)


def _table_hash(code: Code, zeros: int) -> bytes:
    """Return 8 bytes that differ if the reader's tables are not the writer's."""
    sha256 = rans.sha256(zeros) if code == "rans" else dictionary_of(code, zeros).sha256
    return sha256[:8]


def _halves(scales: Floats) -> bytes:
    bits = np.ascontiguousarray(scales).view(np.uint32)
    if (bits & 0xFFFF).any():
        raise ValueError("a scale needs more digits than bfloat16 has")
    return (bits >> HALF).astype("<u2").tobytes()


def _little_endian(packed: Packed, count_bytes: int) -> tuple[bytes, bytes]:
    units = packed.units.astype(packed.units.dtype.newbyteorder("<"))
    return packed.counts.astype(f"<u{count_bytes}").tobytes(), units.tobytes()
