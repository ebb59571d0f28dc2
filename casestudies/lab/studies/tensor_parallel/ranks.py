"""What each rank does: trains in all ways in turn, counts what a step sends and holds, times it."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from casestudies.lab.distributed.alone import alone_among
from casestudies.lab.distributed.link import Link, SlowTraffic
from casestudies.lab.distributed.traffic import Collective, Traffic
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Config, LanguageModel
from casestudies.lab.studies.tensor_parallel import plans
from casestudies.lab.studies.tensor_parallel.about import (
    BOTH_CORES,
    BY_HAND,
    DATA_PARALLEL,
    ONE,
    PER_LAYER,
    PER_MODULE,
    SEQUENCE,
    SPLIT,
    TIMED_RANKS,
)
from casestudies.lab.train import loop, split
from casestudies.lab.train.adamw import BETAS, DECAY

SPLITTERS: Mapping[str, Callable[[LanguageModel], split.Model]] = {
    BY_HAND: split.by_hand,
    PER_LAYER: lambda model: plans.parallel(model, plans.per_layer()),
    PER_MODULE: lambda model: plans.parallel(model, plans.per_module(plans.WHOLE)),
    SEQUENCE: plans.sequence_parallel,
}
MAKERS: Mapping[str, Callable[[LanguageModel], nn.Module]] = {
    **SPLITTERS,
    ONE: lambda model: model,
    BOTH_CORES: lambda model: model,
    DATA_PARALLEL: DistributedDataParallel,
}


@dataclass(frozen=True)
class Task:
    """The model's sizes and the tokens (steps, B, T + 1) that it is trained on."""

    vocabulary: int
    width: int
    layers: int
    seed: int
    batches: Any  # NumPy arrays: PyTorch would share their memory among the processes
    evaluation: Any  # windows, T + 1

    def model(self) -> LanguageModel:
        """Return the model that all ranks and all ways begin with."""
        generator = torch.Generator().manual_seed(self.seed)
        return shapes.small(self.vocabulary, self.width, self.layers, generator)


class Training:
    """A model split in one of the ways, trained by AdamW on what this rank has of it."""

    def __init__(self, variant: str, model: LanguageModel) -> None:
        self._shares_batch = variant == DATA_PARALLEL
        self.module = MAKERS[variant](model)
        named = dict(self.module.named_parameters())
        self.named = {name.removeprefix("module."): weight for name, weight in named.items()}
        # Those of the blocks' norms are of the rank's tokens only.
        self._partial = [
            weight for name, weight in self.named.items() if variant == SEQUENCE and "_norm" in name
        ]
        # Local tensors over the same memory, so that all ways are trained by the same kernel.
        self.local = [nn.Parameter(_local(weight.detach())) for weight in self.named.values()]
        self._optimizer = torch.optim.AdamW(
            self.local, loop.PEAK_RATE, betas=BETAS, weight_decay=DECAY, fused=True
        )

    def step(self, windows: Tensor, rate: float) -> float:
        """Take one step on the windows (B, T + 1); return their loss, in nats."""
        loss = self.gradients(windows)
        for local, weight in zip(self.local, self.named.values(), strict=True):
            local.grad = _local(cast(Tensor, weight.grad))
            weight.grad = None
        self._optimizer.param_groups[0]["lr"] = rate
        self._optimizer.step()
        return loss

    def gradients(self, windows: Tensor) -> float:
        """Compute the gradients of the windows' loss (B, T + 1); return the loss."""
        if self._shares_batch:
            windows = windows.chunk(dist.get_world_size())[dist.get_rank()]
        loss = loop.next_token_loss(self.module, windows)
        loss.backward()
        if self._partial:
            self._add_up([cast(Tensor, weight.grad) for weight in self._partial])
        return loss.item()

    def whole_gradients(self) -> list[Tensor]:
        """Return the gradients of whole weights, in their order; every rank has to ask."""
        return [
            whole(name, _local(cast(Tensor, weight.grad)), isinstance(self.module, split.Model))
            for name, weight in self.named.items()
        ]

    def _add_up(self, gradients: Sequence[Tensor]) -> None:
        row = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(row)
        parts = row.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def whole(name: str, part: Tensor, is_split: bool) -> Tensor:
    """Return the whole of a tensor of which each rank has a part, or all of it."""
    cut = split.cut_of(name)
    if cut is None or not is_split:
        return part
    parts = [torch.empty_like(part) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, part.contiguous())
    return torch.cat(parts, cut)


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


@dataclass(frozen=True)
class Trained:
    """How a way was trained.

    `apart` is the largest distance of a weight's gradient in the first step from that of one
    process, as a share of the latter, by norms.
    """

    losses: list[float]  # of each step, of all sequences
    evaluation: float
    apart: float


def train(task: Task, variants: Sequence[str]) -> dict[str, Trained]:
    """Return how each way was trained, all step by step in turn."""
    ways = {variant: Training(variant, task.model()) for variant in variants}
    batches = torch.from_numpy(task.batches)
    apart = _apart(ways, task, batches[0])
    schedule = loop.Schedule(len(batches))
    losses: dict[str, list[float]] = {variant: [] for variant in variants}
    for number, batch in enumerate(batches):
        rate = schedule.peak_rate * schedule.rate(number)
        for variant, training in ways.items():
            loss = torch.tensor(training.step(batch, rate), dtype=torch.float64)
            if variant == DATA_PARALLEL:
                dist.all_reduce(loss)
                loss /= dist.get_world_size()
            losses[variant].append(loss.item())
    windows = torch.from_numpy(task.evaluation)
    return {
        variant: Trained(losses[variant], loop.mean_loss(way.module, windows), apart[variant])
        for variant, way in ways.items()
    }


def _apart(ways: Mapping[str, Training], task: Task, batch: Tensor) -> dict[str, float]:
    alone = Training(ONE, task.model())
    alone.gradients(batch)
    expected, found = alone.whole_gradients(), {}
    for variant, training in ways.items():
        training.gradients(batch)
        pairs = zip(training.whole_gradients(), expected, strict=True)
        found[variant] = max(((a - b).norm() / b.norm()).item() for a, b in pairs)
        training.module.zero_grad()
    return found


@dataclass(frozen=True)
class OfBlock:
    """What the first block asks of this rank in a step."""

    forward: Mapping[Collective, int]  # collectives by kind
    backward: Mapping[Collective, int]
    bytes_sent: float
    weights: int  # numbers of it that the rank has
    saved_bytes: int  # that autograd keeps of it


@dataclass(frozen=True)
class Counted:
    """What a block and what a step of the whole model ask of this rank."""

    block: OfBlock
    bytes_sent: float
    weights: int


def count(task: Task, variants: Sequence[str]) -> dict[str, Counted]:
    """Return what a step of each way asks of this rank."""
    windows = torch.from_numpy(task.batches)[0]
    sequences, tokens = windows.shape[0], windows.shape[1] - 1
    found = {}
    for variant in variants:
        training = Training(variant, task.model())
        with Traffic() as traffic:
            training.gradients(windows)
        block = of_block(variant, task.model(), sequences, tokens)
        weights = sum(local.numel() for local in training.local)
        found[variant] = Counted(block, traffic.bytes_sent, weights)
    return found


def of_block(variant: str, model: LanguageModel, sequences: int, tokens: int) -> OfBlock:
    """Return what the model's first block asks of this rank; the model is split by it.

    Data parallelism shares out the sequences and sends nothing for a block by itself.
    """
    module = SPLITTERS[variant](model) if variant in SPLIT else split.Model(model)
    sequences //= dist.get_world_size() if variant == DATA_PARALLEL else 1
    weight = model.embedding.weight
    hidden = torch.zeros(sequences, tokens, weight.shape[1], device=weight.device)
    place, block = module.place(hidden), module.blocks[0]
    hidden = module.scatter(hidden).detach().requires_grad_()
    saved = SavedBytes()
    saved.leave_out(block.parameters())
    with Traffic() as forward, saved.counting():
        found = block(hidden, place)
    with Traffic() as backward:
        found.backward(torch.ones_like(found))
    return OfBlock(
        dict(forward.calls),
        dict(backward.calls),
        forward.bytes_sent + backward.bytes_sent,
        sum(_local(weight).numel() for weight in block.parameters()),
        saved.peak,
    )


def of_block_among(world: int, variant: str, config: Config, tokens: int) -> OfBlock:
    """Return the same of the first of so many ranks, of which the others do not exist.

    Shapes only: the model of this configuration has one block, and no numbers.
    """
    with alone_among(world), torch.device("meta"):
        model = LanguageModel(replace(config, layers=1), tied=True)
        return of_block(variant, model, 1, tokens)


def times(
    task: Task,
    variants: Sequence[str],
    links: Iterable[float | None],
    rounds: int,
) -> dict[str, dict[float | None, list[float]]]:
    """Return the seconds of a step of each way by each link, in MB/s, in alternating rounds."""
    ways = {variant: Training(variant, task.model()) for variant in variants}
    batch = torch.from_numpy(task.batches)[0]
    found: dict[str, dict[float | None, list[float]]] = {variant: {} for variant in variants}
    for variant in variants:
        _step(ways[variant], variant, batch)
    for _, link, variant in product(range(rounds), list(links), variants):
        over = SlowTraffic(Link(link * 1e6)) if link else nullcontext()
        dist.barrier()
        begun = time.perf_counter()
        with over:
            _step(ways[variant], variant, batch)
        dist.barrier()
        found[variant].setdefault(link, []).append(time.perf_counter() - begun)
    return found


def _step(training: Training, variant: str, batch: Tensor) -> None:
    """Take a step that leaves the weights; of one process, on the first rank only."""
    if variant in (ONE, BOTH_CORES) and dist.get_rank():
        return
    torch.set_num_threads(TIMED_RANKS if variant == BOTH_CORES else 1)
    training.step(batch, 0.0)
    torch.set_num_threads(1)
