"""Carries a plan out on ranks: its stages by 1F1B, its copies' gradients added up at the end.

Everything here runs on a rank. Rank r of a plan whose stages have n ranks each is copy r mod n of
stage r // n, and takes every n-th micro-batch. What is sent goes over an emulated link, which
carries while the rank computes.
"""

import statistics
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from casestudies.lab.distributed.link import Link, SlowTraffic
from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.measure.rounds import alternately, own_seconds
from casestudies.lab.replay.schedules import one_forward_one_backward
from casestudies.lab.studies.auto_parallel.models import Shape
from casestudies.lab.studies.auto_parallel.stages import Layer, Plan
from casestudies.lab.train.loop import token_loss

Gradients = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Work:
    """What is trained: a model, a batch (micro-batches, sequences, T + 1), and the link's rate."""

    shape: Shape
    batch: NDArray[np.int64]
    link_rate: float  # byte/s
    device: str = "cpu"

    @property
    def micro_batches(self) -> int:
        return len(self.batch)


@dataclass(frozen=True)
class Stepped:
    """What one step left on a rank: its share of the loss, its gradients, the bytes it sent."""

    loss: float
    gradients: Gradients
    bytes_sent: float


def profile(work: Work, times: int) -> list[Layer]:
    """Return what each layer costs for a micro-batch, while all ranks do the same."""
    layers = work.shape.layers(work.device)
    tokens = torch.from_numpy(work.batch[0]).to(work.device)
    taken: list[list[float]] = [[] for _ in layers]
    sizes = [0] * len(layers)
    for turn in range(times + 1):
        x = tokens[:, :-1]
        for n, layer in enumerate(layers):
            passes = Passes(layer, x, tokens if n == len(layers) - 1 else None)
            dist.barrier()
            took = own_seconds(passes, work.device)
            x = passes.made
            sizes[n] = x.nbytes
            if turn:  # the first is for warming up
                taken[n].append(took)
    return [
        Layer(statistics.median(t), sum(w.nbytes for w in layer.parameters()), size)
        for t, layer, size in zip(taken, layers, sizes, strict=True)
    ]


class Passes:
    """One layer's passes forward and backward, the last layer's with the loss of its scores."""

    def __init__(self, layer: nn.Module, given: Tensor, windows: Tensor | None) -> None:
        self._layer, self._windows = layer, windows
        self._given = given.detach().requires_grad_(given.is_floating_point())
        self.made = given

    def __call__(self) -> None:
        """Carry both passes out and leave what the layer makes."""
        self.made = self._layer(self._given)
        if self._windows is None:
            self.made.backward(torch.ones_like(self.made))
        else:
            token_loss(self.made, self._windows).backward()


def train(work: Work, plans: Mapping[str, Plan]) -> dict[str, Stepped]:
    """Return what a step by each of the plans leaves."""
    return {name: Runtime(work, plan).observed() for name, plan in plans.items()}


def take_time(work: Work, plans: Mapping[str, Plan], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a step by each plan until all ranks have ended, alternately."""

    def together(runtime: Runtime) -> None:
        dist.barrier()
        runtime.step()
        dist.barrier()

    steps = {name: partial(together, Runtime(work, plan)) for name, plan in plans.items()}
    return alternately(steps, rounds, work.device)


class Runtime:
    """This rank's part of a plan, with gradients of its own weights alone."""

    def __init__(self, work: Work, plan: Plan) -> None:
        copies = plan[0].ranks
        if any(stage.ranks != copies for stage in plan):
            raise ValueError("this runtime needs equally many ranks for all stages")
        number, self._copy = divmod(dist.get_rank(), copies)
        self._stage, self._stages, self._work = plan[number], len(plan), work
        self._group = _group(plan, number)
        every = work.shape.layers(work.device)
        self._layers = nn.Sequential(*every[self._stage.first : self._stage.end])
        self._first, self._last = number == 0, number == self._stages - 1
        self._before, self._after = (dist.get_rank() + n for n in (-copies, copies))
        own = range(self._copy, work.micro_batches, copies)
        order = one_forward_one_backward(self._stages, len(own))[number]
        self._slots = [(slot.kind, own[slot.micro_batch]) for slot in order]
        self._wire = Wire(work.link_rate)

    def step(self) -> float:
        """Go forward and backward with the own micro-batches; return the own share of the loss."""
        for weight in self._layers.parameters():
            weight.grad = None
        waiting: dict[int, tuple[Tensor, Tensor]] = {}
        loss = 0.0
        for kind, n in self._slots:
            if kind == "forward":
                waiting[n] = self._forward(n)
            else:
                given, made = waiting.pop(n)
                loss += made.item() if self._last else 0.0
                self._backward(given, made)
        self._wire.finish()
        if self._group:
            self._add_up()
        return loss

    def observed(self) -> Stepped:
        """Return what a step leaves and sends."""
        loss = self.step()
        named = ((f"{n + self._stage.first}.{k}", w) for n, k, w in self._weights())
        gradients = {k: cast(Tensor, w.grad).cpu().numpy().copy() for k, w in named}
        return Stepped(loss, gradients, self._wire.bytes_sent)

    def _weights(self) -> Iterable[tuple[int, str, nn.Parameter]]:
        for n, layer in enumerate(self._layers):
            yield from ((n, name, weight) for name, weight in layer.named_parameters())

    def _forward(self, n: int) -> tuple[Tensor, Tensor]:
        """Return what the stage was given and what it made of it: the loss's part if it is last."""
        work = self._work
        tokens = torch.from_numpy(work.batch[n]).to(work.device)
        given = tokens[:, :-1] if self._first else self._received(self._before)
        made: Tensor = self._layers(given)
        if self._last:
            return given, token_loss(made, tokens) / work.micro_batches
        self._wire.send(made.detach(), self._after)
        return given, made

    def _backward(self, given: Tensor, made: Tensor) -> None:
        made.backward(None if self._last else self._received(self._after))
        if not self._first:
            self._wire.send(cast(Tensor, given.grad), self._before)

    def _received(self, source: int) -> Tensor:
        """Return the activations (B, T, C), or their gradients, that a neighbour sent."""
        _, sequences, length = self._work.batch.shape
        hidden = torch.empty(sequences, length - 1, self._work.shape.width)
        dist.recv(hidden, source)
        return hidden.to(self._work.device).requires_grad_()

    def _add_up(self) -> None:
        """Add up the gradients of all copies of the stage in one all-reduce."""
        gradients = [cast(Tensor, w.grad) for w in self._layers.parameters()]
        flat = torch.cat([g.flatten() for g in gradients]).cpu()
        self._wire.add_up(flat, self._group)
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view_as(gradient))


class Wire:
    """What a rank sends over its emulated link, one after another, while it goes on computing."""

    def __init__(self, rate: float) -> None:
        self._link, self._thread = Link(rate), ThreadPoolExecutor(1)
        self._sent: list[Future[None]] = []
        self.bytes_sent = 0.0

    def send(self, tensor: Tensor, to: int) -> None:
        """Send a tensor to a rank, later."""
        self._sent.append(self._thread.submit(self._send, tensor.cpu().contiguous(), to))

    def add_up(self, tensor: Tensor, group: dist.ProcessGroup | None) -> None:
        """Replace a tensor by the sum of the group's, no sooner than the link has carried it."""
        begun = time.monotonic()
        with Traffic(group) as traffic:
            dist.all_reduce(tensor, group=group)
        arrival = self._link.arrival(traffic.bytes_sent, begun)
        time.sleep(max(0.0, arrival - time.monotonic()))
        self.bytes_sent += traffic.bytes_sent

    def finish(self) -> None:
        """Wait until all has been sent."""
        for sent in self._sent:
            sent.result()
        self._sent.clear()

    def _send(self, tensor: Tensor, to: int) -> None:
        with SlowTraffic(self._link) as traffic:
            dist.send(tensor, to)
        self.bytes_sent += traffic.bytes_sent


def _group(plan: Plan, number: int) -> dist.ProcessGroup | None:
    """Return the group of the stage's ranks, None of one; every rank makes all groups."""
    copies = plan[0].ranks
    if copies == 1:
        return None
    ranks = [list(range(copies * n, copies * (n + 1))) for n in range(len(plan))]
    return [dist.new_group(own) for own in ranks][number]
