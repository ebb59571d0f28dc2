"""What the block schedule gives, holds and takes, beside the model that stays on the device."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.generate.continuation import greedy, with_cache
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.measure.tensors import NO_CAP, Device, peak_bytes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.studies.offloading.about import HERE, LINK, ON_DEMAND, PREFETCH
from casestudies.lab.studies.offloading.carrying import link_of
from casestudies.lab.studies.offloading.schedule import BlockSchedule, Offloaded, OnDevice

MIB = 2**20


@dataclass(frozen=True)
class Place:
    """The device, and the bytes a second of the link to it, where that is emulated."""

    device: str
    rate: float

    def on_device(self, model: LanguageModel) -> OnDevice:
        """Return the model with all of it on an empty device."""
        return OnDevice(model, Device(self.device, NO_CAP))

    @contextmanager
    def offloaded(self, model: LanguageModel, *, prefetch: bool) -> Iterator[Offloaded]:
        """Return the model with its blocks on the host, beside an empty device."""
        device, link = Device(self.device, NO_CAP), link_of(self.device, self.rate)
        try:
            yield Offloaded(model, device, link, prefetch=prefetch)
        finally:
            link.close()


def compare(
    model: LanguageModel, prompts: Sequence[Tensor], tokens: int, place: Place, report: Report
) -> float:
    """Report how far logits are apart, and what is held and carried.

    Returns the largest difference of a logit with blocks on the host from one on the device.
    """
    expected = account(HERE, place.on_device(model), prompts, tokens, report)
    apart = difference(expected, stock(model, prompts, tokens, place.device))
    report.measure("equality error", HERE, apart)
    apart = 0.0
    for variant in (ON_DEMAND, PREFETCH):
        with place.offloaded(model, prefetch=variant == PREFETCH) as schedule:
            found = account(variant, schedule, prompts, tokens, report)
            chosen = sum(map(len, prompts)) * tokens
            report.measure("carried for a token", variant, schedule.link.bytes / chosen / MIB)
        report.measure("equality error", variant, difference(found, expected))
        apart = max(apart, difference(found, expected))
    return apart


def account(
    variant: str, schedule: BlockSchedule, prompts: Sequence[Tensor], tokens: int, report: Report
) -> list[Tensor]:
    """Return the logits (K, B, vocabulary) of each step, and report what the device holds."""
    schedule.begin(len(prompts), len(prompts[0]), prompts[0].shape[1] + tokens)
    read, found = list(prompts), []
    for _ in range(tokens):
        found.append(torch.stack(schedule.step(read)))
        read = [greedy(logits) for logits in found[-1]]
    report.measure("device memory", variant, schedule.device.peak / MIB)
    return found


def difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference of a logit."""
    return max((a - b).abs().max().item() for a, b in zip(found, expected, strict=True))


def stock(
    model: LanguageModel, prompts: Sequence[Tensor], tokens: int, device: str
) -> list[Tensor]:
    """Return the logits (K, B, vocabulary) of each step by the model as it is, on the device."""
    model = model.to(device)
    caches = [with_cache(model, prompt, tokens) for prompt in prompts]
    read, found = list(prompts), []
    with torch.inference_mode():
        for _ in range(tokens):
            last = [model.hidden(*pair)[:, -1:] for pair in zip(read, caches, strict=True)]
            found.append(torch.stack([model.logits(hidden)[:, 0] for hidden in last]))
            read = [greedy(logits) for logits in found[-1]]
    model.to("cpu")
    return found


@dataclass(frozen=True)
class Times:
    """Milliseconds of a step, medians of rounds, and the share of the shorter part hidden."""

    here: float
    prefetch: float
    hidden: float


def time_steps(
    model: LanguageModel, prompts: Sequence[Tensor], rounds: int, place: Place, report: Report
) -> dict[int, Times]:
    """Report the time of a step that reads one token of each sequence; return it by batches."""
    here = place.on_device(model)
    with place.offloaded(model, prefetch=True) as away:
        return {
            number: time_a_step(here, away, prompts[:number], rounds, report)
            for number in lengths(1, len(prompts), 2)
        }


def time_a_step(
    here: OnDevice, away: Offloaded, batches: Sequence[Tensor], rounds: int, report: Report
) -> Times:
    """Report and return the time of a step after these texts."""
    context, new = batches[0].shape[1], [batch[:, -1:] for batch in batches]
    for schedule in (here, away):
        schedule.begin(len(batches), len(batches[0]), context + 1)
        schedule.step(batches)
    runs: dict[str, Callable[[], object]] = {
        HERE: lambda: step(here, context, new),
        ON_DEMAND: lambda: step(away, context, new),
        PREFETCH: lambda: step(away, context, new, prefetch=True),
        LINK: lambda: away.carry_all(slice(context, context + 1)),
    }
    taken = alternately(runs, rounds, batches[0].device.type)
    return report_times(taken, sum(map(len, batches)), len(batches), report)


def step(
    schedule: BlockSchedule, context: int, new: Sequence[Tensor], *, prefetch: bool = False
) -> None:
    """Read one token of each sequence after a context of so many."""
    schedule.prefetch = prefetch
    schedule.rewind(context)
    schedule.step(new)


def report_times(
    taken: dict[str, list[float]], sequences: int, number: int, report: Report
) -> Times:
    """Report and return how long a step takes, and how much of carrying it hides."""
    medians = {variant: statistics.median(times) for variant, times in taken.items()}
    for variant, times in taken.items():
        report.measure_time("step time", variant, times, batches=number)
        if variant != LINK:
            rates = [sequences / t for t in times]
            report.measure("tokens per second", variant, rates, batches=number)
            report.point("tokens per second by batches", variant, number, statistics.median(rates))
    for variant, speed in ratios(taken, to=ON_DEMAND).items():
        if variant != LINK:
            report.measure("speed-up", variant, speed, batches=number)
    hidden = [
        (link + here - both) / min(link, here)
        for link, here, both in zip(taken[LINK], taken[HERE], taken[PREFETCH], strict=True)
    ]
    report.measure("time hidden", PREFETCH, hidden, batches=number)
    return Times(1000 * medians[HERE], 1000 * medians[PREFETCH], statistics.median(hidden))


def deep(model: LanguageModel, tokens: Tensor, place: Place, report: Report) -> float:
    """Report what a deep model takes that is streamed block by block, and return how much less.

    The most that operations hold at one time is added to the most that the device is lent, although
    they need not coincide.
    """
    expected = stock(model, [tokens], 1, place.device)
    with place.offloaded(model, prefetch=True) as schedule:
        schedule.begin(1, len(tokens), tokens.shape[1])
        found: list[Tensor] = []
        operations = peak_bytes(lambda: found.extend(schedule.step([tokens])), place.device)
        held = schedule.device.peak + (operations if place.device == "cpu" else 0)
    weights = sum(weight.nbytes for weight in model.parameters())
    blocks = len(model.blocks)
    apart = difference([torch.stack(found)], expected)
    report.measure("equality error", PREFETCH, apart, blocks=blocks)
    report.measure("device memory", PREFETCH, held / MIB, blocks=blocks)
    report.measure("weights over device memory", PREFETCH, weights / held, blocks=blocks)
    return weights / held
