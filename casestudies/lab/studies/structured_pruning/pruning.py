"""Prunes a language model by each method, on what calibration windows bring to its layers."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.studies.structured_pruning import choosing, removing
from casestudies.lab.studies.structured_pruning.choosing import Costs
from casestudies.lab.studies.structured_pruning.removing import Part

Grams = Mapping[Part, Sequence[Tensor]]
PARTS: tuple[Part, ...] = ("neurons", "head groups")


def blocks_of(model: LanguageModel, count: int | None = None) -> Sequence[Block]:
    """Return the model's first blocks, or all."""
    return cast(Sequence[Block], model.blocks[:count])


@torch.inference_mode()
def grams(model: LanguageModel, windows: Tensor, count: int) -> Grams:
    """Return of the first blocks the Gram matrix of what is read of each part's units."""
    found: dict[Part, list[Tensor]] = {part: [] for part in PARTS}
    hidden = [model.embedding(window[None]) for window in windows]
    for block in blocks_of(model, count):
        hidden = _through(block, hidden, lambda part, inputs: found[part].append(gram(inputs)))
    return found


def masked(model: LanguageModel, part: Part, removed: Sequence[Tensor]) -> LanguageModel:
    """Return a copy of the model in which what is read of the units is zero."""
    found = copy.deepcopy(model)
    for block, chosen in zip(blocks_of(found), removed, strict=False):
        removing.mask(block, part, chosen)
    return found


def smaller(model: LanguageModel, part: Part, removed: Sequence[Tensor]) -> LanguageModel:
    """Return a model without the units, which shares with the other what stays as it is."""
    memo = {id(weight): weight for weight in model.parameters()}
    found = copy.deepcopy(model, memo)
    for block, chosen in zip(blocks_of(found), removed, strict=False):
        removing.remove(block, part, chosen)
    return found


def chosen(
    model: LanguageModel, part: Part, share: float, costs: Costs, known: Grams
) -> list[Tensor]:
    """Return the units of each block that cost least."""
    of_part = known[part]
    found = [costs(block, part, one) for block, one in zip(blocks_of(model), of_part, strict=False)]
    return choosing.lowest(found, part, share)


@torch.inference_mode()
def operated(
    model: LanguageModel, part: Part, numbers: Sequence[int], windows: Tensor
) -> tuple[LanguageModel, list[Tensor]]:
    """Return a copy whose first blocks lost as many units by surgery, and which they are.

    Each block is fitted to what comes through those before it, once these have lost theirs; the
    matrices are as large as they were, with zeros.
    """
    found = copy.deepcopy(model)
    removed: list[Tensor] = []
    width = removing.unit_width(model.config, part)
    hidden = [found.embedding(window[None]) for window in windows]
    for block, number in zip(blocks_of(found), numbers, strict=False):
        layer = removing.reader(block, part)

        def operate(
            read: Part, inputs: Sequence[Tensor], layer: nn.Linear = layer, number: int = number
        ) -> None:
            if read == part:
                units, weight = choosing.operate(layer.weight, gram(inputs), width, number)
                layer.weight.copy_(weight)
                removed.append(units)

        hidden = _through(block, hidden, operate)
    return found, removed


def _through(
    block: Block, hidden: Sequence[Tensor], see: Callable[[Part, Sequence[Tensor]], object]
) -> list[Tensor]:
    """Return the block's outputs; `see` each part with what is read of its units, in turn."""
    waiting = [block.stages(one) for one in hidden]
    stages = [next(one) for one in waiting]
    while stages[0].readers:
        for part in PARTS:
            if stages[0].readers == (removing.reader(block, part),):
                see(part, [stage.activations for stage in stages])
        stages = [next(one) for one in waiting]
    return [stage.activations for stage in stages]
