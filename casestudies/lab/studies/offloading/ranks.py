"""Training on several ranks whose states wait on the host: what each holds, and what is carried.

Where each matrix lies on several ranks (Megatron-LM), what does a device hold with and without the
optimizer on the host (ZeRO-Offload, §4.2)? And where a model is larger than all devices together,
what goes over the link to the host if every rank gathers every unit to read its own sequences, and
if ranks take turns with stages that read all (Mobius)?

Bytes of n parameters' weights in 16 bits on N ranks, without activations:

                        forward    backward    gradients    together
    sharded gathering   2 n N      2 n N       2 n N        6 n N
    stages in turn      2 n        2 n         2 n          6 n

The embedding comes once a step instead of twice, and to the ranks of the first and the last stage.
What one device sends to another is counted once, though without a link between them it goes up to
the host and down again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.collectives import all_gather_single, reduce_scatter_single
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.measure.tensors import NO_CAP, Device
from casestudies.lab.models.shapes import HEAD_WIDTH
from casestudies.lab.report import Report
from casestudies.lab.studies.offloading.about import (
    GATHERED,
    HERE,
    HOST,
    RANKS,
    SPLIT_AMONG,
    STAGES,
)
from casestudies.lab.studies.offloading.over_the_link import steps
from casestudies.lab.studies.offloading.placements import Placed
from casestudies.lab.studies.offloading.stages import OwnStages, Pipelined
from casestudies.lab.studies.offloading.states import RATE, Task
from casestudies.lab.studies.offloading.training import ENDS, WEIGHT, Training, units_of
from casestudies.lab.train import sixteen_bits, split
from casestudies.lab.train.adamw import adamw


@dataclass(frozen=True)
class Held:
    """Device bytes of a rank's parameter by variant, and how far weights are from each other."""

    states: Mapping[str, float]
    apart: float


def split_matrices(task: Task) -> Held:
    """Return what this rank holds of a model whose matrices are split among all."""
    with sixteen_bits.linears("cpu"):
        found = {name: task.train(name, split=split.by_hand) for name in (HERE, HOST)}
    apart = (found[HOST].weights - found[HERE].weights).abs().max().item()
    return Held({name: one.device / one.parameters for name, one in found.items()}, apart)


class Shares(Placed):
    """ZeRO's third stage with all states on the host: of each unit every rank has its share there.

    A unit is gathered when it is read, and its gradient is scattered; the ends stay for a step.
    """

    def __init__(self, units: list[Tensor], device: Device, host: Device) -> None:
        super().__init__(units, device, host)
        own = [self.own(row) for row in units]
        self._states = [self.first_states(host, row) for row in own]
        self._weights = [host.empty(row.shape, WEIGHT).copy_(row) for row in own]
        self._gradients = [host.empty(row.shape, WEIGHT) for row in own]
        self._ends: Tensor | None = None

    def own(self, row: Tensor) -> Tensor:
        """Return this rank's share of a unit's row (n), which the ranks divide."""
        return row.view(dist.get_world_size(), -1)[dist.get_rank()]

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights (n), gathered from the ranks' hosts."""
        if unit == ENDS and self._ends is not None:
            return self._ends
        share = self.carry(self._weights[unit], self.device)
        whole = self.device.empty(self.units[unit].shape, WEIGHT)
        all_gather_single(whole, share)
        if unit == ENDS:
            self._ends = whole
        return whole

    def keep(self, unit: int, gradient: Tensor) -> None:
        """Bring this rank's share of the gradient's mean to the host."""
        share = self.device.empty(self._gradients[unit].shape, WEIGHT)
        reduce_scatter_single(share, gradient)
        self.write(share.div_(dist.get_world_size()), self._gradients[unit])

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam on the host."""
        self._ends = None
        for unit, states in enumerate(self._states):
            adamw(states, self._gradients[unit], step, rate)
            self._weights[unit].copy_(states[0])

    def pieces(self) -> list[tuple[int, Any]]:
        """Return float32 weights and momentum (2, n), and where they begin in the row of all."""
        firsts, rank = starts(self.units), dist.get_rank()
        return [
            (first + rank * states.shape[1], states[:2].numpy())
            for first, states in zip(firsts, self._states, strict=True)
        ]


@dataclass(frozen=True)
class Carried:
    """Bytes over a rank's link to the host in all steps, the loss of each, and what it has.

    That are float32 weights and their momentum, (2, n) in NumPy, with where they begin in the row
    of all units.
    """

    bytes: float
    losses: list[float]
    pieces: list[tuple[int, Any]]


def gather(task: Task) -> Carried:
    """Return what this rank carried when every unit is gathered for each rank's own sequences."""
    units = units_of(task.model())
    placement = Shares(units, Device("cpu", NO_CAP), Device("cpu", NO_CAP))
    training = Training(task.model(), placement, RATE)
    with Traffic() as traffic, sixteen_bits.linears("cpu"):
        losses = [
            training.step(batch.chunk(dist.get_world_size())[dist.get_rank()])
            for batch in torch.as_tensor(task.batches)
        ]
    return Carried(placement.carried + traffic.bytes_sent, losses, placement.pieces())


def take_turns(task: Task) -> Carried:
    """Return what this rank carried when a unit's weights come to one rank, which reads all."""
    units = units_of(task.model())
    placement = OwnStages(units, Device("cpu", NO_CAP), Device("cpu", NO_CAP))
    training = Pipelined(task.model(), placement, RATE)
    with sixteen_bits.linears("cpu"):
        losses = [training.step(batch) for batch in torch.as_tensor(task.batches)]
    firsts = starts(units)
    pieces = [(firsts[unit], states[:2].numpy()) for unit, states in placement.own_states()]
    return Carried(placement.carried + training.bytes_sent, losses, pieces)


def starts(units: Sequence[Tensor]) -> list[int]:
    """Return where each unit begins in the row of all."""
    sizes = [len(row) for row in units]
    return [sum(sizes[:unit]) for unit in range(len(units))]


def report_ranks(task: Task, report: Report) -> None:
    """Report what ranks hold and carry; raise RanksFailed if one of them does not return."""
    numbers = [n for n in SPLIT_AMONG if task.width // HEAD_WIDTH % n == 0]
    sent = replace(task, batches=task.batches.numpy())
    for ranks in numbers:
        held = on_ranks(ranks, split_matrices, sent)
        states = {name: max(one.states[name] for one in held) for name in (HERE, HOST)}
        for name, most in states.items():
            report.measure("device states", name, most, ranks=ranks)
        report.measure("states saved", HOST, states[HERE] / states[HOST], ranks=ranks)
        report.measure("weight difference", HOST, max(one.apart for one in held), ranks=ranks)
    with sixteen_bits.linears("cpu"):
        alone = task.train(HERE)
    modelled = steps(RANKS, task.layers)
    for name, way in ((GATHERED, gather), (STAGES, take_turns)):
        found = on_ranks(RANKS, way, sent)
        carried = sum(one.bytes for one in found) / len(task.batches)
        report.measure("carried by all", name, carried / alone.parameters, ranks=RANKS)
        apart = max(
            (torch.from_numpy(piece[0]) - alone.weights[first : first + piece.shape[1]])
            .abs()
            .max()
            .item()
            for one in found
            for first, piece in one.pieces
        )
        report.measure("weight difference", name, apart, ranks=RANKS)
        report.measure("step, by replay", name, modelled[name], ranks=RANKS)
