"""Carries schedules out on ranks with PyTorch's own pipelines, and watches what each rank does.

Everything here runs on a rank; `study.py` starts the ranks and puts together what they saw.
Tensors pass from rank to rank through the memory of the CPU, wherever the weights are.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed import pipelining
from torch.utils.checkpoint import checkpoint

from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.replay.schedules import Slot
from casestudies.lab.studies.pipeline_parallel.watching import Log

INTERLEAVED = 2  # stages of each rank
RATE = 1e-3
Gradients = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Work:
    """What the ranks train: a model made from the seed, and batches (steps, sequences, T + 1)."""

    vocabulary: int
    width: int
    layers: int
    seed: int
    device: str
    batches: NDArray[np.int64]
    micro_batches: int

    def model(self) -> LanguageModel:
        """Return the model as it is before training, the same on every rank."""
        generator = torch.Generator().manual_seed(self.seed)
        model = shapes.small(self.vocabulary, self.width, self.layers, generator, self.device)
        # The first stage has the embedding and the last the head, so they cannot be one tensor.
        model.head = nn.Linear(self.width, self.vocabulary, bias=False, device=self.device)
        model.head.weight.data.copy_(model.embedding.weight.data)
        return model

    def batch(self, step: int) -> Tensor:
        """Return the tokens (sequences, T + 1) of a step."""
        return torch.from_numpy(self.batches[step])


@dataclass(frozen=True)
class Trained:
    """The loss of each step, and the first step's gradients of this rank's weights by name."""

    losses: list[float]
    gradients: Gradients


@dataclass(frozen=True)
class Observed:
    """What one rank did in one step, and the most that it held.

    `slots` have the seconds that each took. `stashed` are passes that went forward and not yet
    backward; `saved_bytes` those of the tensors kept for backwards, without weights; `sent_bytes`
    went to other ranks.
    """

    slots: list[tuple[Slot, float]]
    stashed: int
    saved_bytes: int
    sent_bytes: float


def alone(work: Work) -> Trained:
    """Train on one rank, each batch at once: what every pipeline has to equal."""
    model = work.model()
    optimizer = torch.optim.AdamW(model.parameters(), RATE)
    losses: list[float] = []
    gradients: Gradients = {}
    for step in range(len(work.batches)):
        tokens = work.batch(step).to(work.device)
        loss = mean_loss(model(tokens[:, :-1]), tokens[:, 1:])
        loss.backward()
        gradients = gradients or gradients_of(model.named_parameters())
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return Trained(losses, gradients)


def train(work: Work, schedules: list[str]) -> dict[str, Trained]:
    """Return the training by each schedule; losses only where the last stage is."""
    return {name: _train(Pipeline(name, work), work) for name in schedules}


def weigh(work: Work, schedules: list[str]) -> dict[str, int]:
    """Return the most bytes that this rank holds in a step by each schedule, state included."""
    return {name: _weigh(Pipeline(name, work)) for name in schedules}


def weigh_alone(work: Work) -> int:
    """Return the same of one rank that takes one micro-batch after another through all blocks."""
    model = work.model()

    def step() -> None:
        for tokens in work.batch(0).to(work.device).chunk(work.micro_batches):
            mean_loss(model(tokens[:, :-1]), tokens[:, 1:]).backward()

    return peak_bytes(step, work.device) + state_bytes(model.parameters())


def state_bytes(weights: Iterable[Tensor]) -> int:
    """Return the bytes of the weights and of the two numbers that AdamW keeps for each."""
    return 3 * sum(weight.nbytes for weight in weights)


def observe(work: Work, schedules: list[str]) -> dict[str, Observed]:
    """Return what this rank did in the first batch's step by each schedule."""
    return {name: _observe(Pipeline(name, work)) for name in schedules}


def take_time(work: Work, schedules: list[str], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of the first batch's step by each schedule, in alternating rounds."""
    pipelines = {name: Pipeline(name, work) for name in schedules}
    return alternately({n: p.step for n, p in pipelines.items()}, rounds, work.device)


def mean_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of the next tokens (B, T) by logits (B, T, vocabulary)."""
    return F.cross_entropy(logits.flatten(0, 1), targets.to(logits.device).flatten())


def gradients_of(weights: Iterable[tuple[str, nn.Parameter]]) -> Gradients:
    """Return the gradients by the weights' names."""
    return {name: cast(Tensor, w.grad).cpu().numpy().copy() for name, w in weights}


class WatchedStage(pipelining.PipelineStage):
    """A stage that logs each of its passes."""

    def __init__(self, chunk: "Chunk", tokens: Tensor, log: Log) -> None:
        sequences, length = tokens.shape
        hidden = torch.empty(sequences, length, chunk.width, requires_grad=True)
        logits = torch.empty(sequences, length, chunk.vocabulary, requires_grad=True)
        super().__init__(
            chunk,
            chunk.stage,
            chunk.stages,
            torch.device("cpu"),
            input_args=hidden if chunk.stage else tokens,
            output_args=logits if chunk.stage == chunk.stages - 1 else hidden,
        )
        self._log = log

    def forward_one_chunk(self, fwd_chunk_id: int, *given: Any, **named: Any) -> Any:
        """Run one micro-batch forward."""
        pass_on = super().forward_one_chunk
        with self._log.saved.counting():
            return self._log.time(
                Slot("forward", self.stage_index, fwd_chunk_id),
                lambda: pass_on(fwd_chunk_id, *given, **named),
            )

    def backward_one_chunk(self, bwd_chunk_id: int, *given: Any, **named: Any) -> None:
        """Run one micro-batch backward."""
        pass_on = super().backward_one_chunk
        self._log.time(
            Slot("backward", self.stage_index, bwd_chunk_id),
            lambda: pass_on(bwd_chunk_id, *given, **named),
        )


class Chunk(nn.Module):
    """The part of the model that is one stage: consecutive blocks, with what lies at the ends."""

    def __init__(self, model: LanguageModel, stage: int, stages: int, recompute: bool) -> None:
        super().__init__()
        self.stage, self.stages, self._recompute = stage, stages, recompute
        self.width, self.vocabulary = model.config.width, model.config.vocabulary
        each = model.config.layers // stages
        # Named as in the whole model, so that gradients compare.
        own = range(each * stage, each * (stage + 1))
        self.blocks = nn.ModuleDict({str(n): model.blocks[n] for n in own})
        self.embedding = None if stage else model.embedding
        last = stage == stages - 1
        self.norm = model.norm if last else None
        self.head = model.head if last else None

    def forward(self, given: Tensor) -> Tensor:
        """Return what the next stage reads (B, T, C), or logits (B, T, vocabulary)."""
        x = given.to(next(self.parameters()).device)
        if self.embedding:
            x = self.embedding(x)
        blocks = cast(Iterable[Block], self.blocks.values())
        for block in blocks:
            x = checkpoint(block, x, use_reentrant=False) if self._recompute else block(x)
        if self.norm and self.head:
            return cast(Tensor, self.head(self.norm(x)))
        return x.cpu()


class Pipeline:
    """The stages of this rank, ready to train by one of the schedules."""

    def __init__(self, name: str, work: Work) -> None:
        self._first = work.batch(0)
        self.log = Log(work.device)
        self._micro_batches = 1 if name == "layer split" else work.micro_batches
        each = INTERLEAVED if name == "interleaved" else 1
        stages, model = each * dist.get_world_size(), work.model()
        own = range(dist.get_rank(), stages, dist.get_world_size())
        self._chunks = [Chunk(model, stage, stages, name == "gpipe, recomputed") for stage in own]
        self.log.saved.leave_out(self.weights())
        tokens = _inputs_of(self._first[: len(self._first) // self._micro_batches])
        self.log.stages = [WatchedStage(chunk, tokens, self.log) for chunk in self._chunks]
        self._schedule = self._scheduled(name)
        self.optimizer = torch.optim.AdamW(self.weights(), RATE)

    def _scheduled(self, name: str) -> Any:
        if name == "interleaved":
            kind: Any = pipelining.ScheduleInterleaved1F1B
            return kind(self.log.stages, self._micro_batches, self._loss)
        kind = pipelining.Schedule1F1B if name == "1f1b" else pipelining.ScheduleGPipe
        return kind(self.log.stages[0], self._micro_batches, self._loss)

    def step(self, batch: Tensor | None = None) -> float | None:
        """Add the gradients of a batch, else of the first; return its loss at the last stage."""
        batch = self._first if batch is None else batch
        inputs = [_inputs_of(batch)] if self._has(0) else []
        if not self._has(self._chunks[0].stages - 1):
            self._schedule.step(*inputs, return_outputs=False)
            return None
        losses: list[Tensor] = []
        self._schedule.step(*inputs, target=batch[:, 1:], losses=losses, return_outputs=False)
        return torch.stack(losses).mean().item()

    def gradients(self) -> Gradients:
        """Return the gradients of this rank's weights by their names in the whole model."""
        named = (pair for chunk in self._chunks for pair in chunk.named_parameters())
        return gradients_of(named)

    def weights(self) -> list[nn.Parameter]:
        """Return the weights of this rank's stages."""
        return [weight for chunk in self._chunks for weight in chunk.parameters()]

    def _has(self, stage: int) -> bool:
        return any(chunk.stage == stage for chunk in self._chunks)

    def _loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        with self.log.saved.counting():
            loss: Tensor = self.log.lengthen(lambda: mean_loss(logits, targets))
        return loss


def _inputs_of(batch: Tensor) -> Tensor:
    # PyTorch 2.11 holds the strides of what a stage is given against those it was made with, also
    # where there is one row, which is contiguous whatever its stride.
    return batch[:, :-1].clone(memory_format=torch.contiguous_format)


def _train(pipeline: Pipeline, work: Work) -> Trained:
    losses: list[float] = []
    gradients: Gradients = {}
    for step in range(len(work.batches)):
        loss = pipeline.step(work.batch(step))
        gradients = gradients or pipeline.gradients()
        pipeline.optimizer.step()
        pipeline.optimizer.zero_grad()
        losses += [] if loss is None else [loss]
    return Trained(losses, gradients)


def _observe(pipeline: Pipeline) -> Observed:
    pipeline.step()  # the first step makes room and connections
    pipeline.log.clear()
    with Traffic() as traffic:
        pipeline.step()
    log = pipeline.log
    return Observed(log.slots, log.stashed, log.saved.peak, traffic.bytes_sent)


def _weigh(pipeline: Pipeline) -> int:
    return peak_bytes(pipeline.step, pipeline.log.device) + state_bytes(pipeline.weights())
