"""Continues a text with and without a cache: same tokens, other times and bytes."""

import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.equations.inference_memory import cache_capacity, kv_bytes_per_token
from casestudies.lab.generate.continuation import continued, greedy, with_cache
from casestudies.lab.measure.cost import Measured
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.models import files
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.serving.alone import same_tokens
from casestudies.lab.studies.kv_cache.about import KeyValueCacheParameters

SHORTEST, GROWTH = 32, 4  # contexts at which a step is timed
MIB, KIB = 2**20, 2**10
FLOAT32_BYTES = 4


@dataclass(frozen=True)
class StepTime:
    """Milliseconds of a step both ways, medians of rounds, and how many times as fast it got."""

    with_cache: float
    without: float
    speed_up: float


def run(parameters: KeyValueCacheParameters, setup: Setup, report: Report) -> str:
    """Measure both ways; return the verdict. Raises ValueError if the text is too short."""
    with report.stage("reading the model and the text", 0.1):
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        report.precision = "float32"
        model = pretrained.model
        length = max(parameters.prompt, parameters.longest)
        windows = text.windows(corpus.evaluation, pretrained.tokenizer, length)
        windows = text.sample(windows, parameters.sequences, setup.seed).to(setup.device)
    with report.stage("adding tokens both ways", 0.45):
        same = add_tokens(model, windows[:, : parameters.prompt], parameters.tokens, report)
        per_token = count(model, parameters, report)
    with report.stage("timing a step as the text grows", 0.45) as stage:
        contexts = lengths(SHORTEST, parameters.longest, GROWTH)
        times: dict[int, StepTime] = {}
        for done, context in enumerate(contexts):
            stage.at(done / len(contexts), f"{context} tokens")
            times[context] = time_a_step(model, windows[:, :context], parameters.rounds, report)
    return verdict(same, per_token, times)


def add_tokens(model: LanguageModel, prompt: Tensor, tokens: int, report: Report) -> float:
    """Report how far both ways agree and what each holds; return the share of the same tokens."""
    added = {}
    for variant in ("no cache", "cache"):
        with Measured(prompt.device.type) as cost:
            cache = with_cache(model, prompt, tokens) if variant == "cache" else None
            added[variant] = torch.cat(list(continued(model, prompt, tokens, cache)), dim=1)
        report.measure("peak memory", variant, cost.peak_mib)
        if cache:
            report.measure("cache size", variant, cache.bytes / MIB)
    same, steps = agreement(added["no cache"], added["cache"])
    report.measure("same tokens", "cache", same)
    cache = with_cache(model, prompt, tokens)
    report.measure("equality error", "cache", largest_difference(model, prompt, steps, cache))
    return same


class Latest:
    """Chooses the likeliest token and keeps the logits which it chose by."""

    logits: Tensor

    def __call__(self, logits: Tensor) -> Tensor:
        """Return the likeliest tokens (B, 1)."""
        self.logits = logits
        return greedy(logits)


def largest_difference(
    model: LanguageModel, prompt: Tensor, steps: int, cache: KeyValueCache
) -> float:
    """Return the largest difference of a logit in so many steps with the cache and without."""
    without, with_it = Latest(), Latest()
    both = zip(
        continued(model, prompt, steps, None, without),
        continued(model, prompt, steps, cache, with_it),
        strict=True,
    )
    return max((without.logits - with_it.logits).abs().max().item() for _ in both)


def agreement(first: Tensor, second: Tensor) -> tuple[float, int]:
    """Return the share of tokens (B, T) that agree before the first that does not, and the steps.

    The steps are those whose logits compare: all sequences had read the same tokens before.
    """
    together = (first == second).cumprod(dim=1)
    steps = int(together.all(dim=0).sum())
    return together.float().mean().item(), min(steps + 1, first.shape[1])


def count(model: LanguageModel, parameters: KeyValueCacheParameters, report: Report) -> float:
    """Report what is read and kept; return the cache's bytes for each token."""
    config, p = model.config, parameters
    read = {
        "no cache": sum(p.prompt + step for step in range(p.tokens)),
        "cache": p.prompt + p.tokens - 1,
    }
    for variant, tokens in read.items():
        report.measure("tokens read", variant, tokens)
    heads = {"cache": config.key_value_heads, "cache of every head": config.heads}
    shape = {"layers": config.layers, "head_dim": config.width // config.heads}
    per_token = {
        variant: kv_bytes_per_token(**shape, kv_heads=number, number_bytes=FLOAT32_BYTES)
        for variant, number in heads.items()
    }
    weights = sum(w.nbytes for w in model.parameters())
    for variant, held in per_token.items():
        report.measure("cache per token", variant, held / KIB)
        room = cache_capacity(memory_bytes=weights, token_bytes=held)
        report.measure("tokens as large as the weights", variant, room)
    every = per_token["cache of every head"] * p.sequences * read["cache"]
    report.measure("cache size", "cache of every head", every / MIB)
    return per_token["cache"]


@torch.inference_mode()
def time_a_step(model: LanguageModel, context: Tensor, rounds: int, report: Report) -> StepTime:
    """Report and return the time of the step that reads the last token of the context (B, T)."""
    before, length = context[:, :-1], context.shape[1]
    cache = with_cache(model, context, 0)
    model.hidden(before, cache)

    def with_it() -> None:
        cache.rewind(length - 1)
        model.logits(model.hidden(context[:, -1:], cache))

    def without() -> None:
        model.logits(model.hidden(context)[:, -1:])

    taken = alternately({"no cache": without, "cache": with_it}, rounds, context.device.type)
    medians: dict[str, float] = {}
    for variant, times in taken.items():
        report.measure_time("time per token", variant, times, context=length)
        medians[variant] = 1000 * statistics.median(times)
        report.point("time per token by context", variant, length, medians[variant])
    speed = ratios(taken, to="no cache")["cache"]
    report.measure("speed-up", "cache", speed, context=length)
    return StepTime(medians["cache"], medians["no cache"], statistics.median(speed))


def verdict(same: float, per_token: float, times: dict[int, StepTime]) -> str:
    """Return a few sentences made of the run's own numbers."""
    longest = max(times)
    step = times[longest]
    said = same_tokens(same)
    return (
        f"{said} with and without a cache. After {longest} tokens a step takes"
        f" {step.with_cache:.0f} ms with it and {step.without:.0f} ms without:"
        f" {step.speed_up:.1f} x as fast, for {per_token / KIB:.1f} KiB a token."
    )
