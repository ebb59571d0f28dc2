"""A chain of peers that each hold some blocks of a model, and a client who goes through them.

Borzunov et al., 2022 (Petals): the client embeds a token, asks one peer after another what its
blocks make of it, and chooses the next token itself. What passes is rounded to 8 bits in blocks.
Each peer keeps the keys and values of its blocks; the client keeps what it has sent to each, so
that another peer can be told all of it when one is lost, and the others keep what they know.

Shapes in comments: T tokens, C width, n bytes of a token.
"""

import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from casestudies.lab.distributed.codes import SCALE_BYTES, Code, of_bits
from casestudies.lab.distributed.link import Link
from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Block, Config, LanguageModel

CLIENT = 0  # its rank; stage s is held by rank s + 1 in the beginning, the last is to spare


class Step(IntEnum):
    """What a peer is asked for."""

    TAKE = 0  # the blocks of a stage, read from their file
    FORGET = 1  # all tokens
    READ = 2  # these tokens, and answer
    REPLAY = 3  # these messages once more, each by itself as it was, without an answer
    LEAVE = 4


class Head(NamedTuple):
    """What stands before a message: `first` is a stage, or the tokens of the first message."""

    step: Step
    bits: int = 32
    tokens: int = 0
    first: int = 0
    microseconds: int = 0  # of delay, each way


HEAD_BYTES = 8 * len(Head._fields)


@dataclass(frozen=True)
class Task:
    """A model cut into stages, whose weights lie in files, and prompts (R, T) to continue.

    `rate` is that of the emulated link, in bytes a second; `block` are the numbers that share a
    scale where they are sent in 8 bits.
    """

    folder: str
    config: Config
    tied: bool
    stages: int
    block: int
    rate: float
    device: str
    prompts: NDArray[np.int64]
    tokens: int

    @property
    def held(self) -> list[range]:
        """Return the blocks of each stage."""
        parts = np.array_split(np.arange(self.config.layers), self.stages)
        return [range(part[0], part[-1] + 1) for part in parts]

    @property
    def room(self) -> int:
        """Return the tokens that a cache must hold."""
        return self.prompts.shape[1] + self.tokens

    def save(self, model: LanguageModel) -> None:
        """Write the weights of each block, and those of the client, to files of their own."""
        for layer, block in enumerate(model.blocks):
            save_file(block.state_dict(), self._file(layer))
        weights = model.state_dict()
        own = {name: w for name, w in weights.items() if not name.startswith("blocks.")}
        save_file(own, self._file("client"))

    def blocks(self, layers: Sequence[int]) -> nn.ModuleList:
        """Return these blocks with their weights."""
        with torch.device("meta"):
            blocks = nn.ModuleList(Block(self.config) for _ in layers)
        for layer, block in zip(layers, blocks, strict=True):
            block.load_state_dict(load_file(self._file(layer), self.device), assign=True)
        return blocks.requires_grad_(requires_grad=False)

    def own(self) -> LanguageModel:
        """Return what the client has: the model without blocks."""
        with torch.device("meta"):
            model = LanguageModel(replace(self.config, layers=0), tied=self.tied)
        model.load_state_dict(load_file(self._file("client"), self.device), assign=True)
        return model.requires_grad_(requires_grad=False)

    def model(self) -> LanguageModel:
        """Return the whole model."""
        model = self.own()
        model.config, model.blocks = self.config, self.blocks(range(self.config.layers))
        return model

    def code(self, bits: int) -> Code:
        """Return how activations are sent in so many bits."""
        return of_bits(bits, self.block)

    def number_bytes(self, bits: int) -> float:
        """Return the bytes of an activation that is sent, with its share of scales."""
        return bits / 8 + (SCALE_BYTES / self.block if bits == 8 else 0)

    def _file(self, part: int | str) -> Path:
        return Path(self.folder) / f"{part}.safetensors"


class Segment:
    """Some blocks of a model, with the keys and values of the tokens that they have read."""

    def __init__(self, task: Task, layers: range) -> None:
        own = replace(task.config, layers=len(layers))
        self._blocks = cast(Sequence[Block], task.blocks(layers))
        self.cache = KeyValueCache(own, 1, task.room, task.device)

    def read(self, hidden: Tensor) -> Tensor:
        """Return what the blocks make of the hidden states (T, C) of further tokens."""
        hidden = hidden[None]
        place = self._blocks[0].place(hidden, self.cache.length)
        for layer, block in enumerate(self._blocks):
            hidden = block(hidden, place._replace(layer=layer, cache=self.cache))
        self.cache.advance(hidden.shape[1])
        return hidden[0]


class Wire:
    """What this rank says to others over the emulated link, and hears; both are counted."""

    def __init__(self, task: Task) -> None:
        self._task, self._traffic, self._heard = task, Traffic(), 0

    @property
    def bytes(self) -> float:
        """Return the bytes that have passed either way."""
        return self._traffic.bytes_sent + self._heard

    def say(self, rank: int, head: Head, body: Tensor | None = None) -> None:
        """Send a head and bytes (T, n); raises RuntimeError if the other is lost."""
        size, now = HEAD_BYTES + (body.nbytes if body is not None else 0), time.monotonic()
        link = Link(self._task.rate, head.microseconds / 1e6)
        time.sleep(link.arrival(size, now) - now)
        with self._traffic:
            dist.send(torch.tensor(head), rank)
            if body is not None:
                dist.send(body.cpu(), rank)

    def hear(self, rank: int) -> tuple[Head, Tensor]:
        """Return the next head and bytes (T, n); raises RuntimeError if the other is lost."""
        row = torch.empty(len(Head._fields), dtype=torch.long)
        dist.recv(row, rank)
        head = Head(*row.tolist())
        size = int(self._task.config.width * self._task.number_bytes(head.bits))
        body = torch.empty(head.tokens, size, dtype=torch.uint8)
        if head.tokens:
            dist.recv(body, rank)
        self._heard += HEAD_BYTES + body.nbytes
        return head, body.to(self._task.device)


@torch.inference_mode()
def serve(task: Task, killed_at: int = 0) -> list[float]:
    """Hold blocks and answer the client; return the seconds of reading each prompt.

    With `killed_at` the process is killed when it is asked to read for that time, counted from 1.
    """
    wire, reads, seconds = Wire(task), 0, list[float]()
    while True:
        head, body = wire.hear(CLIENT)
        code = task.code(head.bits)
        if head.step == Step.TAKE:
            segment = Segment(task, task.held[head.first])
        elif head.step == Step.FORGET:
            segment.cache.rewind(0)
        elif head.step == Step.REPLAY:
            for message in body.split([head.first, *[1] * (head.tokens - head.first)]):
                segment.read(code.decode(message))
        elif head.step == Step.READ:
            reads += 1
            if reads == killed_at:
                os.kill(os.getpid(), signal.SIGKILL)
            began = time.perf_counter()
            answer = code.encode(segment.read(code.decode(body)))
            if head.tokens > 1:
                seconds.append(time.perf_counter() - began)
            wire.say(CLIENT, head, answer)
        else:
            return seconds


@dataclass(frozen=True)
class Answer:
    """Tokens (n), logits (n, V) by which they were chosen, and the seconds of each."""

    tokens: list[int]
    logits: NDArray[np.float32]
    seconds: list[float]

    def apart(self, other: "Answer") -> float:
        """Return the largest difference of a logit from those of an answer of as many tokens."""
        return float(np.abs(self.logits - other.logits).max())


def answered(step: Callable[[Tensor], Tensor], prompt: Tensor, count: int) -> Answer:
    """Return how the prompt (T) goes on, greedily, if a step gives logits (V) after tokens (T)."""
    tokens, logits, seconds = list[int](), list[Tensor](), list[float]()
    read = prompt
    for _ in range(count):
        began = time.perf_counter()
        logits.append(step(read))
        tokens.append(int(logits[-1].argmax()))
        read = prompt.new_tensor(tokens[-1:])
        seconds.append(time.perf_counter() - began)
    return Answer(tokens, torch.stack(logits).cpu().numpy(), seconds)


class Client:
    """Who has the embedding and the head, and goes through the peers' blocks for each token.

    When a peer is lost a spare one takes its stage. It is told what the client had sent to the
    lost one, or with `anew` all stages forget and read all tokens again.
    """

    def __init__(self, task: Task, *, spare: bool = False, anew: bool = False) -> None:
        self.task, self.wire, self._anew = task, Wire(task), anew
        self._own = task.own()
        self.bits, self.round_trip = 32, 0.0
        self.read = 0  # tokens, once for each block that was asked to read them
        self.losses = 0
        self._peers = [stage + 1 for stage in range(task.stages)]
        self._spare = [task.stages + 1] if spare else []
        self._tokens: list[Tensor] = []
        self._kept: list[list[Tensor]] = []
        for stage in range(task.stages):
            self._say(stage, Step.TAKE, first=stage)

    @torch.inference_mode()
    def answer(self, prompt: Tensor) -> Answer:
        """Return how the prompt (T) goes on, greedily."""
        self._begin()
        return answered(self._step, prompt, self.task.tokens)

    def leave(self) -> None:
        """Let all peers go."""
        self._peers += self._spare
        for place in range(len(self._peers)):
            self._say(place, Step.LEAVE)

    def _begin(self) -> None:
        self._tokens, self._kept = [], [[] for _ in self._peers]
        for stage in range(len(self._peers)):
            self._say(stage, Step.FORGET)

    def _step(self, tokens: Tensor) -> Tensor:
        """Return the logits (V) after the last of further tokens (T)."""
        self._tokens.append(tokens)
        code = self.task.code(self.bits)
        message = code.encode(self._own.embedding(tokens))  # T, n
        for stage in range(len(self._peers)):
            self._kept[stage].append(message)
            try:
                message = self._ask(stage, message)
            except RuntimeError:
                if not self._spare:
                    raise
                self._replace(stage)
                if self._anew:
                    so_far = torch.cat(self._tokens)
                    self._begin()
                    return self._step(so_far)
                message = self._asked_again(stage)
        return self._own.logits(self._own.norm(code.decode(message)[-1]))

    def _replace(self, stage: int) -> None:
        self.losses += 1
        self._peers[stage] = self._spare.pop()
        self._say(stage, Step.TAKE, first=stage)

    def _asked_again(self, stage: int) -> Tensor:
        """Return what a new peer makes of the last message, once it has read those before."""
        *before, last = self._kept[stage]
        if before:
            self._say(stage, Step.REPLAY, torch.cat(before), len(before[0]))
        return self._ask(stage, last)

    def _ask(self, stage: int, message: Tensor) -> Tensor:
        self._say(stage, Step.READ, message)
        return self.wire.hear(self._peers[stage])[1]

    def _say(self, stage: int, step: Step, body: Tensor | None = None, first: int = 0) -> None:
        tokens = len(body) if body is not None else 0
        if stage < self.task.stages:
            self.read += tokens * len(self.task.held[stage])
        head = Head(step, self.bits, tokens, first, round(self.round_trip / 2 * 1e6))
        self.wire.say(self._peers[stage], head, body)
