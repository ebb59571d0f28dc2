"""Training on ranks that may be lost, and that others go on with, as many or not as many.

Everything that decides a step follows from its number: the batch, the rate, and the order of sums.
A batch is two micro-batches whatever the number of ranks, and of two numbers the sum is the same
both ways round, so one rank and two take the same steps to the last bit. Each rank holds its share
of the optimizer's state, as in stage 1 of ZeRO: with a rank, its share is lost.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.collectives import all_gather_single, reduce_scatter_single
from casestudies.lab.distributed.launched import this_launch
from casestudies.lab.distributed.ranks import RanksFailed
from casestudies.lab.distributed.supervised import Generation, in_generations
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.train import checkpoints, loop
from casestudies.lab.train.adamw import adamw
from casestudies.lab.train.checkpoints import Share

MICRO_BATCHES = 2  # of a step; more would be added up in an order that depends on the ranks


@dataclass(frozen=True)
class Ending:
    """How a generation ends in this step: a rank is killed amid it, or all leave after it."""

    step: int
    killed: int | None = None


@dataclass(frozen=True)
class Task:
    """What is trained: the model's sizes, the tokens (steps, B, T), and how generations end.

    A checkpoint is written after every so many steps, or never if that is 0.
    """

    vocabulary: int
    width: int
    layers: int
    seed: int
    batches: Any  # a NumPy array: PyTorch would share its memory among the processes
    every: int = 0
    endings: Sequence[Ending] = ()  # of the first generations; others go on to the last step

    @property
    def steps(self) -> int:
        """Return how many steps there are."""
        return len(self.batches)

    def model(self) -> LanguageModel:
        """Return the model as all begin with it."""
        generator = torch.Generator().manual_seed(self.seed)
        return shapes.small(self.vocabulary, self.width, self.layers, generator)


@dataclass(frozen=True)
class Noted:
    """What happened on a rank, after so many steps or amid the one of that number.

    `at` is by `time.monotonic`, which all processes share; `seconds` is how long it took. A rank is
    ready when it has read the checkpoint; `loss` is a step's, of all ranks.
    """

    what: Literal["ready", "step", "saved", "killed"]
    generation: int
    step: int
    at: float
    seconds: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True)
class Carried:
    """How training went: the weights in a row, the first rank's notes, and all generations."""

    weights: Any  # a NumPy array
    noted: tuple[Noted, ...]
    generations: tuple[Generation, ...]

    def of(self, what: str) -> list[Noted]:
        """Return the notes of this kind."""
        return [note for note in self.noted if note.what == what]

    @property
    def losses(self) -> list[float]:
        """Return the loss of each step that counts: the last time that it was taken."""
        return list({note.step: note.loss for note in self.of("step")}.values())

    @property
    def seconds(self) -> float:
        """Return the time from when the first ranks were ready until all was done.

        The last to be done is a step, or a save if one follows it.
        """
        return self.noted[-1].at - self.of("ready")[0].at

    @property
    def progress(self) -> list[tuple[float, int]]:
        """Return, for each start and step, seconds since the first start and the steps so far."""
        begun = self.of("ready")[0].at
        points = (note for note in self.noted if note.what in ("ready", "step"))
        return [(note.at - begun, note.step) for note in points]

    def apart(self, other: "Carried") -> float:
        """Return the largest difference of a final weight or of a step's loss."""
        losses = max(abs(a - b) for a, b in zip(self.losses, other.losses, strict=True))
        return max(losses, float(np.abs(self.weights - other.weights).max()))


class Training:
    """The rank's part: a whole model, and its share of the weights in float32 and Adam's state."""

    def __init__(self, task: Task) -> None:
        self.task, self.model = task, task.model()
        self.rank, world = dist.get_rank(), dist.get_world_size()
        self._weights = list(self.model.parameters())
        self._numbers = sum(weight.numel() for weight in self._weights)
        size = -(-self._numbers // world)
        self._row = torch.zeros(size * world)  # the end of it is nobody's
        self._make_views()
        own = self._row[self.rank * size :][:size].clone()
        self.share = Share(0, self.rank * size, own, torch.zeros_like(own), torch.zeros_like(own))
        self._parts = range(self.rank, MICRO_BATCHES, world)

    def backward(self) -> tuple[Tensor, Tensor]:
        """Return the rank's part of the next step's loss, and of its gradient as a row."""
        parts = torch.from_numpy(self.task.batches[self.share.step]).chunk(MICRO_BATCHES)
        loss, gradient = torch.zeros(()), torch.zeros_like(self._row)
        for part in self._parts:
            of_part = loop.next_token_loss(self.model, parts[part]) / MICRO_BATCHES
            found = torch.autograd.grad(of_part, self._weights)
            gradient[: self._numbers] += torch.cat([one.flatten() for one in found])
            loss += of_part.detach()
        return loss, gradient

    def change(self, loss: Tensor, gradient: Tensor) -> float:
        """Take the step with all ranks; return the loss of all."""
        dist.all_reduce(loss)
        own = torch.empty_like(self.share.weights)
        reduce_scatter_single(own, gradient)
        schedule = loop.Schedule(self.task.steps)
        rate = schedule.peak_rate * schedule.rate(self.share.step)
        self.share.step += 1
        adamw(self.share.states, own, self.share.step, rate)
        self._gather()
        return loss.item()

    def save(self, folder: Path, generation: int) -> None:
        """Write a checkpoint with all ranks."""
        share, held = self.share, max(0, self._numbers - self.share.first)
        cut = (part[:held].contiguous() for part in share.states)
        checkpoints.save(folder, generation, Share(share.step, share.first, *cut))

    def load(self, checkpoint: Path) -> None:
        """Go on from a checkpoint, whatever the number of ranks that wrote it."""
        self.share = checkpoints.load(checkpoint, self.share.first, len(self.share.weights))
        self._gather()

    def weights(self) -> Any:
        """Return all weights as one row."""
        return self._row[: self._numbers].numpy().copy()

    def _gather(self) -> None:
        all_gather_single(self._row, self.share.weights)

    @torch.no_grad()
    def _make_views(self) -> None:
        """Let the model's weights lie in the row."""
        begin = 0
        for weight in self._weights:
            place = self._row[begin : begin + weight.numel()].view(weight.shape)
            weight.data = place.copy_(weight)
            begin += weight.numel()


def carry_on(generation: int, folder: str, task: Task) -> Any:
    """Go on from the last checkpoint in the folder, as one rank; return the weights in the end."""
    log = _Log(Path(folder), generation)
    begun = time.monotonic()
    training = Training(task)
    if checkpoint := checkpoints.latest(Path(folder)):
        training.load(checkpoint)
    dist.barrier()
    log.note("ready", training, begun)
    ending = task.endings[generation] if generation < len(task.endings) else Ending(task.steps)
    while training.share.step < ending.step:
        begun = time.monotonic()
        found = training.backward()
        if training.share.step + 1 == ending.step and ending.killed is not None:
            dist.barrier()  # the first rank has noted the step before
            if training.rank == ending.killed:
                log.killed(training)
        loss = training.change(*found)
        log.note("step", training, begun, loss)
        step, leaves = training.share.step, training.share.step == ending.step < task.steps
        if leaves or (task.every and step % task.every == 0):
            begun = time.monotonic()
            training.save(Path(folder), generation)
            log.note("saved", training, begun)
    return training.weights()


def carried_out(task: Task, worlds: Sequence[int]) -> Carried:
    """Return how generations of so many ranks carry out the task; see `in_generations`.

    Raises RanksFailed if a generation fails in which none was killed.
    """

    def supervise() -> Carried:
        with tempfile.TemporaryDirectory() as folder:
            (weights, *_), generations = in_generations(worlds, carry_on, folder, task)
            carried = Carried(weights, _noted(Path(folder)), tuple(generations))
        _check_failures(carried)
        return carried

    launch = this_launch()
    return launch.on_first(supervise) if launch else supervise()


def _check_failures(carried: Carried) -> None:
    """Raise RanksFailed if a generation failed in which none was killed."""
    killed = {note.generation for note in carried.of("killed")}
    for number, generation in enumerate(carried.generations):
        if generation.failure and number not in killed:
            raise RanksFailed(f"generation {number}: {generation.failure}")


class _Log:
    """What ranks of a generation note in a file, a line each: it outlives them."""

    def __init__(self, folder: Path, generation: int) -> None:
        self._file, self._generation = folder / "noted.jsonl", generation

    def note(
        self,
        what: Literal["ready", "step", "saved"],
        training: Training,
        begun: float,
        loss: float = 0.0,
    ) -> None:
        """Note what has just been done, if this is the first rank."""
        if training.rank == 0:
            at = time.monotonic()
            step = training.share.step
            self._write(Noted(what, self._generation, step, at, at - begun, loss))

    def killed(self, training: Training) -> None:
        """Note that this rank is killed, and kill it: no code of it runs after."""
        step = training.share.step + 1
        self._write(Noted("killed", self._generation, step, time.monotonic()))
        os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, noted: Noted) -> None:
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(noted)) + "\n")


def _noted(folder: Path) -> tuple[Noted, ...]:
    lines = (folder / "noted.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(Noted(**json.loads(line)) for line in lines)
