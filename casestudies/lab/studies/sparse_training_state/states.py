"""Training state of a pruned model, stored for its kept weights only: SAMO.

Singh and Bhatele, 2023, section III: the weights that compute stay dense in 16 bits, with zeros, so
that products are ordinary ones; gradients, float32 masters and Adam's state are stored for the kept
weights, in one row, and an index says where each belongs. A matrix's dense gradient is gone as soon
as its kept numbers are taken from it.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.sparse_training_state.about import COMPRESSED, DENSE
from casestudies.lab.train import loop, sixteen_bits
from casestudies.lab.train.adamw import adamw

COMPUTES_IN = torch.bfloat16


class Weights:
    """One tensor of a model and what its training holds of it.

    `kept` (n,) are the places of the weights that are not pruned, or None for all of them; with
    `stored` in one row, there is state for these only.
    """

    def __init__(self, weight: nn.Parameter, kept: Tensor | None, *, stored: bool) -> None:
        master = weight.detach().float().flatten()
        if kept is not None:
            alive = torch.zeros_like(master)
            alive[kept] = 1
            master *= alive
        weight.data = master.view(weight.shape).to(COMPUTES_IN)
        self.weight = weight
        self.index = kept.int() if kept is not None and stored else None
        self._alive = alive.to(COMPUTES_IN) if kept is not None and not stored else None
        if self.index is not None:
            master = master[self.index]
        self.master, self.momentum, self.variance = (
            master,
            torch.zeros_like(master),
            torch.zeros_like(master),
        )
        self.gradient: Tensor | None = None
        weight.register_post_accumulate_grad_hook(self._take)

    def _take(self, weight: Tensor) -> None:
        """Keep of the gradient what is trained, and let the rest go."""
        found = cast(Tensor, weight.grad).view(-1)
        weight.grad = None
        if self.index is not None:
            found = found[self.index]
        elif self._alive is not None:
            found = found * self._alive
        self.gradient = found

    @torch.no_grad()
    def change(self, step: int, rate: float) -> None:
        """Take a step of AdamW, and round what changed to the bits that compute."""
        states = self.master, self.momentum, self.variance
        adamw(states, cast(Tensor, self.gradient), step, rate)
        self.gradient = None
        rounded = self.master.to(COMPUTES_IN)
        if self.index is None:
            self.weight.view(-1).copy_(rounded)
        else:
            self.weight.view(-1)[self.index] = rounded

    def parts(self) -> Iterator[tuple[str, Tensor]]:
        """Yield what is held before a step, by name; a mask is left out, as it only compares."""
        yield "weights", self.weight
        yield "gradients", cast(Tensor, self.gradient)
        yield "masters", self.master
        yield "Adam", self.momentum
        yield "Adam", self.variance
        if self.index is not None:
            yield "index", self.index


class Training:
    """A model in training, by a way of storing, of which that share of every matrix is pruned."""

    def __init__(
        self, start: LanguageModel, variant: str, sparsity: float, generator: torch.Generator
    ) -> None:
        self.model = copy.deepcopy(start)
        self.weights = [
            Weights(
                weight,
                self._kept(weight, variant, sparsity, generator),
                stored=variant == COMPRESSED,
            )
            for weight in self.model.parameters()
        ]
        self._step = 0

    def backward(self, batch: Tensor) -> float:
        """Leave the gradients of the batch (B, T); return its loss."""
        with sixteen_bits.linears(batch.device.type):
            loss = loop.next_token_loss(self.model, batch)
            loss.backward()
        return loss.item()

    def change(self, rate: float) -> None:
        """Take a step."""
        self._step += 1
        for one in self.weights:
            one.change(self._step, rate)

    def step(self, batch: Tensor, rate: float) -> float:
        """Take a step on the batch and return its loss."""
        loss = self.backward(batch)
        self.change(rate)
        return loss

    def all_reduce(self) -> None:
        """Replace the gradients by their means over all ranks, in one message."""
        gradients = [cast(Tensor, one.gradient) for one in self.weights]
        together = torch.cat(gradients)
        dist.all_reduce(together)
        together /= dist.get_world_size()
        for one, mean in zip(
            self.weights, together.split([len(g) for g in gradients]), strict=True
        ):
            one.gradient = mean

    def bytes(self, batch: Tensor) -> dict[str, int]:
        """Return the bytes that are held by part when the gradients are there."""
        self.backward(batch)
        found: dict[str, int] = {}
        for one in self.weights:
            for name, tensor in one.parts():
                found[name] = found.get(name, 0) + tensor.nbytes
        for one in self.weights:
            one.gradient = None
        return found

    @staticmethod
    def _kept(
        weight: Tensor, variant: str, sparsity: float, generator: torch.Generator
    ) -> Tensor | None:
        """Return the places of random weights of a matrix; of norms nothing is pruned."""
        if variant == DENSE or weight.dim() == 1:
            return None
        count = round((1 - sparsity) * weight.numel())
        order = torch.randperm(weight.numel(), generator=generator)
        return order[:count].sort().values.to(weight.device)


def largest_difference(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    """Return the largest difference between numbers of the same tensors."""
    pairs = zip(one, other, strict=True)
    return max((a.float() - b.float()).abs().max().item() for a, b in pairs)
