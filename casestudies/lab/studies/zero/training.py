"""What each rank does: trains the same model in several ways in turn, and notes what that takes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.alone import alone_among
from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.zero.about import ALONE, STAGES, reference_of
from casestudies.lab.studies.zero.held import Held
from casestudies.lab.studies.zero.library import MAKERS
from casestudies.lab.studies.zero.stages import Stage


class Trainer(Protocol):
    """A model and how a rank trains it with the others."""

    held: Held

    def step(self, batch: Tensor) -> float: ...

    def weights(self) -> Tensor: ...


@dataclass(frozen=True)
class Task:
    """Which ways are trained, the model's sizes, and the tokens (steps, B, T) of all ranks."""

    variants: Sequence[str]
    vocabulary: int
    width: int
    layers: int
    seed: int
    rate: float
    batches: Any  # a NumPy array: PyTorch would share its memory among the processes

    @property
    def parameters(self) -> int:
        """Return how many parameters the model has."""
        return sum(weight.numel() for weight in self.model().parameters())

    def model(self) -> LanguageModel:
        """Return the model as all begin with it."""
        generator = torch.Generator().manual_seed(self.seed)
        return shapes.small(self.vocabulary, self.width, self.layers, generator)


@dataclass
class Trained:
    """What one rank found of one way; losses are of all ranks, seconds those of timed steps."""

    losses: list[float]
    seconds: list[float]
    held: Held
    bytes_sent: float = 0.0
    weight_difference: float = 0.0  # from its reference, on the first rank


def make(variant: str, task: Task) -> Trainer:
    """Return a trainer of a fresh model."""
    if variant in STAGES:
        return Stage(task.model(), STAGES[variant], task.rate)
    return MAKERS[variant](task.model(), task.rate)


def train(task: Task) -> dict[str, Trained]:
    """Return what this rank found of each variant, all trained step by step in turn."""
    trainers = {variant: make(variant, task) for variant in task.variants}
    found = {name: Trained([], [], one.held) for name, one in trainers.items()}
    for n, batch in enumerate(torch.from_numpy(task.batches)):
        for variant, trainer in trainers.items():
            _take_step(trainer, batch, n, found[variant], alone=variant == ALONE)
    weights = {variant: trainer.weights() for variant, trainer in trainers.items()}
    for variant, own in weights.items():
        reference = weights.get(reference_of(variant), own)
        found[variant].weight_difference = (own - reference).abs().max().item()
    return found


def _take_step(trainer: Trainer, batch: Tensor, n: int, found: Trained, *, alone: bool) -> None:
    """Take the n-th step: the first is counted, and makes all ready; the others are timed."""
    rank, world = dist.get_rank(), dist.get_world_size()
    dist.barrier()
    loss = torch.zeros(())
    if rank == 0 or not alone:
        part = batch if alone else batch.chunk(world)[rank]
        # It may use the cores of all ranks, which wait meanwhile.
        torch.set_num_threads(world if alone else 1)
        if n == 0:
            with Traffic() as traffic:
                loss += trainer.step(part)
            found.bytes_sent = traffic.bytes_sent
        else:
            start = time.perf_counter()
            loss += trainer.step(part)
            found.seconds.append(time.perf_counter() - start)
    dist.all_reduce(loss)
    found.losses.append(loss.item() / (1 if alone else world))


def held_among(world: int, variant: str, task: Task) -> Held:
    """Return what the first of so many ranks holds, of which the others do not exist."""
    with alone_among(world):
        trainer = make(variant, task)
        trainer.step(torch.from_numpy(task.batches)[0])
        return trainer.held
