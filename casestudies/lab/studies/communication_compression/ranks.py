"""What each rank does: trains in all ways in turn, and counts and times steps over a link."""

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.link import Link, SlowTraffic
from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.communication_compression.about import (
    BFLOAT16,
    FLOAT32,
    FORGETFUL,
    HPZ,
    WAYS,
    ZERO3,
)
from casestudies.lab.studies.communication_compression.nodes import Nodes
from casestudies.lab.studies.communication_compression.powersgd import PowerSGD
from casestudies.lab.studies.communication_compression.training import (
    DataParallel,
    LowRank,
    Sharded,
    Training,
)
from casestudies.lab.train import loop

DTYPES = {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16}


@dataclass(frozen=True)
class Task:
    """The model's sizes, how it is compressed, and the tokens of all ranks (steps, B, T)."""

    vocabulary: int
    width: int
    layers: int
    block: int
    rank: int
    seed: int
    batches: Any  # NumPy arrays: PyTorch would share their memory among the processes
    evaluation: Any  # windows, T

    def make(self, variant: str, nodes: Nodes) -> Training:
        """Return a fresh model that is trained so."""
        if variant in WAYS:
            return Sharded(self.model(), nodes, WAYS[variant], self.block)
        if variant in DTYPES:
            return DataParallel(self.model(), nodes, DTYPES[variant])
        power = PowerSGD(self.shapes, self.rank, self._generator(), feedback=variant != FORGETFUL)
        return LowRank(self.model(), nodes, power)

    def model(self) -> LanguageModel:
        """Return the model that all ranks and all ways begin with."""
        return shapes.small(self.vocabulary, self.width, self.layers, self._generator())

    @property
    def shapes(self) -> list[torch.Size]:
        """Return the shapes of the model's weights, in their order."""
        return [weight.shape for weight in self.model().parameters()]

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class Trained:
    """How a way of training ended: its loss, and how far its gradients were from the true ones.

    `drift` is that of their sums over all steps, as a share of the true sum; `apart` is the largest
    difference from what it must equal, None where that is nothing.
    """

    loss: float
    drift: float
    apart: float | None = None


@dataclass
class Sums:
    """Over all steps: the gradients that were applied, and the true means, of the rank's part."""

    applied: Tensor
    true: Tensor

    @classmethod
    def of(cls, training: Training) -> "Sums":
        """Return sums of nothing."""
        nothing = torch.zeros_like(training.own(training.row))
        return cls(nothing, nothing.clone())

    def add(self, training: Training, applied: Tensor) -> None:
        """Add what a step applied, and what it should have: the plain mean over all ranks."""
        self.applied += applied
        self.true += training.own(_mean(training.gradient))

    def drift(self) -> float:
        """Return the distance of the sums, of all ranks' parts, as a share of the true one."""
        squares = torch.stack([(self.applied - self.true).square().sum(), self.true.square().sum()])
        dist.all_reduce(squares)
        return (squares[0] / squares[1]).sqrt().item()


def train(task: Task, per_node: int, variants: Sequence[str]) -> dict[str, Trained]:
    """Return how each way ended, all trained step by step in turn."""
    rank, world = dist.get_rank(), dist.get_world_size()
    nodes = Nodes(per_node)
    ways = {variant: task.make(variant, nodes) for variant in variants}
    sums = {variant: Sums.of(training) for variant, training in ways.items()}
    schedule = loop.Schedule(len(task.batches))
    for number, batch in enumerate(torch.from_numpy(task.batches)):
        rate = schedule.peak_rate * schedule.rate(number)
        for variant, training in ways.items():
            sums[variant].add(training, training.step(batch.chunk(world)[rank], rate))
    for training in ways.values():
        training.make_whole()
    windows = torch.from_numpy(task.evaluation).chunk(world)[rank]
    return {
        variant: Trained(
            _mean(torch.tensor(loop.mean_loss(training.model, windows))).item(),
            sums[variant].drift(),
            _apart(variant, ways, sums[variant]),
        )
        for variant, training in ways.items()
    }


def _apart(variant: str, ways: Mapping[str, Training], sums: Sums) -> float | None:
    """Return how far the way is from what it must equal.

    What PowerSGD has sent and its last error make up all gradients, of which the largest is the
    measure; a second copy of the weights changes none of them.
    """
    training = ways[variant]
    if isinstance(training, LowRank) and variant != FORGETFUL:
        made_up = sums.applied + _mean(training.power.error)
        return ((made_up - sums.true).abs().max() / sums.true.abs().max()).item()
    if variant == HPZ and ZERO3 in ways:
        return (training.row - ways[ZERO3].row).abs().max().item()
    return None


def _mean(tensor: Tensor) -> Tensor:
    """Return the mean over all ranks."""
    mean = tensor / dist.get_world_size()
    dist.all_reduce(mean)
    return mean


@dataclass(frozen=True)
class Plan:
    """What ranks in nodes of so many count, and what of it they time: by which links, how often.

    A link is what a node sends in a second, in MB/s; None is as fast as the machine.
    """

    per_node: int
    counted: Sequence[str]
    timed: Sequence[str] = ()
    links: Sequence[float | None] = ()
    rounds: int = 0


@dataclass
class Observed:
    """What a rank sends in a step to other nodes and within its own, and how long steps take.

    `copy` are the bytes that are kept for the backward pass, `seconds` by link those of each round.
    """

    across: float
    inside: float
    copy: int
    numbers: int  # of the model, with what fills up its row
    seconds: dict[float | None, list[float]] = field(default_factory=dict)


def observe(task: Task, plan: Plan) -> dict[str, Observed]:
    """Return what a step of each way sends, and how long those that are timed take, in turn."""
    nodes = Nodes(plan.per_node)
    own = torch.from_numpy(task.batches)[0].chunk(nodes.world)[dist.get_rank()]
    ways = {variant: task.make(variant, nodes) for variant in plan.counted}
    found = {variant: _counted(training, nodes, own) for variant, training in ways.items()}
    for _, link, variant in product(range(plan.rounds), plan.links, plan.timed):
        taken = _taken(ways[variant], nodes, own, link)
        found[variant].seconds.setdefault(link, []).append(taken)
    return found


def _counted(training: Training, nodes: Nodes, batch: Tensor) -> Observed:
    with Traffic(nodes.across) as across, Traffic(nodes.inside) as inside:
        training.step(batch, 0.0)
    copy = training.copy_bytes if isinstance(training, Sharded) else 0
    return Observed(across.bytes_sent, inside.bytes_sent, copy, len(training.row))


def _taken(training: Training, nodes: Nodes, batch: Tensor, link: float | None) -> float:
    """Return the seconds of a step; the ranks of a node share its link evenly."""
    nodes.over = nullcontext()
    if link:
        nodes.over = SlowTraffic(Link(link * 1e6 / nodes.per_node), group=nodes.across)
    dist.barrier()
    begun = time.perf_counter()
    training.step(batch, 0.0)
    dist.barrier()
    return time.perf_counter() - begun
