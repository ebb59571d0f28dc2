"""What each rank does: the client generates alone and through the chain, the others serve it."""

import statistics
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import torch
import torch.distributed as dist
from torch import Tensor

from casestudies.lab.distributed.ranks import on_ranks, outlived
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.models import shapes
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.studies.decentralized.chain import (
    CLIENT,
    Answer,
    Client,
    Task,
    answered,
    serve,
)

WHOLE, CODED = 32, 8  # bits of an activation that is sent
# A block of this shape is passed to see how fast weights are: too large for any cache.
WIDE = {"cpu": "llama-1b", "cuda": "llama-8b"}
PASSES = 5


@dataclass(frozen=True)
class Found:
    """What the client found: answers to all prompts, and seconds of a token in each round.

    `bytes` are those that passed for one answer, by bits; `chain_seconds` are by the round
    trip, in 8 bits; `reading` are the seconds of each prompt in a stage; `rate` is that of weights.
    """

    alone: list[Answer]
    chain: dict[int, list[Answer]]
    bytes: dict[int, float]
    alone_seconds: list[float]
    chain_seconds: dict[float, list[float]]
    rate: float
    reading: list[float]


@dataclass(frozen=True)
class Survived:
    """Answers to all prompts, the token-blocks that were read for them, and how many were lost."""

    answers: list[Answer]
    read: int
    losses: int


def through_a_chain(task: Task, round_trips: list[float], rounds: int) -> Found:
    """Return what the client finds on ranks that all live."""
    found, *reading = on_ranks(1 + task.stages, _observe, task, round_trips, rounds)
    return replace(
        cast(Found, found), reading=[t for stage in reading for t in cast(list[float], stage)]
    )


def though_one_dies(task: Task, bits: int, at: int, *, anew: bool) -> Survived:
    """Return what the client gets where the last stage's peer is killed as it reads its `at`-th."""
    victim = task.stages
    found = outlived({victim}, 2 + task.stages, _survive, task, bits, victim, at, anew)
    return cast(Survived, found[CLIENT])


def _observe(task: Task, round_trips: list[float], rounds: int) -> Found | list[float]:
    if dist.get_rank() != CLIENT:
        return serve(task)
    rate = weights_a_second(task.device)  # while the others wait
    prompts = torch.from_numpy(task.prompts).to(task.device)
    client, model = Client(task), task.model()
    alone, sent = list[Answer](), dict[int, float]()
    chain: dict[int, list[Answer]] = {WHOLE: [], CODED: []}
    for prompt in prompts:  # prompt by prompt: a peer that hears nothing for minutes gives up
        alone.append(answer_alone(model, task, prompt))
        for client.bits, answers in chain.items():
            before = client.wire.bytes
            answers.append(client.answer(prompt))
            sent[client.bits] = client.wire.bytes - before
    alone_seconds, chain_seconds = list[float](), {trip: list[float]() for trip in round_trips}
    for _ in range(rounds):
        alone_seconds.append(each(answer_alone(model, task, prompts[0])))
        for client.round_trip, taken in chain_seconds.items():
            taken.append(each(client.answer(prompts[0])))
    client.leave()
    return Found(alone, chain, sent, alone_seconds, chain_seconds, rate, [])


def each(answer: Answer) -> float:
    """Return the seconds of a token after the first, which waits for the prompt."""
    return statistics.mean(answer.seconds[1:])


def _survive(task: Task, bits: int, victim: int, at: int, anew: bool) -> Survived | list[float]:
    if dist.get_rank() != CLIENT:
        return serve(task, at if dist.get_rank() == victim else 0)
    client = Client(task, spare=True, anew=anew)
    client.bits = bits
    answers = [client.answer(p) for p in torch.from_numpy(task.prompts).to(task.device)]
    client.leave()
    return Survived(answers, client.read, client.losses)


@torch.inference_mode()
def answer_alone(model: LanguageModel, task: Task, prompt: Tensor) -> Answer:
    """Return how the prompt (T) goes on where one process has the whole model."""
    cache = KeyValueCache(model.config, 1, task.room, task.device)
    return answered(
        lambda read: model.logits(model.hidden(read[None], cache)[0, -1]), prompt, task.tokens
    )


@torch.inference_mode()
def weights_a_second(device: str) -> float:
    """Return the bytes of weights that one token passes in a second, in a block of a large model.

    On a GPU they are in bfloat16, elsewhere in float32. What the weights are does not matter.
    """
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    config = shapes.SHAPES[WIDE[device]]
    with torch.device("meta"):
        block = Block(config)
    block = block.to(dtype).to_empty(device=device)
    for weight in block.parameters():
        weight.fill_(1 / config.width)
    token = torch.ones(1, 1, config.width, device=device, dtype=dtype)
    taken = alternately({"pass": partial(block, token)}, PASSES, device)["pass"]
    return sum(weight.nbytes for weight in block.parameters()) / statistics.median(taken)
