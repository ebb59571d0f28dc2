"""Generates through peers, kills one, and computes what larger and busier swarms would do."""

import itertools
import statistics
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
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
    BY_CLIENTS,
    BY_LOSSES,
    BY_RATE,
    BY_TRIP,
    FORMULA,
    IN_USE,
    REPLAYED,
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
    STREAMED,
)
from casestudies.lab.studies.decentralized.ranks import Found
from casestudies.lab.studies.decentralized.routing import CHANCE, PATH, Costs

WINDOW = 128
STAGES, LOSSES = 4, (0, 1, 3, 10)  # of the replay; losses of a peer in 1,000 passes
AWAY, MOVE = 100, 20  # passes that a lost peer is away, and that a change of stage takes
RATES = tuple(10 ** (n / 8) for n in range(33))  # GB/s
WIDTHS = (576, 2048, 8192, claims.WIDTH)
TOKENS = 512
SWARMS, SERVERS, CLIENTS = 5, 24, (1, 4, 16, 64)  # of the replay of Petals' routing
EQUAL = 1e-9  # by which sums in another order may differ
AS_LONG_AS = 100  # tokens of the first client alone, which that replay lasts


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
            report_answers(found, task, report)
            report_times(found, task, report)
        with report.stage("killing a peer amid an answer", 0.2):
            report_losses(found, task, report)
    with report.stage("computing and replaying", 0.1):
        report_gain(found.rate, report)
        report_swarm(statistics.median(found.reading), p, setup, report)
        report_routing(costs(found, task, p), p, setup, report)
        for width in WIDTHS:
            report.measure("operations a byte", CODED, operations_a_byte(width), width=width)
    return verdict(p, report)


def prepare(p: DecentralizedParameters, setup: Setup, report: Report, folder: str) -> Task:
    """Report what rounding does to the text; return the task, whose weights lie in the folder."""
    pretrained = files.load(setup.model, setup.device, setup.shared)
    corpus = text.corpus(setup.text)
    report.source("model", pretrained.name, pretrained.sha256)
    report.source("text", corpus.name, corpus.sha256)
    model = shortened(pretrained.model, p.blocks)
    if model.config.layers < p.stages:
        raise InvalidParameter("stages", f"the model has no more than {model.config.layers} blocks")
    if model.config.width % p.block:
        raise InvalidParameter("block", f"a token has {model.config.width} numbers")
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
    chosen = likeliest(model, windows)
    with coded(model, task):
        report.measure("perplexity", CODED, perplexity(model, windows))
        same = (likeliest(model, windows) == chosen).double().mean().item()
        report.measure("same tokens", CODED, same)
    task.save(model)
    return task


def shortened(model: LanguageModel, blocks: int) -> LanguageModel:
    """Return the model with no more than its first so many blocks."""
    model.blocks = model.blocks[:blocks]
    model.config = replace(model.config, layers=len(model.blocks))
    return model


@torch.inference_mode()
def likeliest(model: LanguageModel, windows: Tensor) -> Tensor:
    """Return the likeliest next token after each of the windows' (count, T)."""
    return torch.stack([model(window[None])[0].argmax(-1) for window in windows])


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
    report_sameness(CHAIN, found.chain[ranks.WHOLE], found.alone, report)
    for variant, bits in ((CHAIN, ranks.WHOLE), (CODED, ranks.CODED)):
        passed = found.bytes[bits] - heads(task)
        report.measure("bytes of a token", variant, passed / (task.room - 1) / 1000)


def report_sameness(
    variant: str, answers: list[Answer], expected: list[Answer], report: Report
) -> None:
    """Report the share of tokens that are the same, and how far logits are apart."""
    report.measure("same tokens", variant, agreement(answers, expected))
    pairs = zip(answers, expected, strict=True)
    report.measure("equality error", variant, max(a.apart(b) for a, b in pairs))


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
    report.measure_time("time per token", ALONE, found.alone_seconds)
    streamed = duration.offloaded_layer_seconds(
        to_gpu=weight_bytes(task) / claims.BUS, from_gpu=0, from_disk=0, to_disk=0, compute=alone
    )
    report.measure_time("time per token", STREAMED, streamed)
    for trip, taken in found.chain_seconds.items():
        expected = [predicted(task, seconds, trip) for seconds in found.alone_seconds]
        # Round by round, so that other work on the machine slows both.
        off = statistics.median(t / e - 1 for t, e in zip(taken, expected, strict=True))
        at = {"round_trip": round(1000 * trip)}
        report.measure_share("prediction error", CODED, abs(off), **at)
        for variant, seconds in ((CODED, taken), (FORMULA, expected), (STREAMED, [streamed])):
            report.point(BY_TRIP, variant, 1000 * trip, 1000 * statistics.median(seconds))
            if variant != STREAMED:
                report.measure_time("time per token", variant, seconds, **at)


def predicted(task: Task, alone: float, round_trip: float) -> float:
    """Return the seconds of a token in 8 bits by the formula, from those of one process."""
    return communication.chain_token_seconds(
        compute=alone,
        peers=task.stages,
        round_trip=round_trip,
        message_bytes=message_bytes(task, ranks.CODED),
        link_rate=task.rate,
    )


def weight_bytes(task: Task) -> int:
    """Return the bytes of the model's weights."""
    with torch.device("meta"):
        model = LanguageModel(task.config, tied=task.tied)
    return sum(weight.nbytes for weight in model.parameters())


def report_losses(found: Found, task: Task, report: Report) -> None:
    """Kill the last stage's peer amid the first answer, and report what that takes."""
    at = task.tokens // 2 + 1  # early: the spare peer gives up if it hears nothing for minutes
    needed = len(task.prompts) * (task.room - 1) * task.config.layers
    for variant, anew in ((REPLAYED, False), (ANEW, True)):
        survived = ranks.though_one_dies(task, ranks.CODED, at, anew=anew)
        if survived.losses != 1:
            raise RuntimeError(f"one peer was to be lost, and {survived.losses} were")
        report_sameness(variant, survived.answers, found.chain[ranks.CODED], report)
        report.measure("read again", variant, survived.read - needed)
        stalled = survived.answers[0].seconds[task.tokens // 2]
        report.measure_time("stall", variant, stalled)


def report_gain(rate: float, report: Report) -> None:
    """Report how much faster than streaming a chain of the rule's peers is, by the formula."""
    report.measure("weights passed", CHAIN, rate / 1e9)
    report.measure(GAIN, CODED, gain(rate), computing=MEASURED)
    report.measure(GAIN, CODED, gain(float("inf")), computing=FREE)
    for gigabytes in RATES:
        report.point(BY_RATE, CODED, gigabytes, gain(gigabytes * 1e9))
    spare = claims.WEIGHTS / claims.BUS / claims.LEAST_GAIN - chain_seconds(compute=0.0)
    report.measure("weights passed for 3x", CODED, claims.WEIGHTS / spare / 1e9)


def gain(rate: float) -> float:
    """Return streaming's time of a token over the chain's, if weights are passed at this rate."""
    compute = claims.WEIGHTS / rate
    streamed = duration.offloaded_layer_seconds(
        to_gpu=claims.WEIGHTS / claims.BUS, from_gpu=0, from_disk=0, to_disk=0, compute=compute
    )
    return streamed / chain_seconds(compute)


def chain_seconds(compute: float) -> float:
    """Return the time of a token through the rule's peers."""
    return communication.chain_token_seconds(
        compute=compute,
        peers=claims.PEERS,
        round_trip=claims.ROUND_TRIP,
        message_bytes=claims.WIDTH * (1 + 4 / 64),
        link_rate=claims.RATE,
    )


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
            report.measure("batches, by replay", wiring, carried.rate, losses=losses)
            share = carried.rate / carried.cut
            report.measure("share of the cut, by replay", wiring, share, losses=losses)
            report.point(BY_LOSSES, wiring, losses, carried.rate)


def costs(found: Found, task: Task, p: DecentralizedParameters) -> Costs:
    """Return the seconds of a block and of a token's links."""
    return Costs(
        blocks=task.config.layers,
        block=statistics.median(found.alone_seconds) / task.config.layers,
        passing=message_bytes(task, ranks.CODED) / task.rate,
        round_trip=p.round_trip / 1000,
    )


def report_routing(costs: Costs, p: DecentralizedParameters, setup: Setup, report: Report) -> None:
    """Report on paper what clients at once get by their ways to find a chain, of several swarms.

    Raises RuntimeError if they got more than the servers have time for.
    """
    shares: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in range(SWARMS):
        luck = np.random.default_rng([setup.seed, number])
        speeds = swarm.speeds(SERVERS, p.spread, setup.seed + number)
        networks = routing.drawn(speeds, costs, CLIENTS[-1], luck)
        placed = routing.placed(networks[0], luck)
        chains = routing.chosen(networks, placed, luck)
        until = AS_LONG_AS * networks[0].token_seconds(chains[PATH][0])
        for way, count in itertools.product(chains, CLIENTS):
            rate = routing.together(networks[:count], chains[way][:count], until)
            shares[way, count].append(rate / networks[0].even_share)
    for (way, count), values in shares.items():
        if max(values) > 1 + EQUAL:
            raise RuntimeError(f"{way}: {max(values)} of the time that all servers have")
        report.measure(IN_USE, way, values, clients=count)
        report.point(BY_CLIENTS, way, count, statistics.median(values))


def verdict(p: DecentralizedParameters, report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""

    def of(metric: str, variant: str, **settings: Any) -> float:
        return next(
            m.value
            for m in report.measurements
            if (m.metric, m.variant, m.settings) == (metric, variant, settings)
        )

    often, crowd = LOSSES[-2], CLIENTS[-1]
    wired, fixed = (of("batches, by replay", w, losses=often) for w in (swarm.WIRED, swarm.FIXED))
    one, many = (
        of(IN_USE, PATH, clients=n) / of(IN_USE, CHANCE, clients=n) for n in (CLIENTS[0], crowd)
    )
    apart = max(m.value for m in report.measurements if m.metric == "prediction error")
    return (
        f"Through {p.stages} peers {100 * of('same tokens', CHAIN):.0f} % of the tokens are those"
        f" of one process; after a peer is killed amid an answer"
        f" {100 * of('same tokens', REPLAYED):.0f} % are those of the chain that loses none, with"
        f" {of('read again', REPLAYED):.0f} token-blocks read again instead of"
        f" {of('read again', ANEW):.0f}. In 8 bits {of('bytes of a token', CODED):.1f} kB pass for"
        f" a token instead of {of('bytes of a token', CHAIN):.1f}, and perplexity is"
        f" {of('perplexity', CODED):.4g} instead of {of('perplexity', ALONE):.4g}. Times are at"
        f" most {apart:.0f} % off the formula, by which 14 peers are"
        f" {of(GAIN, CODED, computing=MEASURED):.2g} times as fast as 176 GB streamed, with the"
        f" {of('weights passed', CHAIN):.0f} GB/s that a token passes here, and 3 times from"
        f" {of('weights passed for 3x', CODED):.0f} GB/s on. By replay, SWARM’s wiring carries"
        f" {wired / fixed:.1f} times as much as fixed pipelines where a peer is lost {often} times"
        f" in 1,000 passes, and Petals’ shortest path gives one client {one:.1f} times as many"
        f" tokens as servers by chance, but {crowd} clients at once {many:.1f} times as many."
    )
