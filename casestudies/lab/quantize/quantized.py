"""Weights in a few bits, each group of a row with a step and a zero of its own, and their bytes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from casestudies.lab.quantize.grid import Grid

STEP_BITS = 16
BITS_OF_BYTE = 8


@dataclass(frozen=True)
class Format:
    """So many bits a weight, and so many neighbouring weights of a row that share a grid."""

    bits: int
    group: int

    def groups(self, columns: int) -> int:
        """Return the number of groups in a row; the last may be shorter."""
        return math.ceil(columns / self.group)

    def stored_bytes(self, rows: int, columns: int) -> int:
        """Return the bytes of a matrix: codes, and 16 bits of step and a zero for each group."""
        grids = rows * self.groups(columns)
        return (
            _whole_bytes(rows * columns * self.bits)
            + grids * STEP_BITS // 8
            + _whole_bytes(grids * self.bits)
        )


@dataclass(frozen=True)
class Quantized:
    """A matrix of weights step * (code - zero)."""

    codes: Tensor  # rows, columns; uint8
    step: Tensor  # rows, groups; float16
    zero: Tensor  # rows, groups; uint8
    format: Format

    @classmethod
    def of(cls, codes: Tensor, grids: list[Grid], form: Format) -> "Quantized":
        """Return the matrix of these codes (rows, columns) on one grid a group."""
        step = torch.stack([grid.step for grid in grids], dim=1).half()
        zero = torch.stack([grid.zero for grid in grids], dim=1).to(torch.uint8)
        return cls(codes.to(torch.uint8).contiguous(), step, zero, form)

    def weights(self) -> Tensor:
        """Return the weights (rows, columns) in float32."""
        columns = self.codes.shape[1]
        step, zero = (
            part.float().repeat_interleave(self.format.group, dim=1)[:, :columns]
            for part in (self.step, self.zero)
        )
        return (self.codes.float() - zero).mul_(step)


def rounded(weight: Tensor, form: Format) -> Quantized:
    """Return the weights (rows, columns), each rounded to the nearest value of its group's grid."""
    parts = weight.split(form.group, dim=1)
    grids = [Grid.of(part, form.bits, stored=True) for part in parts]
    codes = [grid.codes(part.T).T for grid, part in zip(grids, parts, strict=True)]
    return Quantized.of(torch.cat(codes, dim=1), grids, form)


def pack(matrix: Quantized) -> bytes:
    """Return all of the matrix but its shape and format: steps, zeros, codes."""
    bits = matrix.format.bits
    step = matrix.step.cpu().numpy().astype("<f2").tobytes()
    return step + _pack_bits(matrix.zero, bits) + _pack_bits(matrix.codes, bits)


def unpack(data: bytes, rows: int, columns: int, form: Format) -> Quantized:
    """Return the matrix of these bytes. Raises ValueError if they are not as many as it takes."""
    if len(data) != form.stored_bytes(rows, columns):
        raise ValueError(f"{len(data)} bytes, not {form.stored_bytes(rows, columns)}")
    groups = form.groups(columns)
    steps = rows * groups * STEP_BITS // 8
    zeros = steps + _whole_bytes(rows * groups * form.bits)
    step = np.frombuffer(data[:steps], "<f2").reshape(rows, groups).copy()
    return Quantized(
        codes=_unpack_bits(data[zeros:], rows, columns, form.bits),
        step=torch.from_numpy(step),
        zero=_unpack_bits(data[steps:zeros], rows, groups, form.bits),
        format=form,
    )


def _whole_bytes(bits: int) -> int:
    return -(-bits // 8)


def _pack_bits(codes: Tensor, bits: int) -> bytes:
    whole = codes.cpu().numpy()
    if bits == BITS_OF_BYTE:
        return whole.tobytes()
    # Each code's lowest bits, one after another.
    each = np.unpackbits(whole.reshape(-1, 1), axis=1, count=bits, bitorder="little")
    return np.packbits(each, bitorder="little").tobytes()


def _unpack_bits(data: bytes, rows: int, columns: int, bits: int) -> Tensor:
    codes = np.frombuffer(data, np.uint8).copy()
    if bits < BITS_OF_BYTE:
        each = np.unpackbits(codes, count=rows * columns * bits, bitorder="little")
        codes = np.packbits(each.reshape(-1, bits), axis=1, bitorder="little")
    return torch.from_numpy(codes.reshape(rows, columns))
