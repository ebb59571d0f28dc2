"""Compresses a language model block by block, each on the outputs of those before it."""

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, LanguageModel, LinearInputs

# The new weights of linear layers that read the same inputs, from (their weights, the inputs).
Method = Callable[[Sequence[Tensor], Sequence[Tensor]], Sequence[Tensor]]
# Told of each layer: its name, its old and new weights, and its inputs.
Observer = Callable[[str, Tensor, Tensor, Sequence[Tensor]], None]

ERROR_TOKENS = 64


def ignore(name: str, old: Tensor, new: Tensor, inputs: Sequence[Tensor]) -> None:
    """Observe nothing."""


@torch.inference_mode()
def compress(
    model: LanguageModel,
    windows: Tensor,
    method: Method,
    layers: int | None = None,
    observe: Observer = ignore,
) -> None:
    """Give the linear layers of the first `layers` blocks (all, if None) the weights of `method`.

    `windows` (count, length) are the calibration tokens. One forward pass is enough: the windows
    wait side by side before each group of linear layers until it is compressed, so every layer is
    fitted to inputs that have passed through all compressed layers before it.
    """
    hidden = [model.embedding(window[None]) for window in windows]
    for index, block in enumerate(cast(Sequence[Block], model.blocks[:layers])):
        names = {linear: f"{index}.{name}" for name, linear in block.linears().items()}
        waiting = [block.stages(window) for window in hidden]
        readers, hidden = _advance(waiting)
        while readers:
            _replace(readers, method, hidden, names, observe)
            # The blocks themselves hold what they still need.
            hidden.clear()
            readers, hidden = _advance(waiting)


def _advance(waiting: Sequence[Iterator[LinearInputs]]) -> tuple[Sequence[nn.Linear], list[Tensor]]:
    """Run each window's block up to the next linear layers; return these and their inputs."""
    stages = [next(block) for block in waiting]
    return stages[0].readers, [stage.activations for stage in stages]


def _replace(
    readers: Sequence[nn.Linear],
    method: Method,
    inputs: Sequence[Tensor],
    names: dict[nn.Linear, str],
    observe: Observer,
) -> None:
    old = [linear.weight for linear in readers]
    for linear, before, after in zip(readers, old, method(old, inputs), strict=True):
        observe(names[linear], before, after, inputs)
        # In place: new tensors by the hundred would leave the heap full of holes.
        linear.weight.copy_(after)


def relative_error(old: Tensor, new: Tensor, inputs: Sequence[Tensor]) -> float:
    """Return |X (W - W')^T|^2 / |X W^T|^2 over the first tokens of the first of the inputs."""
    # A sample, so that measuring the error does not add to the time of what causes it.
    x = inputs[0][..., :ERROR_TOKENS, :]
    wanted = x @ old.T
    return ((wanted - x @ new.T).square().sum() / wanted.square().sum()).item()
