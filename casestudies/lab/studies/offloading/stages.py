"""Mobius's pipeline: every stage's weights wait on the host, and ranks take turns with them.

A stage is a unit, the s-th of them rank s - 1 mod N's. All micro-batches go through a stage while
its weights are on the device, which then makes room for the rank's next stage; backward they come
again, in the other order (Feng et al., 2023). Inputs of stages stay on the device, as those of
blocks do where ranks gather. There are two ranks or more, and they divide the sequences.
"""

from collections.abc import Iterator

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.measure.tensors import Device
from casestudies.lab.studies.offloading.placements import Memory, OptimizerOnHost
from casestudies.lab.studies.offloading.rows import parts
from casestudies.lab.studies.offloading.training import ENDS, WEIGHT, Trainable, Training
from casestudies.lab.train.adamw import adamw


class OwnStages(OptimizerOnHost):
    """All states on the host, of which this rank brings those of its stages and of the ends."""

    def __init__(self, units: list[Tensor], device: Device, host: Memory) -> None:
        rank, world = dist.get_rank(), dist.get_world_size()
        self.own = list(range(1 + rank, len(units), world))
        # Other ranks have the other units.
        here = [row if n in (ENDS, *self.own) else row[:0] for n, row in enumerate(units)]
        super().__init__(here, device, host)
        self._gradients[ENDS].zero_()

    @property
    def _home(self) -> Memory:
        return self.host

    def weights(self, unit: int) -> Tensor:
        """Bring the unit's weights (n) to the device, each time they are asked for."""
        return self.carry(self._weights[unit], self.device)

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam on the host, which is one for all ranks: it adds up both ends."""
        dist.all_reduce(self._gradients[ENDS])
        for unit, states in self.own_states():
            adamw(states, self._gradients[unit], step, rate)
            self._weights[unit].copy_(states[0])
        self._gradients[ENDS].zero_()

    def own_states(self) -> Iterator[tuple[int, Tensor]]:
        """Yield the units whose states are changed here, with these (3, n)."""
        for unit in (ENDS, *self.own):
            yield unit, self._states[unit]


class Pipelined(Training):
    """Takes a step on as many micro-batches as there are ranks; `bytes_sent` are to other ranks."""

    placement: OwnStages

    def __init__(self, model: Trainable, placement: OwnStages, rate: float) -> None:
        super().__init__(model, placement, rate)
        self.bytes_sent = 0.0
        self._sending: list[dist.Work] = []

    def step(self, batch: Tensor) -> float:
        """Take one step of AdamW on the sequences (B, T); return their loss on every rank."""
        self.steps += 1
        with Traffic() as traffic:
            loss = self._through(list(batch.chunk(dist.get_world_size())))
            for sending in self._sending:
                sending.wait()
        self._sending.clear()
        self.bytes_sent += traffic.bytes_sent
        self.placement.update(self.steps, self.rate)
        whole = torch.tensor(loss)
        dist.all_reduce(whole)
        return whole.item()

    def _through(self, micro: list[Tensor]) -> float:
        """Go through all stages and back; return the loss, which only the last one knows."""
        p, last = self.placement, self.config.layers
        at_an_end = not {1, last}.isdisjoint(p.own)
        table, norm = parts(p.weights(ENDS), self._ends) if at_an_end else [torch.empty(0)] * 2
        of_ends = torch.zeros(len(p.units[ENDS])) if at_an_end else torch.empty(0)
        inputs: dict[tuple[int, int], Tensor] = {}
        outputs: list[Tensor] = []
        for unit in p.own:
            weights = parts(p.weights(unit), self._shapes)
            for n, part in enumerate(micro):
                first = F.embedding(part[:, :-1], table) if unit == 1 else self._received(-1, part)
                inputs[unit, n] = first
                with torch.no_grad():
                    outputs.append(self._run(first, weights))
                if unit < last:
                    self._send(outputs.pop(), 1)
        loss = 0.0
        to_outputs: list[Tensor] = []
        for hidden, part in zip(outputs, micro, strict=False):  # none but at the last stage
            own, to_hidden, found = self._head(hidden, table, norm, part)
            loss += own / len(micro)
            of_ends += _row(found) / len(micro)
            to_outputs.append(to_hidden)
        for unit in reversed(p.own):
            weights = parts(p.weights(unit), self._shapes)
            gradient = torch.zeros(len(p.units[unit]))
            for n, part in enumerate(micro):
                to_output = to_outputs[n] if unit == last else self._received(1, part)
                to_hidden, found = self._gradients(inputs.pop((unit, n)), weights, to_output)
                gradient += _row(found) / len(micro)
                if unit > 1:
                    self._send(to_hidden, -1)
                else:
                    rows = of_ends[: table.numel()].view(table.shape)
                    share = to_hidden.flatten(0, 1).float() / len(micro)
                    rows.index_add_(0, part[:, :-1].flatten(), share)
            p.keep(unit, p.room(unit).copy_(gradient))
        if at_an_end:
            p.keep(ENDS, p.room(ENDS).copy_(of_ends))
        return loss

    def _send(self, x: Tensor, way: int) -> None:
        # Not waited for: each rank waits for one that is before it in a ring.
        other = (dist.get_rank() + way) % dist.get_world_size()
        if sending := dist.isend(x.contiguous(), other):
            self._sending.append(sending)

    def _received(self, way: int, part: Tensor) -> Tensor:
        sequences, tokens = part[:, :-1].shape
        x = torch.empty(sequences, tokens, self.config.width, dtype=WEIGHT)
        dist.recv(x, (dist.get_rank() + way) % dist.get_world_size())
        return x


def _row(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.cat([tensor.flatten().float() for tensor in tensors])
