"""What each rank does: trains its stage, or its micro-batches, as fast as it is made to be."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.studies.heterogeneous_ranks.about import ONE, SLOW, is_pipeline
from casestudies.lab.train import loop
from casestudies.lab.train.adamw import BETAS, DECAY

CALIBRATIONS = 7


@dataclass(frozen=True)
class Task:
    """The model's sizes and the tokens (steps, micro-batches, B, T + 1) of its training."""

    vocabulary: int
    width: int
    layers: int
    seed: int
    batches: Any  # a NumPy array: PyTorch would share their memory among the processes

    def model(self) -> LanguageModel:
        """Return the model that all ranks and all ways begin with; its head is not tied."""
        generator = torch.Generator().manual_seed(self.seed)
        model = shapes.small(self.vocabulary, self.width, self.layers, generator)
        # The first stage has the embedding and the last the head, so they cannot be one tensor.
        model.head = nn.Linear(self.width, self.vocabulary, bias=False)
        model.head.weight.data.copy_(model.embedding.weight.data)
        return model

    @cached_property
    def costs(self) -> list[float]:
        """Return what each layer, and last the head, costs: weights that a token meets, in layers.

        The embedding, which is looked up, costs nothing.
        """
        block = cast(Block, self.model().blocks[0])
        layer = sum(linear.weight.numel() for linear in block.linears().values())
        return [1.0] * self.layers + [self.vocabulary * self.width / layer]


@dataclass(frozen=True)
class Share:
    """What the ranks have in one way of training: consecutive pieces, or micro-batches."""

    variant: str
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Pace:
    """How long a layer takes a micro-batch on this machine, and how much slower one rank is.

    The slow rank sleeps, after each pass, so much longer as the pass would take it.
    """

    forward: float = 0.0  # seconds
    backward: float = 0.0
    slowdown: float = 1.0

    def rest(self, costs: float, *, backward: bool) -> None:
        """Sleep as long as this rank is slower for work that costs so many layers."""
        if dist.get_rank() == SLOW and self.slowdown > 1:
            time.sleep((self.slowdown - 1) * costs * (self.backward if backward else self.forward))


@dataclass
class Passes:
    """The seconds of this rank's passes of one step, with what it slept."""

    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)

    def timed(self, run: Callable[[], Any], pace: Pace, costs: float, *, backward: bool) -> Any:
        """Return what the pass returns, after as long as the rank takes for it."""
        begun = time.perf_counter()
        found = run()
        pace.rest(costs, backward=backward)
        (self.backward if backward else self.forward).append(time.perf_counter() - begun)
        return found


class Training:
    """The weights of one rank, trained by AdamW on gradients that the ways of training find."""

    def __init__(self, share: Share, task: Task, model: LanguageModel) -> None:
        self.share, self.pace, self.passes = share, Pace(), Passes()
        self.model = model
        rank = dist.get_rank()
        if is_pipeline(share.variant):
            begin = sum(share.counts[:rank])
            self.own = range(begin, begin + share.counts[rank])
        else:
            self.own = range(len(task.costs))
        self.first, self.last = 0 in self.own, task.layers in self.own
        self.cost = sum(task.costs[n] for n in self.own)
        blocks = [self.model.blocks[n] for n in self.own if n < task.layers]
        ends = [self.model.embedding] if self.first else []
        tail = [self.model.norm, cast(nn.Module, self.model.head)] if self.last else []
        self.parts = nn.ModuleList([*ends, *blocks, *tail])
        self._blocks = blocks
        self.optimizer = torch.optim.AdamW(
            self.parts.parameters(), loop.PEAK_RATE, betas=BETAS, weight_decay=DECAY, fused=True
        )

    def gradients(self, batch: Tensor) -> float:
        """Add the gradients of a batch (micro-batches, B, T + 1); return its loss, in nats."""
        self.passes = Passes()
        if is_pipeline(self.share.variant):
            return self._in_stages(batch)
        if self.share.variant == ONE:
            return self._alone(batch, len(batch))
        counts, rank = self.share.counts, dist.get_rank()
        loss = torch.tensor([self._alone(batch.split(counts)[rank], len(batch))])
        weights = list(self.parts.parameters())
        row = torch.cat([*(cast(Tensor, w.grad).flatten() for w in weights), loss])
        dist.all_reduce(row)
        *parts, loss = row.split([*(w.numel() for w in weights), 1])
        for weight, part in zip(weights, parts, strict=True):
            weight.grad = part.view_as(weight)
        return loss.item()

    def step(self, batch: Tensor, rate: float) -> float:
        """Take one step on a batch; return its loss."""
        loss = self.gradients(batch)
        self.optimizer.param_groups[0]["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss

    def _alone(self, batch: Tensor, of: int) -> float:
        """Return the sum of the micro-batches' losses, each divided by so many."""
        whole = 0.0
        for windows in batch:
            loss = self._forward(windows[:, :-1], windows) / of
            self._backward(loss, None)
            whole += loss.item()
        return whole

    def _in_stages(self, batch: Tensor) -> float:
        """Take all micro-batches forward, then all backward, each in turn (GPipe)."""
        rank, sequences, tokens = dist.get_rank(), batch.shape[1], batch.shape[2] - 1
        state = (sequences, tokens, self.model.config.width)
        read, gave, sends = [], [], []
        for windows in batch:
            given = windows[:, :-1]
            if not self.first:
                given = torch.empty(state)
                dist.recv(given, rank - 1)
                given.requires_grad_()
            found = self._forward(given, windows)
            if not self.last:
                sends.append(dist.isend(found.detach(), rank + 1))
            read.append(given)
            gave.append(found)
        whole = 0.0
        for given, found in zip(read, gave, strict=True):
            if self.last:
                loss = found / len(batch)
                whole += loss.item()
                self._backward(loss, None)
            else:
                gradient = torch.empty(state)
                dist.recv(gradient, rank + 1)
                self._backward(found, gradient)
            if not self.first:
                sends.append(dist.isend(cast(Tensor, given.grad), rank - 1))
        for sent in sends:
            if sent:
                sent.wait()
        return whole

    def _forward(self, given: Tensor, windows: Tensor) -> Tensor:
        """Return what the next stage reads (B, T, C), or the loss of the windows (B, T + 1)."""

        def run() -> Tensor:
            x = self.model.embedding(given) if self.first else given
            for block in self._blocks:
                x = block(x)
            if not self.last:
                return x
            return loop.token_loss(self.model.logits(self.model.norm(x)), windows)

        return cast(Tensor, self.passes.timed(run, self.pace, self.cost, backward=False))

    def _backward(self, found: Tensor, gradient: Tensor | None) -> None:
        self.passes.timed(lambda: found.backward(gradient), self.pace, self.cost, backward=True)


@dataclass(frozen=True)
class Trained:
    """The losses of each step where this rank knows them, and what it had and sent.

    `gradients` are those of the first step, by the weight's name in the whole model.
    """

    losses: list[float]
    gradients: dict[str, Any]
    weights: int  # numbers that the rank trains
    bytes_sent: float  # in a step


def train(task: Task, shares: Sequence[Share]) -> dict[str, Trained]:
    """Return how each way was trained, at the machine's own pace."""
    found = {}
    schedule = loop.Schedule(len(task.batches))
    for share in shares:
        training, losses = Training(share, task, task.model()), []
        with Traffic() as traffic:
            training.gradients(torch.from_numpy(task.batches)[0])
        named = training.model.named_parameters()
        gradients = {n: w.grad.numpy().copy() for n, w in named if w.grad is not None}
        training.optimizer.zero_grad()
        for number, batch in enumerate(torch.from_numpy(task.batches)):
            rate = schedule.peak_rate * schedule.rate(number)
            losses.append(training.step(batch, rate))
        weights = sum(weight.numel() for weight in training.parts.parameters())
        known = losses if training.last else []
        found[share.variant] = Trained(known, gradients, weights, traffic.bytes_sent)
    return found


@dataclass
class Timed:
    """In each round the seconds of a step, and those of this rank's longest passes in it."""

    seconds: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)


def calibrated(task: Task, model: LanguageModel) -> Pace:
    """Return how long a layer takes a micro-batch, median of several, mean of the ranks."""
    training = Training(Share(ONE, ()), task, model)
    windows = torch.from_numpy(task.batches)[0, :1]
    taken = []
    for _ in range(CALIBRATIONS + 1):
        training.gradients(windows)
        taken.append((training.passes.forward[0], training.passes.backward[0]))
    training.optimizer.zero_grad()
    median = torch.tensor(taken[1:]).median(0).values / training.cost / dist.get_world_size()
    dist.all_reduce(median)
    return Pace(median[0].item(), median[1].item())


def times(
    task: Task, plans: Sequence[tuple[float, Sequence[Share]]], rounds: int
) -> tuple[Pace, dict[tuple[float, str], Timed]]:
    """Return the pace, and how long steps take by slowdown and way, in alternating rounds."""
    batch, model = torch.from_numpy(task.batches)[0], task.model()
    pace = calibrated(task, model)
    trainings = {
        (slowdown, share.variant): Training(share, task, model)
        for slowdown, shares in plans
        for share in shares
    }
    found = {key: Timed() for key in trainings}
    for number, (key, training) in product(range(rounds + 1), trainings.items()):
        training.pace = replace(pace, slowdown=key[0])
        dist.barrier()
        begun = time.perf_counter()
        if key[1] != ONE or dist.get_rank() == 0:
            training.gradients(batch)
        dist.barrier()
        if number:  # the first makes room and connections
            found[key].seconds.append(time.perf_counter() - begun)
            found[key].forward.append(max(training.passes.forward, default=0.0))
            found[key].backward.append(max(training.passes.backward, default=0.0))
        training.optimizer.zero_grad()
    return pace, found
