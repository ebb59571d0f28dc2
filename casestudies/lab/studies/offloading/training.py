"""Training whose states lie where a placement puts them: the same step for all placements.

A unit is what comes and goes together: unit 0 are the embedding, which is the head too, and the
last norm; units 1 to L are the blocks. Of each parameter there are, as in ZeRO's section 3.1, a
weight and a gradient in bfloat16, 2 bytes each, and for Adam a float32 copy, momentum and variance,
4 bytes each. A unit of n parameters holds each of them as a row (n).

Only the input of each block is kept, and the block is computed again in the backward pass: so a
block's weights are needed twice in a step, and its gradient comes at once.

Shapes in comments: B sequences, T tokens, C width, n parameters of a unit.
"""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.studies.offloading.rows import parts, put_together, row_of
from casestudies.lab.train import loop
from casestudies.lab.train.split import Model as Split

Trainable = LanguageModel | Split

ENDS = 0  # the unit of the embedding and the last norm
WEIGHT = torch.bfloat16


class Placement(Protocol):
    """Where the states of each unit lie, and what is carried when one is needed."""

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights (n) on the device; those of the ends stay for a step."""
        ...

    def save(self, hidden: Tensor) -> Tensor:
        """Return a block's input (B, T, C) where it waits for the backward pass."""
        ...

    def restored(self, saved: Tensor) -> Tensor:
        """Return a block's input (B, T, C) on the device."""
        ...

    def room(self, unit: int) -> Tensor:
        """Return room for the unit's gradient (n) on the device."""
        ...

    def keep(self, unit: int, gradient: Tensor) -> None:
        """Take the unit's gradient (n), which is complete."""
        ...

    def update(self, step: int, rate: float) -> None:
        """Take the step of Adam that has this number, from 1 on, for all units."""
        ...

    def whole(self) -> Tensor:
        """Return the float32 copies of all weights as one row."""
        ...


class Training:
    """Trains a model on the device, unit by unit, with the states where the placement has them."""

    def __init__(self, model: Trainable, placement: Placement, rate: float) -> None:
        self.config, self.placement, self.rate, self.steps = model.config, placement, rate, 0
        self._block = cast(Block, model.blocks[0]).to(WEIGHT)
        self._names = [name for name, _ in self._block.named_parameters()]
        self._shapes = [weight.shape for weight in self._block.parameters()]
        self._ends = [model.embedding.weight.shape, model.norm.weight.shape]

    def step(self, batch: Tensor) -> float:
        """Take one step of AdamW on the sequences (B, T); return their loss."""
        self.steps += 1
        p, layers, tokens = self.placement, self.config.layers, batch[:, :-1]
        table, norm = parts(p.weights(ENDS), self._ends)
        hidden, inputs = F.embedding(tokens, table), []
        for unit in range(1, layers + 1):
            inputs.append(p.save(hidden))
            with torch.no_grad():
                hidden = self._run(hidden, parts(p.weights(unit), self._shapes))
        loss, to_hidden, of_ends = self._head(hidden, table, norm, batch)
        ends = p.room(ENDS)
        put_together(of_ends, ends)
        for unit in range(layers, 0, -1):
            to_hidden = self._backward(unit, p.restored(inputs.pop()), to_hidden)
        to_table = torch.zeros_like(table).view(-1, self.config.width)
        to_table.index_add_(0, tokens.flatten(), to_hidden.flatten(0, 1))
        ends[: to_table.numel()] += to_table.flatten()
        p.keep(ENDS, ends)
        del table, norm, ends
        p.update(self.steps, self.rate)
        return loss

    def _run(self, hidden: Tensor, weights: Sequence[Tensor]) -> Tensor:
        named = dict(zip(self._names, weights, strict=True))
        return cast(Tensor, functional_call(self._block, named, (hidden,)))

    def _head(
        self, hidden: Tensor, table: Tensor, norm: Tensor, batch: Tensor
    ) -> tuple[float, Tensor, tuple[Tensor, ...]]:
        """Return the loss and its gradient by the hidden state (B, T, C), and by table and norm."""
        wanted = [tensor.detach().requires_grad_() for tensor in (hidden, table, norm)]
        normed = F.rms_norm(wanted[0], (self.config.width,), wanted[2], self.config.norm_epsilon)
        loss = loop.token_loss(F.linear(normed, wanted[1]).float(), batch)
        to_hidden, *of_ends = torch.autograd.grad(loss, wanted)
        return loss.item(), to_hidden, tuple(of_ends)

    def _backward(self, unit: int, hidden: Tensor, to_output: Tensor) -> Tensor:
        """Compute the block again, hand its gradient over, and return that by its input."""
        p = self.placement
        weights = parts(p.weights(unit), self._shapes)
        gradient = p.room(unit)
        to_hidden, found = self._gradients(hidden, weights, to_output)
        put_together(found, gradient)
        del weights, found
        p.keep(unit, gradient)
        return to_hidden

    def _gradients(
        self, hidden: Tensor, weights: Sequence[Tensor], to_output: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Compute a block again; return the gradients of its input and of its weights."""
        wanted = [tensor.detach().requires_grad_() for tensor in (hidden, *weights)]
        to_hidden, *found = torch.autograd.grad(self._run(wanted[0], wanted[1:]), wanted, to_output)
        return to_hidden, tuple(found)


def unsplit(model: LanguageModel) -> Trainable:
    """Return the model, all of which is on one rank."""
    return model


def units_of(model: Trainable) -> list[Tensor]:
    """Return the weights of each unit as a row (n) in float32."""
    modules = [[model.embedding, model.norm], *([block] for block in model.blocks)]
    return [
        torch.cat([row_of(module).float() for module in unit])
        for unit in cast(list[list[nn.Module]], modules)
    ]
