"""Trains the model that the study then compresses."""

from collections.abc import Callable

import torch
from torch import Tensor

from casestudies.lab.studies.qmoe.model import SwitchModel
from casestudies.lab.train import loop

EVENNESS = 0.01  # weight of the experts' unevenness in what is minimized


def train(
    model: SwitchModel,
    windows: Tensor,
    steps: int,
    generator: torch.Generator,
    observe: Callable[[int, float], None],
) -> None:
    """Train on batches drawn from `windows` (count, length); `observe` each step and its loss."""

    def loss_of(batch: Tensor) -> loop.Loss:
        logits, unevenness = model(batch[:, :-1])
        loss = loop.token_loss(logits, batch)
        return loop.Loss(loss, EVENNESS * unevenness)

    batches = loop.drawn(windows, generator)
    loop.train(model.parameters(), loss_of, batches, loop.Schedule(steps), observe)
