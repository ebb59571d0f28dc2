"""Generates through peers, kills one, and computes what larger and busier swarms would do."""

import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from casestudies.lab.contract import InvalidParameter, Setup
from casestudies.lab.data import text
from casestudies.lab.equations import communication, duration, operations
from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.models import files
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.studies.decentralized import claims, ranks, routing, swarm
from casestudies.lab.studies.decentralized.about import (
    ANEW,
    ANEW_CODED,
    BY_LOSSES,
    BY_RATE,
    BY_TRIP,
    FEWEST,
    MODEL,
    REPLAYED,
    REPLAYED_CODED,
    SHORTEST,
    DecentralizedParameters,
)
from casestudies.lab.studies.decentralized.chain import HEAD_BYTES, Answer, Task
from casestudies.lab.studies.decentralized.claims import (
    ALONE,
    CHAIN,
    CODED,
    FREE,
    GAIN,
    MEASURED,
    ONWARD,
    STREAMED,
)
from casestudies.lab.studies.decentralized.ranks import Found

WINDOW = 128
CHAINS = {CHAIN: ranks.WHOLE, CODED: ranks.CODED}
STAGES, LOSSES = 4, (0, 1, 3, 10)  # of the replay; losses of a peer in 1,000 passes
AWAY, MOVE = 100, 20  # passes that a lost peer is away, and that a change of stage takes
SWARMS, SMALL, LARGE = 100, (5, 6), (24, 30)  # servers and blocks
RATES = tuple(10 ** (n / 8) for n in range(33))  # GB/s
WIDTHS = (576, 2048, 8192, claims.WIDTH)
TOKENS = 512


def run(parameters: DecentralizedParameters, setup: Setup, report: Report) -> str:
    """Generate, kill, time and replay; return the verdict.

    Raises ValueError if the text is too short, RanksFailed if ranks fail that nobody killed.
    """
    p = parameters
    report.precision = "float32, rounded to 8 bits as it is sent"
    with tempfile.TemporaryDirectory() as folder:
        with report.stage("reading model and text, measuring perplexity", 0.3):
            task = prepare(p, setup, report, folder)
        with report.stage(f"generating through {p.stages} peers", 0.4):
            trips = [p.round_trip / 1000 * share for share in (0.2, 0.5, 1)]
            found = ranks.through_a_chain(task, trips, p.rounds)
            rates = ranks.passed_by_peers(setup.device)
            report.measure("weights passed", CHAIN, [rate / 1e9 for rate in rates])
            report_answers(found, task, report)
            report_times(found, task, report)
        with report.stage("killing a peer amid an answer", 0.2):
            report_losses(found, task, report)
    with report.stage("computing and replaying", 0.1):
        report_gain(statistics.median(rates), report)
        report_swarm(statistics.median(found.reading), p, setup, report)
        report_ways(statistics.median(found.alone_seconds) / task.config.layers, setup, report)
        for width in WIDTHS:
            report.measure("operations a byte", CODED, operations_a_byte(width), width=width)
    return verdict(p, report)


def prepare(p: DecentralizedParameters, setup: Setup, report: Report, folder: str) -> Task:
    """Report perplexities; return the task, whose weights lie in the folder."""
    pretrained = files.load(setup.model, setup.device, setup.shared)
    corpus = text.corpus(setup.text)
    report.source("model", pretrained.name, pretrained.sha256)
    report.source("text", corpus.name, corpus.sha256)
    model = shortened(pretrained.model, p.blocks)
    if model.config.layers < p.stages:
        raise InvalidParameter("stages", f"the model has no more than {model.config.layers} blocks")
    pieces = text.windows(corpus.evaluation, pretrained.tokenizer, WINDOW)
    windows = text.spaced(pieces, min(p.windows, len(pieces))).to(setup.device)
    longer = text.windows(corpus.evaluation, pretrained.tokenizer, p.prompt)
    task = Task(
        folder,
        model.config,
        model.head is None,
        p.stages,
        p.block,
        p.link * 1e6 / 8,
        setup.device,
        text.sample(longer, p.prompts, setup.seed).numpy(),
        p.answer,
    )
    report.measure("perplexity", ALONE, perplexity(model, windows))
    with coded(model, task):
        report.measure("perplexity", CODED, perplexity(model, windows))
    task.save(model)
    return task


def shortened(model: LanguageModel, blocks: int) -> LanguageModel:
    """Return the model with no more than its first so many blocks."""
    model.blocks = model.blocks[:blocks]
    model.config = replace(model.config, layers=len(model.blocks))
    return model


@contextmanager
def coded(model: LanguageModel, task: Task) -> Iterator[None]:
    """Round what passes from stage to stage, and to the last norm, as it is when sent in 8 bits."""
    code = task.code(ranks.CODED)

    def rounded(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        hidden: Tensor = given[0]
        return code.decode(code.encode(hidden)), *given[1:]

    readers = [*(model.blocks[layers[0]] for layers in task.held), model.norm]
    hooks = [reader.register_forward_pre_hook(rounded) for reader in readers]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def agreement(found: list[Answer], expected: list[Answer]) -> float:
    """Return the share of tokens that are the same, up to the first of an answer that is not."""
    pairs = list(zip(found, expected, strict=True))
    same = sum(common(a.tokens, b.tokens) for a, b in pairs)
    return same / sum(len(b.tokens) for _, b in pairs)


def common(found: list[int], expected: list[int]) -> int:
    """Return how many tokens both begin with."""
    pairs = zip(found, expected, strict=True)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), len(expected))


def report_answers(found: Found, task: Task, report: Report) -> None:
    """Report how far the chain's answers are from those of one process, and what passed."""
    for variant, bits in CHAINS.items():
        report.measure("same tokens", variant, agreement(found.chain[bits], found.alone))
        passed = found.bytes[bits] - heads(task)
        tokens = task.room - 1
        report.measure("bytes of a token", variant, passed / tokens / 1000)
    apart = max(a.apart(b) for a, b in zip(found.chain[ranks.WHOLE], found.alone, strict=True))
    report.measure("equality error", CHAIN, apart)


def heads(task: Task) -> int:
    """Return the bytes of heads in an answer: a message to forget, then two for each reading."""
    return task.stages * HEAD_BYTES * (1 + 2 * task.tokens)


def message_bytes(task: Task, bits: int) -> float:
    """Return the bytes of one token's message, its head included."""
    shape = {"tokens": 1, "batch": 1, "hidden": task.config.width}
    return HEAD_BYTES + communication.boundary_bytes(**shape, number_bytes=task.number_bytes(bits))


def report_times(found: Found, task: Task, report: Report) -> None:
    """Report the time of a token by the round trip, beside the formula's and streaming's."""
    alone = statistics.median(found.alone_seconds)
    report.measure("time per token", ALONE, [1000 * s for s in found.alone_seconds])
    weights = 4 * weights_of(task)
    streamed = duration.offloaded_layer_seconds(
        to_gpu=weights / claims.BUS, from_gpu=0, from_disk=0, to_disk=0, compute=alone
    )
    report.measure("time per token", STREAMED, 1000 * streamed)
    for (bits, trip), taken in found.chain_seconds.items():
        variant = next(name for name, own in CHAINS.items() if own == bits)
        at = {"round_trip": round(1000 * trip)}
        expected = communication.chain_token_seconds(
            compute=alone,
            peers=task.stages,
            round_trip=trip,
            message_bytes=message_bytes(task, bits),
            link_rate=task.rate,
        )
        middle = statistics.median(taken)
        report.measure("time per token", variant, [1000 * s for s in taken], **at)
        report.measure("prediction error", variant, 100 * abs(middle / expected - 1), **at)
        report.point(BY_TRIP, variant, 1000 * trip, 1000 * middle)
        if variant == CODED:
            report.measure("time per token", MODEL, 1000 * expected, **at)
            report.point(BY_TRIP, MODEL, 1000 * trip, 1000 * expected)
            report.point(BY_TRIP, STREAMED, 1000 * trip, 1000 * streamed)


def weights_of(task: Task) -> int:
    """Return the numbers of the model's weights."""
    with torch.device("meta"):
        model = LanguageModel(task.config, tied=task.tied)
    return sum(weight.numel() for weight in model.parameters())


def report_losses(found: Found, task: Task, report: Report) -> None:
    """Kill the last stage's peer amid the last answer, and report what that takes."""
    at = (len(task.prompts) - 1) * task.tokens + task.tokens // 2 + 1
    needed = len(task.prompts) * (task.room - 1) * task.config.layers
    for variant, bits, anew in (
        (REPLAYED, ranks.WHOLE, False),
        (ANEW, ranks.WHOLE, True),
        (REPLAYED_CODED, ranks.CODED, False),
        (ANEW_CODED, ranks.CODED, True),
    ):
        survived = ranks.though_one_dies(task, bits, at, anew=anew)
        if survived.losses != 1:
            raise RuntimeError(f"one peer was to be lost, and {survived.losses} were")
        expected = found.chain[bits]
        lost = sum(len(answer.tokens) < task.tokens for answer in survived.answers)
        pairs = zip(survived.answers, expected, strict=True)
        report.measure("same tokens", variant, agreement(survived.answers, expected))
        report.measure("equality error", variant, max(a.apart(b) for a, b in pairs))
        report.measure("requests lost", variant, lost)
        report.measure("read again", variant, survived.read - needed)
        stalled = survived.answers[-1].seconds[task.tokens // 2]
        report.measure("stall", variant, 1000 * stalled)


def report_gain(rate: float, report: Report) -> None:
    """Report how much faster than streaming a chain of the rule's peers is, by the formula."""
    for variant, onward in ((CODED, False), (ONWARD, True)):
        report.measure(GAIN, variant, gain(rate, onward=onward), computing=MEASURED)
        report.measure(GAIN, variant, gain(float("inf"), onward=onward), computing=FREE)
        for gigabytes in RATES:
            report.point(BY_RATE, variant, gigabytes, gain(gigabytes * 1e9, onward=onward))
    spare = claims.WEIGHTS / claims.BUS / claims.LEAST_GAIN - chain_seconds(0.0, onward=False)
    report.measure("weights passed for 3x", CODED, claims.WEIGHTS / spare / 1e9)


def gain(rate: float, *, onward: bool) -> float:
    """Return streaming's time of a token over the chain's, if weights are passed at this rate."""
    compute = claims.WEIGHTS / rate
    streamed = duration.offloaded_layer_seconds(
        to_gpu=claims.WEIGHTS / claims.BUS, from_gpu=0, from_disk=0, to_disk=0, compute=compute
    )
    return streamed / chain_seconds(compute, onward=onward)


def chain_seconds(compute: float, *, onward: bool) -> float:
    """Return the time of a token through the rule's peers, of which each asks the next if onward.

    Then one way to each peer and one back to the client are left of as many round trips.
    """
    found = communication.chain_token_seconds(
        compute=compute,
        peers=claims.PEERS,
        round_trip=claims.ROUND_TRIP,
        message_bytes=claims.WIDTH * (1 + 4 / 64),
        link_rate=claims.RATE,
    )
    if onward:
        return compute + (found - compute) * (claims.PEERS + 1) / (2 * claims.PEERS)
    return found


def operations_a_byte(width: int) -> float:
    """Return a layer's operations over the bytes that leave it in 8 bits: the square-cube law."""
    shape = {"tokens": TOKENS, "batch": 1, "hidden": width}
    # A layer without the scores of the vocabulary.
    whole, none = (
        operations.forward_operations_of_shape(layers=layers, vocabulary=1, **shape)
        for layers in (2, 1)
    )
    return (whole - none) / communication.boundary_bytes(**shape, number_bytes=1)


def report_swarm(cost: float, p: DecentralizedParameters, setup: Setup, report: Report) -> None:
    """Report batches on paper by how often peers are lost, of all wirings alike."""
    whole = swarm.Swarm(
        stages=STAGES,
        speeds=swarm.speeds(STAGES * p.peers, p.spread, setup.seed),
        cost=cost,
        hop=p.round_trip / 2000,
        life=float("inf"),
        away=AWAY * cost,
        move=MOVE * cost,
        batches=p.batches,
        in_flight=2 * STAGES * p.peers,
        seed=setup.seed,
    )
    for losses in LOSSES:
        life = 1000 * cost / losses if losses else float("inf")
        for wiring in swarm.WIRINGS:
            carried = swarm.Replay(replace(whole, life=life), wiring).carry()
            lost = sum(abs(passes - p.batches) for passes in carried.passes)
            report.measure("batches, by replay", wiring, carried.rate, losses=losses)
            share = carried.rate / carried.cut
            report.measure("share of the cut, by replay", wiring, share, losses=losses)
            report.measure("batches lost, by replay", wiring, lost, losses=losses)
            report.point(BY_LOSSES, wiring, losses, carried.rate)


def report_ways(seconds: float, setup: Setup, report: Report) -> None:
    """Report ways through drawn swarms, and in how many small ones the shortest is not the best."""
    luck = np.random.default_rng(setup.seed)
    draw = partial(routing.drawn, seconds=seconds, luck=luck)
    wrong = 0
    for _ in range(SWARMS):
        servers, blocks = draw(*SMALL), SMALL[1]
        best = routing.exhaustive(servers, blocks)
        wrong += abs(routing.duration(routing.shortest(servers, blocks)) - best) > 1e-9 * best
    report.measure("ways that are not the best", SHORTEST, wrong)
    swarms = [draw(*LARGE) for _ in range(SWARMS)]
    for variant, look in ((SHORTEST, routing.shortest), (FEWEST, routing.fewest)):
        times = [1000 * routing.duration(look(servers, LARGE[1])) for servers in swarms]
        report.measure("way’s time, by replay", variant, times)


def verdict(p: DecentralizedParameters, report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""

    def of(metric: str, variant: str, **settings: Any) -> float:
        return next(
            m.value
            for m in report.measurements
            if (m.metric, m.variant, m.settings) == (metric, variant, settings)
        )

    often = LOSSES[-2]
    rates = {w: of("batches, by replay", w, losses=often) for w in swarm.WIRINGS}
    apart = max(m.value for m in report.measurements if m.metric == "prediction error")
    return (
        f"Through {p.stages} peers {100 * of('same tokens', CHAIN):.0f} % of the tokens are those"
        f" of one process; in 8 bits {100 * of('same tokens', CODED):.0f} %, up to the first other"
        f" of an answer, while {of('bytes of a token', CODED):.1f} kB pass for a token instead of"
        f" {of('bytes of a token', CHAIN):.1f}, and perplexity is {of('perplexity', CODED):.2f}"
        f" instead of {of('perplexity', ALONE):.2f}. A peer that is"
        f" killed amid an answer loses {of('requests lost', REPLAYED):.0f} requests, and"
        f" {of('read again', REPLAYED):.0f} token-blocks are read again instead of"
        f" {of('read again', ANEW):.0f}. Times are at most {apart:.0f} % off the formula; by it 14"
        f" peers are {of(GAIN, CODED, computing=FREE):.1f} times as fast as 176 GB streamed if"
        f" computing took no time, {of(GAIN, CODED, computing=MEASURED):.1f} times with the"
        f" {of('weights passed', CHAIN):.0f} GB/s that a token passes here, and 3 times from"
        f" {of('weights passed for 3x', CODED):.0f} GB/s on. By replay, where a peer is lost"
        f" {often} times in 1,000 passes, SWARM’s wiring carries"
        f" {rates[swarm.WIRED] / rates[swarm.FIXED]:.1f} times as much as fixed pipelines,"
        f" {rates[swarm.REBALANCED] / rates[swarm.FIXED]:.1f} times with rebalancing."
    )
