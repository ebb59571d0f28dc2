"""GPTQ: round columns from left to right and let the columns not yet seen make up for it.

Frantar et al., 2022, "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
Transformers", Algorithm 1; columns in their own order.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from casestudies.lab.quantize import columns
from casestudies.lab.quantize.grid import Grid
from casestudies.lab.quantize.hessian import inverse_factor
from casestudies.lab.quantize.quantized import Format, Quantized

BLOCK = 128  # the paper's B


def gptq(
    weights: Sequence[Tensor], gram: Tensor, form: Format, damping: float = 0.01
) -> list[Quantized]:
    """Return the rounded weights of linear layers that share the inputs of `gram` = X^T X.

    Each of `weights` is (rows, columns). A group's grid spans its weights as they are when its
    first column is reached. Raises ValueError if groups do not begin where the loop is up to date.
    """
    if form.group < len(gram) and form.group % columns.INNER:
        raise ValueError(f"groups of {form.group} columns are not a multiple of {columns.INNER}")
    u = inverse_factor(gram, damping)
    w = torch.cat(list(weights)).T.contiguous()
    w[gram.diagonal() == 0] = 0
    codes = torch.empty_like(w)
    grids: list[Grid] = []

    def rounding(i: int, column: Tensor) -> Tensor:
        if i % form.group == 0:
            grids.append(Grid.of(w[i : i + form.group].T, form.bits, stored=True))
        codes[i] = grids[-1].codes(column)
        return grids[-1].values(codes[i])

    # A block holds whole groups, so that all of a group is up to date where it begins.
    whole = form.group >= len(gram)
    block = BLOCK if whole else form.group * max(1, BLOCK // form.group)
    columns.change(w, u, block, rounding)
    stacked = Quantized.of(codes.T, grids, form)
    rows = [len(weight) for weight in weights]
    codes_of, steps, zeros = (
        part.split(rows) for part in (stacked.codes, stacked.step, stacked.zero)
    )
    return [Quantized(*parts, format=form) for parts in zip(codes_of, steps, zeros, strict=True)]
