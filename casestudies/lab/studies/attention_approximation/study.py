"""Reads long texts with caches that hold less, and merges heads: what is lost, held and saved."""

import hashlib
import math
import statistics
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.inference_memory import kv_cache_bytes
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.models import files, shapes
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Config, LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.attention_approximation import grouped, held, speed, split
from casestudies.lab.studies.attention_approximation.about import AttentionApproximationParameters
from casestudies.lab.studies.attention_approximation.claims import (
    AFTER,
    BEFORE,
    BY_BATCH,
    BY_HEADS,
    CHIPS,
    CHIPS_HEADS,
    CHIPS_SHARED_WIDTH,
    CHIPS_WIDTH,
    FLOAT32_BYTES,
    FULL_CACHE,
    GROUPED,
    HEAVY,
    MULTI_HEAD,
    RECENT,
    RECOMPUTED,
    SHARED,
    SINKS,
    STREAM,
    held_by_formula,
    kept,
    larger_batch,
)
from casestudies.lab.train import loop

MIB = 2**20
SMALLEST_WINDOW = 128  # that is timed
WINDOWS_TOKENS = 4096  # recomputed together
CHECKED = 8  # tokens read one by one to see that both ways agree
VOCABULARY, TRAINED_WINDOW, EVALUATED = 1024, 64, 256
GROUP = 4  # heads that share a key-value head
EXTRA = 0.05  # of the steps


def run(parameters: AttentionApproximationParameters, setup: Setup, report: Report) -> str:
    """Measure all methods; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("reading the model and the text", 0.05):
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        other = text.split("docstrings of NumPy", text.docstrings(["numpy"]))
        both = hashlib.sha256(f"{corpus.sha256} {other.sha256}".encode()).hexdigest()
        report.source("text", f"{corpus.name}; {other.name} to train on", both)
        model = pretrained.model
        texts = text.windows(corpus.evaluation, pretrained.tokenizer, p.length)
        texts = text.spaced(texts, p.texts).to(setup.device)
    with torch.inference_mode():
        with report.stage("predicting with part of the cache", 0.5) as stage:
            check(model, texts[:1, :CHECKED], p.sinks, report)
            lost = predict(model, texts, p.sinks, report, stage)
        with report.stage("timing a step", 0.2) as stage:
            faster = time_windows(model, p, setup, report, stage)
            time_batches(model, p, setup, report)
    with report.stage("merging the heads of a trained model", 0.2) as stage:
        closed = merge_heads(other, p, setup, report, stage)
    with report.stage("splitting a cache over ranks", 0.05):
        split_cache(p.ranks, setup.seed, report)
    return lost + faster + closed


def check(model: LanguageModel, tokens: Tensor, sinks: int, report: Report) -> None:
    """Report how far both caches are from what they should equal, with all the room and with less.

    With all of it that is the model itself, with less attention to the whole text that hides what
    the cache has dropped.
    """
    config, length = model.config, tokens.shape[1]
    less = max(sinks, length // 2) + 1
    own = model(tokens)
    for budget in (length, less):
        whole = at_once(config, budget, sinks)
        caches: dict[str, Callable[[], held.LayerCache]] = {
            SINKS: partial(held.RollingCache, config, 1, budget, sinks, tokens.device),
            HEAVY: partial(held.HeavyHitterCache, config, 1, budget, tokens.device),
        }
        for variant, make in caches.items():
            same = own
            if budget < length:
                same = model.logits(held.read(model, tokens, [whole[variant]] * config.layers))
            layers = [make() for _ in model.blocks]
            one_by_one = [held.read(model, token, layers) for token in tokens.split(1, dim=1)]
            found = model.logits(torch.cat(one_by_one, dim=1))
            report.measure(
                "equality error", variant, (found - same).abs().max().item(), budget=budget
            )


def at_once(config: Config, budget: int, sinks: int) -> dict[str, Attention]:
    """Return by variant attention to a whole text as a cache of this budget would give it."""
    return {
        RECENT: held.Rolling(budget, 0, config.rope_base),
        SINKS: held.Rolling(budget, sinks, config.rope_base),
        HEAVY: held.HeavyHitters(budget, config.rope_base),
    }


def predict(model: LanguageModel, texts: Tensor, sinks: int, report: Report, stage: Stage) -> str:
    """Report perplexity and bytes by method and budget; return the first half of a sentence."""
    config, length = model.config, texts.shape[1]
    stage.at(0, FULL_CACHE)
    full = perplexity(model, texts, model.hidden)
    report_kept(FULL_CACHE, full, cache_bytes(config, length), full, report)
    smallest = length // STREAM
    budgets = (smallest, kept(length), length // 2)
    found: dict[tuple[str, int], float] = {}
    for done, budget in enumerate(budgets):
        for variant, mix in at_once(config, budget, sinks).items():
            stage.at((done + 1) / 6, f"{variant}, {budget} tokens")
            value = perplexity(
                model, texts, partial(held.read, model, mixing=[mix] * config.layers)
            )
            found[variant, budget] = value
            report_kept(
                variant, value, cache_bytes(config, length, budget), full, report, budget=budget
            )
    stage.at(4 / 6, RECOMPUTED)
    again = recomputed_perplexity(model, texts, smallest)
    report.measure("perplexity", RECOMPUTED, again, budget=smallest)
    report.measure("perplexity ratio", RECOMPUTED, again / full, budget=smallest)
    over = {variant: found[variant, smallest] / again for variant in (SINKS, RECENT, HEAVY)}
    for variant, ratio in over.items():
        report.measure("perplexity over recomputed", variant, ratio)
    stage.at(5 / 6, SHARED)
    shared = grouped.merged(model, 1)
    value = perplexity(shared, texts, shared.hidden)
    report.measure("perplexity", SHARED, value)
    report.measure("perplexity ratio", SHARED, value / full)
    report.measure("cache size", SHARED, cache_bytes(shared.config, length) / MIB)
    return (
        f"Where texts are {STREAM} times as long as the cache, perplexity is"
        f" {found[SINKS, smallest]:.1f} with the first {sinks} tokens kept,"
        f" {found[HEAVY, smallest]:.1f} with heavy hitters, {found[RECENT, smallest]:.0f} with the"
        f" latest only and {again:.1f} if the window is read again"
    )


def report_kept(
    variant: str, perplexity: float, size: float, full: float, report: Report, **settings: int
) -> None:
    """Report what a method predicts and holds."""
    report.measure("perplexity", variant, perplexity, **settings)
    report.measure("perplexity ratio", variant, perplexity / full, **settings)
    report.measure("cache size", variant, size / MIB, **settings)
    report.point("perplexity by cache size", variant, size / MIB, perplexity)


def cache_bytes(config: Config, tokens: int, budget: int | None = None) -> float:
    """Return the bytes of keys and values of one text."""
    return kv_cache_bytes(
        layers=config.layers,
        kv_heads=config.key_value_heads,
        head_dim=config.width // config.heads,
        sequences=1,
        tokens=tokens,
        number_bytes=FLOAT32_BYTES,
        window=budget,
    )


def perplexity(model: LanguageModel, texts: Tensor, hidden: Callable[[Tensor], Tensor]) -> float:
    """Return that of the last quarter of each text (count, length), read by `hidden`."""
    quarter = texts.shape[1] // 4
    losses = [
        F.cross_entropy(model.logits(hidden(one[None, :-1])[0, -quarter:]), one[-quarter:]).item()
        for one in texts
    ]
    return math.exp(statistics.mean(losses))


def recomputed_perplexity(model: LanguageModel, texts: Tensor, budget: int) -> float:
    """Return that of the last quarter of each text, of the `budget` tokens before each token."""
    quarter = texts.shape[1] // 4
    losses = []
    for one in texts:
        windows = one[-quarter - budget : -1].unfold(0, budget, 1)
        parts = windows.split(max(1, WINDOWS_TOKENS // budget))
        logits = torch.cat([model.logits(model.hidden(part)[:, -1]) for part in parts])
        losses.append(F.cross_entropy(logits, one[-quarter:]).item())
    return math.exp(statistics.mean(losses))


def time_windows(
    model: LanguageModel,
    p: AttentionApproximationParameters,
    setup: Setup,
    report: Report,
    stage: Stage,
) -> str:
    """Report the time of a token by window; return the rest of the sentence."""
    windows = lengths(SMALLEST_WINDOW, p.largest_window, 2)
    tokens = some_tokens(model, 1, windows[-1], setup)
    medians: dict[str, float] = {}
    for done, window in enumerate(windows):
        stage.at(done / len(windows) / 2, f"windows of {window} tokens")
        steps = {
            RECOMPUTED: speed.recomputed(model, tokens[:, :window]),
            FULL_CACHE: speed.full(model, tokens[:, :1], window),
            SINKS: speed.sinks(model, tokens[:, :1], window, p.sinks),
            HEAVY: speed.heavy_hitters(model, tokens[:, :1], window),
        }
        taken = alternately(steps, p.rounds, setup.device)
        for variant, times in taken.items():
            medians[variant] = 1000 * statistics.median(times)
            report.measure_time("time per token", variant, times, budget=window)
            report.point("time per token by window", variant, window, medians[variant])
        for variant, speed_up in ratios(taken, to=RECOMPUTED).items():
            report.measure("speed-up", variant, speed_up, budget=window)
    return (
        f", which for {windows[-1]} tokens takes {medians[RECOMPUTED]:.0f} ms a token and not"
        f" {medians[SINKS]:.0f}."
    )


def time_batches(
    model: LanguageModel, p: AttentionApproximationParameters, setup: Setup, report: Report
) -> None:
    """Report the time of a step with a fifth of the cache, at the same batch and the same bytes."""
    budget, more = kept(p.context), larger_batch(p.context, p.sequences)
    tokens = some_tokens(model, more, 1, setup)
    few = tokens[: p.sequences]
    steps = {
        FULL_CACHE: speed.full(model, few, p.context),
        HEAVY: speed.heavy_hitters(model, few, budget),
        f"{HEAVY}, more": speed.heavy_hitters(model, tokens, budget),
    }
    taken = alternately(steps, p.rounds, setup.device)
    measured = (
        (FULL_CACHE, taken[FULL_CACHE], p.context, p.sequences),
        (HEAVY, taken[HEAVY], budget, p.sequences),
        (HEAVY, taken[f"{HEAVY}, more"], budget, more),
    )
    for variant, times, held_tokens, sequences in measured:
        at = {"budget": held_tokens, "sequences": sequences}
        report.measure_time("time per token", variant, times, **at)
        report.measure("tokens per second", variant, [sequences / t for t in times], **at)


def some_tokens(model: LanguageModel, sequences: int, length: int, setup: Setup) -> Tensor:
    """Return random tokens (B, T)."""
    generator = torch.Generator().manual_seed(setup.seed)
    shape = (sequences, length)
    tokens = torch.randint(model.config.vocabulary, shape, generator=generator)
    return tokens.to(setup.device)


def merge_heads(
    corpus: text.Corpus,
    p: AttentionApproximationParameters,
    setup: Setup,
    report: Report,
    stage: Stage,
) -> str:
    """Report what merging the heads of a trained model costs and what a few steps make up for.

    Returns a sentence about it.
    """
    generator = torch.Generator().manual_seed(setup.seed)
    tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
    windows, evaluation = (
        text.windows(documents, tokenizer, TRAINED_WINDOW).to(setup.device)
        for documents in (corpus.calibration, corpus.evaluation)
    )
    evaluation = text.spaced(evaluation, min(EVALUATED, len(evaluation)))
    choosing, evaluation = evaluation[::2], evaluation[1::2]
    model = shapes.small(tokenizer.get_vocab_size(), p.width, p.layers, generator, setup.device)

    def observe(step: int, loss: float) -> None:
        if step % max(1, p.steps // 20) == 0:
            stage.at(0.7 * step / p.steps, f"step {step} of {p.steps}, loss {loss:.2f}")

    grouped.train(model, windows, loop.Schedule(p.steps), generator, observe)
    heads = {MULTI_HEAD: p.width // shapes.HEAD_WIDTH, SHARED: 1}
    heads[GROUPED] = heads[MULTI_HEAD] // GROUP
    extra = max(1, round(EXTRA * p.steps))
    before: dict[str, float] = {}
    after: dict[str, float] = {}
    for done, (variant, number) in enumerate(heads.items()):
        stage.at(0.7 + 0.1 * done, f"{variant}, {extra} steps more")
        changed = grouped.merged(model, number)
        again = grouped.trained_on(changed, windows, extra, setup.seed + 1, choosing)
        before[variant] = grouped.loss(changed, evaluation)
        after[variant] = grouped.loss(again, evaluation)
        report.measure("loss", variant, before[variant], when=BEFORE)
        report.measure("loss", variant, after[variant], when=AFTER)
    closed: dict[str, float] = {}
    for variant in (GROUPED, SHARED):
        opened = before[variant] - before[MULTI_HEAD]
        left = after[variant] - after[MULTI_HEAD]
        closed[variant] = 100 * (1 - left / opened)
        report.measure("gap closed", variant, closed[variant])
    return (
        f" Merging the {heads[MULTI_HEAD]} heads of a trained model into {heads[GROUPED]} raises"
        f" its loss from {before[MULTI_HEAD]:.2f} to {before[GROUPED]:.2f}; training it"
        f" {extra} steps more closes {closed[GROUPED]:.0f} % of that gap."
    )


def split_cache(most: int, seed: int, report: Report) -> None:
    """Report what each of several ranks holds, counted, and each of many, by the formula."""
    errors = {BY_HEADS: 0.0, BY_BATCH: 0.0}
    for ranks in lengths(2, most, 2):
        found = on_ranks(ranks, split.on_rank, seed)
        for variant, error in errors.items():
            shares = [one[variant] for one in found]
            largest = max(share.bytes_per_token for share in shares)
            report.measure("cache per device and token", variant, largest, ranks=ranks)
            errors[variant] = max(error, *(share.error for share in shares))
    for variant, error in errors.items():
        report.measure("equality error", variant, error)
    shape = {BY_HEADS: (CHIPS_HEADS, CHIPS_WIDTH), BY_BATCH: (1, CHIPS_SHARED_WIDTH)}
    for variant, (heads, width) in shape.items():
        by_formula = held_by_formula(heads, width, CHIPS)
        report.measure("cache per device and token", variant, by_formula, ranks=CHIPS)
