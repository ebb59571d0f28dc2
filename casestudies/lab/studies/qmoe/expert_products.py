"""What experts that stay in their code cost a GPU beside bfloat16, at Switch-c2048's shapes.

A product with few tokens waits for the weights: in bfloat16 25.6 MB of a matrix, in code words
about a twentieth. So many matrices take turns that no cache holds them, in code words either.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.measure.rounds import alternately, captured
from casestudies.lab.studies.qmoe.codes import container, dictionary
from casestudies.lab.studies.qmoe.codes.container import Code
from casestudies.lab.studies.qmoe.codes.ternary import Ternary
from casestudies.lab.studies.qmoe.speed import random_weights

if TYPE_CHECKING:
    from casestudies.lab.kernels.code_words import Coded, Table

# Rows and columns of an expert's two matrices (Fedus et al., 2021, table 9).
SWITCH_C = ((6144, 2080), (2080, 6144))
SMALL = ((192, 640), (640, 192))  # of a run whose other products are smaller than these, too
COPIES = 48  # of each of them: 96 take 130 MB in the publication's code
TOKENS = (1, 16)
CODES: tuple[Code, ...] = ("paper", "tunstall-16", "tunstall-8")
ROUNDS = 7
DTYPE = torch.bfloat16


@dataclass(frozen=True)
class Timed:
    """Products from a code, and how far they are from the decoded weights' in float64.

    Round by round `overheads` are the percent of bfloat16's time that they take more; none if the
    products are wrong. `of_copying` is the time in which the device copies as many bytes as must be
    moved, as a share of theirs.
    """

    apart: float
    overheads: Sequence[float] = ()
    of_copying: float = 0.0


def experts(seed: int, shapes: Sequence[tuple[int, int]] = SWITCH_C) -> list[Ternary]:
    """Return random matrices of these shapes (rows, columns) with the publication's zeros."""
    zeros = dictionary.PAPER_ZERO / 10_000
    return [random_weights(*shape, zeros, seed + i) for i, shape in enumerate(shapes)]


def timed(matrices: Sequence[Ternary], code: Code, tokens: int, device: str) -> Timed:
    """Multiply so many tokens by all the matrices, each several times over."""
    from casestudies.lab.kernels import code_words

    values = [torch.from_numpy(matrix.values()) for matrix in matrices]
    coded = [in_words(container.encode(matrix, code), device) for matrix in matrices]
    generator = torch.Generator().manual_seed(tokens)
    x = [torch.randn(tokens, w.shape[1], generator=generator).to(device, DTYPE) for w in values]
    apart = max(
        relative(code_words.product(given, words), given.cpu().double() @ w.double().T)
        for given, words, w in zip(x, coded, values, strict=True)
    )
    if not apart <= TOLERANCES[DTYPE]:  # NaN is no less wrong
        return Timed(apart)
    dense = [w.to(device, DTYPE, copy=True) for _ in range(COPIES) for w in values]
    words = [_copy(each) for _ in range(COPIES) for each in coded]

    def in_bfloat16() -> None:
        for given, w in zip(x * COPIES, dense, strict=True):
            F.linear(given, w)

    def from_code() -> None:
        for given, w in zip(x * COPIES, words, strict=True):
            code_words.product(given, w)

    runs = {"bfloat16": captured(in_bfloat16, device), code: captured(from_code, device)}
    taken = alternately(runs, ROUNDS, device)
    least = [
        code_words.floor(each, tokens, int(np.count_nonzero(matrix.trits)))
        for each, matrix in zip(coded, matrices, strict=True)
    ]
    in_all = sum(least[1:], least[0])
    return Timed(
        apart,
        [100 * (a / b - 1) for a, b in zip(taken[code], taken["bfloat16"], strict=True)],
        in_all.share_of_copying(statistics.median(taken[code]) / COPIES, device),
    )


def in_words(packed: container.Packed, device: str) -> "Coded":
    """Return the matrix of a container as the kernel takes it, on the device."""
    from casestudies.lab.kernels.code_words import Coded

    table = _table(packed.code, packed.zeros, device)
    coded = Coded.of(packed.units, packed.counts, packed.scales, table, packed.columns)
    return coded.to(device)


@cache
def _table(code: Code, zeros: int, device: str) -> "Table":
    from casestudies.lab.kernels.code_words import Table

    table = Table.of(container.dictionary_of(code, zeros).entries)
    return replace(table, words=table.words.to(device))


def _copy(words: "Coded") -> "Coded":
    """Return the same matrix elsewhere in memory, with the same table."""
    parts = {name: getattr(words, name).clone() for name in ("units", "starts", "scales")}
    return replace(words, **parts)
