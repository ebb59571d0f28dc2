"""Requests and when they come: seeded traces, so that everything is served the same ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

Pattern = Literal["poisson", "bursts"]
Lengths = Literal["uniform", "heavy tail"]
BURST = 8  # requests that come together
TAIL = 1.1  # exponent of the Pareto distribution: the smaller, the more of the tokens are in few


@dataclass(frozen=True, eq=False)
class Request:
    """A prompt (T), how many tokens are to be added to it, and when it comes, in seconds.

    `task` says for which of several adapters it is, where a model has them.
    """

    prompt: Tensor
    tokens: int
    arrival: float = 0.0
    task: int = 0


def arrivals(count: int, pattern: Pattern, generator: torch.Generator) -> list[float]:
    """Return when so many requests come if one comes each unit of time on average.

    They come one by one with exponential gaps, or in bursts of eight with gaps eight times as long.
    """
    together = BURST if pattern == "bursts" else 1
    moments = -(-count // together)
    gaps = torch.empty(moments, dtype=torch.float64).exponential_(1, generator=generator) * together
    return gaps.cumsum(0).repeat_interleave(together)[:count].tolist()


def lengths(
    count: int, shortest: int, longest: int, kind: Lengths, generator: torch.Generator
) -> list[int]:
    """Return so many lengths, each of `shortest` to `longest` tokens.

    All are equally likely, or they follow a Pareto distribution that is cut off at the longest.
    """
    shares = torch.rand(count, dtype=torch.float64, generator=generator)
    if kind == "uniform":
        return (shortest + (shares * (longest + 1 - shortest)).long()).tolist()
    cut = 1 - (shortest / (longest + 1)) ** TAIL
    drawn = shortest / (1 - shares * cut) ** (1 / TAIL)
    return drawn.long().clamp(shortest, longest).tolist()


def at_rate(requests: Sequence[Request], moments: Sequence[float], rate: float) -> list[Request]:
    """Return the requests as they come at so many a second, `moments` counted in units."""
    return [
        replace(request, arrival=moment / rate)
        for request, moment in zip(requests, moments, strict=True)
    ]
