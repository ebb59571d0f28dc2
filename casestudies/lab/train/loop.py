"""The training loop that studies share."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.train.adamw import BETAS, DECAY

PEAK_RATE = 2e-3
BATCH = 16  # windows a step
WARM_UP, LAST_RATE = 0.1, 0.1  # shares of the steps and of the peak
LONGEST_GRADIENT = 1.0
AT_ONCE = 32  # windows whose loss is measured together
RATES_APART = 3.0  # of learning rates that are tried


class Loss(NamedTuple):
    """What a batch costs, and what is minimized with it; both scalars."""

    of_tokens: Tensor
    penalty: Tensor | float = 0.0


@dataclass(frozen=True)
class Schedule:
    """How many steps, and the highest rate: it goes up in a line, then down a cosine."""

    steps: int
    peak_rate: float = PEAK_RATE

    def rate(self, step: int) -> float:
        """Return the rate of a step, counted from 0, as a share of the highest."""
        done = step / self.steps
        if done < WARM_UP:
            return (done + 0.01) / (WARM_UP + 0.01)
        fall = (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP))) / 2
        return LAST_RATE + (1 - LAST_RATE) * fall


def train(
    weights: Iterable[nn.Parameter],
    loss_of: Callable[[Tensor], Loss],
    batches: Iterable[Tensor],
    schedule: Schedule,
    observe: Callable[[int, float], None],
) -> None:
    """Train the weights by AdamW; `observe` each step, from 1 on, and its tokens' loss."""
    weights = list(weights)
    optimizer = torch.optim.AdamW(
        weights, schedule.peak_rate, betas=BETAS, weight_decay=DECAY, fused=True
    )
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule.rate)
    for step, batch in zip(range(schedule.steps), batches, strict=False):
        loss = loss_of(batch)
        (loss.of_tokens + loss.penalty).backward()
        nn.utils.clip_grad_norm_(weights, LONGEST_GRADIENT)
        optimizer.step()
        optimizer.zero_grad()
        rates.step()
        observe(step + 1, loss.of_tokens.item())


def token_loss(logits: Tensor, windows: Tensor) -> Tensor:
    """Return the mean negative log-likelihood, in nats, of each window's tokens after the first.

    `logits` (B, T - 1, vocabulary) are those of all but the last token of `windows` (B, T).
    """
    return F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())


def next_token_loss(model: nn.Module, windows: Tensor) -> Tensor:
    """Return `token_loss` of a model that gives logits for tokens, reading `windows` (B, T)."""
    return token_loss(model(windows[:, :-1]).float(), windows)


@torch.no_grad()
def mean_loss(model: nn.Module, windows: Tensor) -> float:
    """Return `next_token_loss` over all windows (count, length), AT_ONCE of them together."""
    parts = windows.split(AT_ONCE)
    return sum(len(part) * next_token_loss(model, part).item() for part in parts) / len(windows)


def rates_around(middle: float, count: int) -> list[float]:
    """Return so many rates from the lowest on, RATES_APART times each other, with this one."""
    return [middle * RATES_APART ** (n - count // 2) for n in range(count)]


def drawn(windows: Tensor, generator: torch.Generator, size: int = BATCH) -> Iterator[Tensor]:
    """Yield batches (size, length) drawn from `windows` (count, length), without end."""
    while True:
        rows = torch.randint(len(windows), (size,), generator=generator)
        yield windows[rows.to(windows.device)]
