"""Training in mixed precision: 16-bit products, float32 master weights, a scaled loss.

The recipe is that of Micikevicius et al., 2018 (arXiv 1710.03740). float16 has numbers as small as
2**-24, bfloat16 as small as 2**-133, but the next number after 1 is 2**-10 away in float16 and
2**-7 in bfloat16: the one loses small gradients, the other small changes of a weight.
"""

import copy
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.train import loop
from casestudies.lab.train.adamw import BETAS, DECAY

FIRST_SCALE = 2.0**16
GROWTH_STEPS = 25  # without an overflow, before the scale is doubled


@dataclass(frozen=True)
class Recipe:
    """In what a model computes, and what guards its small numbers.

    Without masters the weights themselves are in 16 bits. With `autocast` PyTorch chooses for each
    operation, and the weights stay in float32.
    """

    computes_in: torch.dtype
    scaled: bool = False
    masters: bool = True
    autocast: bool = False


RECIPES = {
    "float32": Recipe(torch.float32),
    "bfloat16": Recipe(torch.bfloat16),
    "float16": Recipe(torch.float16, scaled=True),
    "bfloat16, autocast": Recipe(torch.bfloat16, autocast=True),
    "float16, no scale": Recipe(torch.float16),
    "bfloat16, no masters": Recipe(torch.bfloat16, masters=False),
}


class LossScale:
    """What the loss is multiplied by: halved when a gradient overflows, doubled after a while."""

    def __init__(self, value: float = FIRST_SCALE, growth_steps: int = GROWTH_STEPS) -> None:
        self.value, self._growth_steps, self._sound = value, growth_steps, 0

    def update(self, overflowed: bool) -> None:
        """Take note of a step."""
        self._sound = 0 if overflowed else self._sound + 1
        if overflowed:
            self.value /= 2
        elif self._sound == self._growth_steps:
            self.value, self._sound = 2 * self.value, 0


class Training:
    """A model in training by a recipe: `model` computes, `masters` are what Adam changes."""

    def __init__(self, start: LanguageModel, recipe: Recipe, schedule: loop.Schedule) -> None:
        self.recipe, self._schedule, self._step = recipe, schedule, 0
        stored = torch.float32 if recipe.autocast else recipe.computes_in
        self.model = copy.deepcopy(start).to(stored)
        self.weights = list(self.model.parameters())
        self._apart = stored != torch.float32
        self.masters = (
            [nn.Parameter(w.detach().float()) for w in start.parameters()]
            if self._apart
            else self.weights
        )
        self.optimizer = torch.optim.AdamW(
            self.masters, 0.0, betas=BETAS, weight_decay=DECAY, fused=True
        )
        self.scale = LossScale()
        self.skipped = 0
        self.lost: list[float] = []  # share of weights that a step left as they were

    def loss(self, batch: Tensor) -> Tensor:
        """Return the mean loss of the batch (B, T), in float32."""
        with self._casting(batch.device.type):
            logits = self.model(batch[:, :-1])
        return loop.token_loss(logits.float(), batch)

    def backward(self, batch: Tensor, scale: float) -> None:
        """Leave in each weight the gradient of the batch's loss times the scale."""
        (self.loss(batch) * scale).backward()

    def step(self, batch: Tensor) -> None:
        """Take a step, or none if a gradient is not finite."""
        scale = self.scale.value if self.recipe.scaled else 1.0
        self.backward(batch, scale)
        for master, weight in zip(self.masters, self.weights, strict=True):
            gradient = cast(Tensor, weight.grad).float() / scale
            weight.grad = None
            master.grad = gradient
        length = nn.utils.clip_grad_norm_(self.masters, loop.LONGEST_GRADIENT)
        overflowed = not bool(length.isfinite())
        if overflowed:
            self.skipped += 1
        else:
            self._change()
        self.optimizer.zero_grad()
        self.scale.update(overflowed)
        self._step += 1

    @torch.no_grad()
    def _change(self) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self._schedule.peak_rate * self._schedule.rate(self._step)
        self.optimizer.step()
        if not self._apart:
            return
        if not self.recipe.masters:
            self._round()
        for weight, master in zip(self.weights, self.masters, strict=True):
            weight.copy_(master)

    def _round(self) -> None:
        """Keep of the new weights what 16 bits hold."""
        kept = 0
        for weight, master in zip(self.weights, self.masters, strict=True):
            rounded = master.to(weight.dtype)
            kept += int((rounded == weight).sum())
            master.copy_(rounded)
        self.lost.append(kept / sum(weight.numel() for weight in self.weights))

    def state_bytes(self, batch: Tensor) -> int:
        """Return the bytes of weights, their gradients, masters and Adam's state."""
        self.backward(batch, 1.0)
        held = [*self.weights, *(cast(Tensor, weight.grad) for weight in self.weights)]
        held += self.masters if self._apart else []
        for state in self.optimizer.state.values():
            held += [part for part in state.values() if part.dim()]
        size = sum(tensor.nbytes for tensor in held)
        self.model.zero_grad()
        return size

    def gradient(self, batch: Tensor, scale: float = 1.0) -> Tensor:
        """Return all gradients of the scaled loss in one row, as the model has them."""
        self.backward(batch, scale)
        found = torch.cat([cast(Tensor, weight.grad).flatten() for weight in self.weights])
        self.model.zero_grad()
        return found

    def _casting(self, device: str) -> AbstractContextManager[object]:
        return torch.autocast(device, self.recipe.computes_in, enabled=self.recipe.autocast)


def lost_to_zero(exact: Tensor, found: Tensor) -> float:
    """Return the share of the numbers that are not zero in `exact` and are in `found`."""
    there = exact != 0
    return ((found == 0) & there).sum().item() / max(1, int(there.sum()))
