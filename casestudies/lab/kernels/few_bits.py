"""Products with weights in 8, 4 or 3 bits, which become numbers in registers only.

Y = X W^T with W[r, c] = step[r, g] (code[r, c] - zero[r, g]), where g = c // group: the format of
`quantize/quantized.py`. A product with one token reads each weight once and does little else, so
its time is that of reading the codes (Frantar et al., 2022, "GPTQ", section 5, for 3 bits; Lin et
al., 2023, "AWQ", section 4, for 4).

X (tokens, columns) and Y (tokens, rows) are float32, float16 or bfloat16; sums are float32. One
token is multiplied by each row in turn; more are multiplied on tensor cores, 16 at a time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, Equality, relative
from casestudies.lab.quantize.quantized import Format, Quantized, rounded

# A float32 from here to twice this has a step of 1, so that adding a whole number to these bits
# adds it to the number; converting an integer instead takes a GPU several times as long.
WHOLE_BITS, WHOLE = tl.constexpr(0x4B000000), tl.constexpr(2.0**23)
# Codes in a word of 32 bits, by bits of a code; of 16 3-bit codes a word has 10 and two bits more,
# and the rest is in 16 bits elsewhere.
CODES = {8: 4, 4: 8, 3: 16}
# Columns whose words adjoin: a word's first code is of one of the first columns of these, its
# second of a later one, and so on, so that neighbouring words meet neighbouring inputs.
TILE = 64
TOKENS = 16  # that tensor cores multiply at once
ROWS_OF_ONE, ROWS_OF_MORE = 8, 32  # rows of a program
WORDS_OF_ONE = 128  # that a program reads of a row at once


@dataclass(frozen=True)
class Packed:
    """A matrix (rows, columns) in few bits, each row filled up to whole tiles.

    Of the n words of a tile the k-th code of word j, the lowest first, is that of the tile's column
    k n + j. Of 16 codes of 3 bits the first 10 are in a word, the next 5 in a half word of `rest`,
    and the last one's lowest two bits and its highest end the two.
    """

    words: Tensor  # rows, words; int32
    rest: Tensor | None  # rows, words; int16
    step: Tensor  # rows, groups; float16
    zero: Tensor  # rows, groups; uint8
    columns: int
    format: Format

    @classmethod
    def of(cls, matrix: Quantized) -> "Packed":
        """Return the matrix packed. Raises ValueError if a tile would have codes of two groups."""
        form, codes = matrix.format, CODES[matrix.format.bits]
        columns = matrix.codes.shape[1]
        if form.group < columns and form.group % TILE:
            raise ValueError(f"groups of {form.group} columns are not a multiple of {TILE}")
        filled = F.pad(matrix.codes, (0, -columns % TILE)).long()
        tiles = filled.unflatten(1, (-1, codes, TILE // codes)).transpose(2, 3)
        in_words = tiles.flatten(1, 2)  # rows, words, codes
        if form.bits == 3:
            ten, five, last = in_words.split((10, 5, 1), dim=-1)
            words = _joined(ten, 3) | last[..., 0] << 30
            rest = (_joined(five, 3) | last[..., 0] >> 2 << 15).to(torch.int16)
        else:
            words, rest = _joined(in_words, form.bits), None
        return cls(words.to(torch.int32), rest, matrix.step, matrix.zero, columns, form)

    def to(self, device: str) -> "Packed":
        """Return the matrix on the device."""
        return self.mapped(lambda part: part.to(device))

    def mapped(self, change: Callable[[Tensor], Tensor]) -> "Packed":
        """Return the matrix of which each part is what `change` makes of it."""
        words, step, zero = map(change, (self.words, self.step, self.zero))
        rest = None if self.rest is None else change(self.rest)
        return replace(self, words=words, rest=rest, step=step, zero=zero)

    def weights(self) -> Tensor:
        """Return the weights (rows, columns) in float32."""
        return Quantized(self.codes(), self.step, self.zero, self.format).weights()

    def codes(self) -> Tensor:
        """Return the codes (rows, columns) in uint8."""
        codes, bits = CODES[self.format.bits], self.format.bits
        place = torch.arange(codes, device=self.words.device)
        word = self.words[..., None]
        if self.rest is None:
            found = word >> bits * place & 2**bits - 1
        else:
            rest = self.rest[..., None].int()
            last = word >> 30 & 3 | rest >> 13 & 4
            found = torch.cat([word >> 3 * place[:10] & 7, rest >> 3 * place[:5] & 7, last], -1)
        tiles = found.unflatten(1, (-1, TILE // codes)).transpose(2, 3)
        return tiles.flatten(1)[:, : self.columns].to(torch.uint8)


def _joined(codes: Tensor, bits: int) -> Tensor:
    places = bits * torch.arange(codes.shape[-1], device=codes.device)
    return (codes << places).sum(-1)


def reference(x: Tensor, weights: Packed) -> Tensor:
    """Return X W^T (tokens, rows) for x (tokens, columns), the weights unpacked in memory first."""
    return x @ weights.weights().to(x.dtype).T


def floor(rows: int, columns: int, form: Format, tokens: int, element: int = 2) -> Floor:
    """Return the least that the product of so many tokens takes; `element` bytes a number."""
    numbers = tokens * (rows + columns)
    return Floor(form.stored_bytes(rows, columns) + element * numbers, 2 * tokens * rows * columns)


def product(x: Tensor, weights: Packed) -> Tensor:
    """Return X W^T (tokens, rows) for x (tokens, columns)."""
    (tokens, columns), (rows, words) = x.shape, weights.words.shape
    form, codes = weights.format, CODES[weights.format.bits]
    y = x.new_empty(tokens, rows)
    of_one = tokens == 1
    tile_rows = ROWS_OF_ONE if of_one else ROWS_OF_MORE
    grid = (triton.cdiv(rows, tile_rows), triton.cdiv(tokens, TOKENS))
    (_one if of_one else _more)[grid](
        x.contiguous(),
        weights.words,
        weights.words if weights.rest is None else weights.rest,
        weights.step,
        weights.zero,
        y,
        tokens,
        rows,
        columns,
        words,
        weights.step.shape[1],
        # Words that share a grid: all of a row's, where its only group is filled up.
        words if form.group >= columns else form.group // codes,
        BITS=form.bits,
        CODES=codes,
        ROWS=tile_rows,
        WORDS=WORDS_OF_ONE if of_one else TILE // codes,
        num_warps=4,
    )
    return y


@triton.jit
def number(word, rest, k, BITS: tl.constexpr, CODES: tl.constexpr):  # type: ignore[no-untyped-def]
    """Return 2^23 + the k-th code of each word, in float32."""
    if BITS == 3:
        # Shifts by more bits than there are have no meaning, also where they are not chosen.
        code = tl.where(k < 10, word >> 3 * tl.minimum(k, 9), rest >> 3 * tl.maximum(k - 10, 0)) & 7
        code = tl.where(k == 15, word >> 30 & 3 | rest >> 13 & 4, code)
    else:
        code = word >> BITS * k & (1 << BITS) - 1
    return (code | WHOLE_BITS).to(tl.float32, bitcast=True)


@triton.jit
def _one(  # type: ignore[no-untyped-def]
    x, words, rests, steps, zeros, y,
    tokens, rows, columns, width, groups, sharing,
    BITS: tl.constexpr, CODES: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """Multiply one token by ROWS rows; a program takes WORDS words of each at once."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    apart: tl.constexpr = 64 // CODES  # columns between a word's codes
    total = tl.zeros((ROWS, WORDS), tl.float32)
    for first in range(0, width, WORDS):
        at = first + tl.arange(0, WORDS)
        there = (row < rows)[:, None] & (at < width)[None, :]
        word = tl.load(words + row[:, None] * width + at, mask=there, other=0)
        rest = word
        if BITS == 3:
            rest = tl.load(rests + row[:, None] * width + at, mask=there, other=0)
            rest = rest.to(tl.int32)
        grid = row[:, None] * groups + at // sharing
        step = tl.load(steps + grid, mask=there, other=0).to(tl.float32)
        zero = tl.load(zeros + grid, mask=there, other=0).to(tl.float32) + WHOLE
        # Each row loads the same inputs: passing them between threads instead would wait for all.
        column = (at // apart * 64 + at % apart)[None, :] + 0 * row[:, None]
        sums = tl.zeros((ROWS, WORDS), tl.float32)
        for k in tl.static_range(CODES):
            inside = column + k * apart < columns
            given = tl.load(x + column + k * apart, mask=inside, other=0).to(tl.float32)
            sums += (number(word, rest, k, BITS, CODES) - zero) * given
        total += step * sums
    tl.store(y + row, tl.sum(total, axis=1).to(y.dtype.element_ty), mask=row < rows)


@triton.jit
def _more(  # type: ignore[no-untyped-def]
    x, words, rests, steps, zeros, y,
    tokens, rows, columns, width, groups, sharing,
    BITS: tl.constexpr, CODES: tl.constexpr, ROWS: tl.constexpr, WORDS: tl.constexpr,
):  # fmt: skip
    """Multiply 16 tokens by ROWS rows, a tile of columns, which is WORDS words, at once.

    What is multiplied is code - zero, a whole number of at most 8 bits that any dtype holds.
    """
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    token = tl.program_id(1) * 16 + tl.arange(0, 16)
    k = tl.arange(0, CODES)[None, :, None]
    total = tl.zeros((ROWS, 16), tl.float32)
    for first in range(0, width, WORDS):
        at = row[:, None] * width + first + tl.arange(0, WORDS)
        there = (row < rows)[:, None]
        word = tl.load(words + at, mask=there, other=0)[:, None, :]
        rest = word
        if BITS == 3:
            rest = tl.load(rests + at, mask=there, other=0)[:, None, :].to(tl.int32)
        grid = row * groups + first // sharing
        step = tl.load(steps + grid, mask=row < rows, other=0).to(tl.float32)
        zero = tl.load(zeros + grid, mask=row < rows, other=0).to(tl.float32) + WHOLE
        numbers = number(word, rest, k, BITS, CODES)  # ROWS, CODES, WORDS: columns in order
        whole = (numbers - zero[:, None, None]).to(x.dtype.element_ty).reshape(ROWS, 64)
        column = first * CODES + tl.arange(0, 64)
        given = (column < columns)[:, None] & (token < tokens)[None, :]
        values = tl.load(x + token * columns + column[:, None], mask=given, other=0)
        total += step[:, None] * tl.dot(whole, values, input_precision="ieee")
    kept = (row < rows)[:, None] & (token < tokens)[None, :]
    tl.store(y + token * rows + row[:, None], total.to(y.dtype.element_ty), mask=kept)


def random(rows: int, columns: int, form: Format, generator: torch.Generator) -> Packed:
    """Return a matrix of random codes about a zero in their middle, on the generator's device."""
    device = generator.device
    shape = rows, -(-columns // TILE) * TILE // CODES[form.bits]

    def drawn(dtype: torch.dtype) -> Tensor:
        least = torch.iinfo(dtype).min
        bits = torch.randint(least, -least, shape, generator=generator, device=device)
        return bits.to(dtype)

    step = torch.rand(rows, form.groups(columns), generator=generator, device=device)
    return Packed(
        drawn(torch.int32),
        drawn(torch.int16) if form.bits == 3 else None,
        (step / 2**form.bits).half(),
        torch.full_like(step, 2 ** (form.bits - 1)).to(torch.uint8),
        columns,
        form,
    )


def _apart(bits: int, tokens: int, dtype: torch.dtype, device: str) -> float:
    generator = torch.Generator().manual_seed(bits)
    matrix = rounded(torch.randn(70, 400, generator=generator), Format(bits, 128))
    x = torch.randn(tokens, 400, generator=generator).to(dtype)
    return relative(
        product(x.to(device), Packed.of(matrix).to(device)),
        x.double() @ matrix.weights().double().T,
    )


EQUALITIES = tuple(
    Equality(
        f"weights of {bits} bits, tokens: {tokens}, {str(dtype).removeprefix('torch.')}",
        TOLERANCES[dtype],
        partial(_apart, bits, tokens, dtype),
    )
    for bits, tokens, dtype in (
        (8, 1, torch.bfloat16),
        (8, 5, torch.float16),
        (4, 1, torch.float16),
        (4, 5, torch.bfloat16),
        (4, 5, torch.float32),
        (3, 1, torch.bfloat16),
        (3, 5, torch.float16),
    )
)
