"""Compresses a model's experts block by block, each on the outputs of those before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from casestudies.lab.quantize.hessian import gram
from casestudies.lab.studies.qmoe import gptq
from casestudies.lab.studies.qmoe.codes.ternary import Ternary
from casestudies.lab.studies.qmoe.grid import round_to_nearest
from casestudies.lab.studies.qmoe.model import SwitchBlock, SwitchModel

BATCH = 16  # calibration windows that pass through a block at once


@dataclass(frozen=True)
class Compressed:
    """The experts of all blocks, two stacks a block; `fallen_back` counts matrices."""

    matrices: list[Ternary]
    fallen_back: int = 0


@torch.inference_mode()
def by_rounding(model: SwitchModel, clip: float) -> Compressed:
    """Round the model's experts to the nearest grid values, in place."""
    found = []
    for experts in model.experts():
        for weights in (experts.up, experts.down):
            rounded, ternary = round_to_nearest(weights, clip)
            weights.copy_(rounded)
            found.append(ternary)
    return Compressed(found)


@torch.inference_mode()
def by_gptq(
    model: SwitchModel,
    windows: Tensor,
    clip: float,
    damping: float,
    observe: Callable[[int], None],
) -> Compressed:
    """Fit the model's experts to the `windows` (count, length), in place; `observe` each block.

    Every matrix is fitted to inputs that have passed through all compressed ones before it.
    """
    matrices: list[Ternary] = []
    fallen_back = 0
    hidden = [model.embed(batch) for batch in windows.split(BATCH)]
    for index, block in enumerate(cast(Sequence[SwitchBlock], model.blocks)):
        hidden = [block.attend(part) for part in hidden]
        inputs = _inputs_by_expert(block, hidden)
        for weights in (block.experts.up, block.experts.down):
            tokens = torch.tensor([len(x) for x in inputs])
            grams = torch.stack([gram([x]) for x in inputs])
            found = gptq.quantize(weights.detach(), grams, tokens, clip, damping)
            weights.copy_(found.weights)
            matrices.append(found.ternary)
            fallen_back += len(found.fallen_back)
            inputs = [(x @ w.T).relu() for x, w in zip(inputs, weights, strict=True)]
        hidden = [_add_experts(block, part) for part in hidden]
        observe(index)
    return Compressed(matrices, fallen_back)


def _inputs_by_expert(block: SwitchBlock, hidden: Sequence[Tensor]) -> list[Tensor]:
    x = torch.cat([block.experts_norm(part).flatten(0, 1) for part in hidden])
    chosen, _ = block.experts.route(x)
    return [x[chosen == expert] for expert in range(len(block.experts.router))]


def _add_experts(block: SwitchBlock, hidden: Tensor) -> Tensor:
    output, _ = block.experts(block.experts_norm(hidden).flatten(0, 1))
    return hidden + output.view_as(hidden)
