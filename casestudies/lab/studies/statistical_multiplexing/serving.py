"""Two models on two ranks, whole or in stages, and requests that really come.

Everything here runs on a rank, which is a device; `study.py` starts them. A request is a prompt,
and its answer the logits after it.

Shapes in comments: R requests, T tokens, C width.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.models.language_model import Block, Config, LanguageModel

TIMINGS = 5  # of every stage and of sending, in each round
WHOLE, SPLIT = 1, 2  # stages of a model on two ranks

Weights = dict[str, NDArray[np.float32]]


class Came(NamedTuple):
    """When requests come, the time of one whole model on one device as the unit, and for whom."""

    moments: list[float]
    models: list[int]


@dataclass(frozen=True)
class Work:
    """Two models, prompts (R, T), traces by burstiness, and the numbers of stages to be timed."""

    config: Config
    weights: tuple[Weights, ...]
    prompts: NDArray[np.int64]
    traces: dict[float, Came]
    sizes: tuple[int, ...]
    rounds: int

    def models(self) -> list[LanguageModel]:
        """Return both models."""
        return [model_of(self.config, weights) for weights in self.weights]


@dataclass(frozen=True)
class Counted:
    """What a rank held and did for a trace, by the stages of a model.

    Bytes of weights and bytes sent, tokens times the blocks that they went through, and the last
    logits of the requests that ended here.
    """

    weights: int
    sent: float
    read: int
    logits: dict[int, NDArray[np.float32]]


class Round(NamedTuple):
    """One round on a rank: seconds of stages by their number, of sending, and from the beginning.

    `stages` has a row for each pass of a model, all numbers of stages in turn.
    `ends` has when the requests that ended here did, by burstiness and stages, and by request.
    """

    stages: dict[int, list[list[float]]]
    sending: float
    ends: dict[tuple[float, int], dict[int, float]]


class Found(NamedTuple):
    """What a rank counted by the stages of a model, the unit of the traces, and its rounds."""

    counted: dict[int, Counted]
    unit: float
    rounds: list[Round]


def untied(model: LanguageModel) -> tuple[Config, Weights]:
    """Return sizes and weights of the model with a head of its own, equal to the embedding.

    The first stage holds the embedding and the last the head, so they cannot be one tensor.
    """
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    return model.config, {**weights, "head.weight": weights["embedding.weight"]}


def model_of(config: Config, weights: Weights) -> LanguageModel:
    """Return the model with these weights."""
    model = LanguageModel(config, tied=False)
    model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    return model.requires_grad_(False).eval()


class Stage(nn.Module):
    """One of n equal parts of a model's blocks, with what lies at its ends."""

    def __init__(self, model: LanguageModel, place: int, stages: int) -> None:
        super().__init__()
        each = model.config.layers // stages
        self.blocks = model.blocks[each * place : each * (place + 1)]
        self.embedding = None if place else model.embedding
        last = place == stages - 1
        self.norm = model.norm if last else None
        self.head = model.head if last else None
        self.read = 0  # tokens times blocks

    def forward(self, given: Tensor) -> Tensor:
        """Return what the next stage reads (1, T, C), or the logits after the last token."""
        hidden = self.embedding(given) if self.embedding else given
        blocks = cast(Sequence[Block], self.blocks)
        place = blocks[0].place(hidden)
        for block in blocks:
            hidden = block(hidden, place)
        self.read += hidden.shape[1] * len(blocks)
        if self.norm and self.head:
            return cast(Tensor, self.head(self.norm(hidden[0, -1])))
        return hidden


class Device:
    """What this rank holds of both models, each in so many stages."""

    def __init__(self, work: Work, stages: int) -> None:
        rank = dist.get_rank()
        self.stages, self._prompts = stages, torch.from_numpy(work.prompts)
        self._width = work.config.width
        models = dict(enumerate(work.models()))
        self._held = {
            number: Stage(model, rank if stages == SPLIT else 0, stages)
            for number, model in models.items()
            if stages == SPLIT or number == rank
        }
        self._first = stages == WHOLE or rank == 0
        self._last = stages == WHOLE or rank == stages - 1

    @property
    def weights(self) -> int:
        """Return the bytes of the weights that it holds."""
        return sum(w.nbytes for stage in self._held.values() for w in stage.parameters())

    @property
    def read(self) -> int:
        """Return the tokens times the blocks that they went through here."""
        return sum(stage.read for stage in self._held.values())

    def serve(self, came: Came, unit: float) -> tuple[dict[int, float], dict[int, Tensor]]:
        """Return the seconds at which requests ended here, and the logits of each, by its number.

        All ranks begin together. A stage goes on to the next request while those after it compute:
        what it passes on waits until it is received.
        """
        ends, logits, sent = dict[int, float](), dict[int, Tensor](), list[tuple[Any, Tensor]]()
        dist.barrier()
        start = time.monotonic()
        for number, (moment, model) in enumerate(zip(came.moments, came.models, strict=True)):
            if model not in self._held:
                continue
            found = self._held[model](self._given(number, start + moment * unit))
            if self._last:
                logits[number] = found
                ends[number] = time.monotonic() - start
            else:
                sent.append((dist.isend(found, dist.get_rank() + 1), found))
        for sending, _ in sent:
            sending.wait()
        return ends, logits

    def _given(self, number: int, moment: float) -> Tensor:
        if self._first:
            time.sleep(max(0.0, moment - time.monotonic()))
            return self._prompts[number : number + 1]
        given = torch.empty(1, self._prompts.shape[1], self._width)
        dist.recv(given, dist.get_rank() - 1)
        return given


@torch.no_grad()
def serve_all(work: Work) -> Found:
    """Serve the traces on this rank, with whole models and with split ones in turn."""
    devices = {stages: Device(work, stages) for stages in (WHOLE, SPLIT)}
    counted = {stages: _counted(device, work) for stages, device in devices.items()}
    model = work.models()[0]
    timed = {n: [Stage(model, place, n) for place in range(n)] for n in work.sizes}
    prompt = torch.from_numpy(work.prompts[:1])
    stage_seconds(timed, prompt)
    unit = _agreed(float(np.median(stage_seconds(timed, prompt)[WHOLE])))
    rounds = []
    for _ in range(work.rounds):
        dist.barrier()
        stages, sending = stage_seconds(timed, prompt), sending_seconds(prompt, work.config.width)
        ends = {
            (variation, n): device.serve(came, unit)[0]
            for variation, came in work.traces.items()
            for n, device in devices.items()
        }
        rounds.append(Round(stages, sending, ends))
    return Found(counted, unit, rounds)


def _counted(device: Device, work: Work) -> Counted:
    """Serve a trace whose requests all wait from the beginning, and count."""
    models = next(iter(work.traces.values())).models
    with Traffic() as traffic:
        _, logits = device.serve(Came([0.0] * len(models), models), 0.0)
    said = {number: found.numpy() for number, found in logits.items()}
    return Counted(device.weights, traffic.bytes_sent, device.read, said)


def _agreed(seconds: float) -> float:
    """Return what the first rank found."""
    found = torch.tensor([seconds], dtype=torch.float64)
    dist.broadcast(found, 0)
    return found.item()


def stage_seconds(timed: dict[int, list[Stage]], prompt: Tensor) -> dict[int, list[list[float]]]:
    """Return by number of stages the seconds of each in some passes, all numbers in turn."""
    taken: dict[int, list[list[float]]] = {n: [] for n in timed}
    for _ in range(TIMINGS):
        for n, stages in timed.items():
            taken[n].append(_pass(stages, prompt))
    return taken


def _pass(stages: Sequence[Stage], given: Tensor) -> list[float]:
    moments = [time.perf_counter()]
    for stage in stages:
        given = stage(given)
        moments.append(time.perf_counter())
    return np.diff(moments).tolist()


def sending_seconds(prompt: Tensor, width: int) -> float:
    """Return the seconds to send what a stage passes on (1, T, C), half of there and back."""
    passed, other = torch.empty(1, prompt.shape[1], width), 1 - dist.get_rank()
    taken = []
    for _ in range(1 + TIMINGS):
        start = time.perf_counter()
        for rank in (0, 1):
            if dist.get_rank() == rank:
                dist.send(passed, other)
            else:
                dist.recv(passed, other)
        taken.append((time.perf_counter() - start) / 2)
    return float(np.median(taken[1:]))
