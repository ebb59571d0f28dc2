"""Trains the models on the same batches, and a smaller mixture by what a larger one says."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.mixture_of_experts.model import mixtures, unevenness
from casestudies.lab.train import loop

PEAK_RATE = 6e-3  # of all models: at 2e-3 the dense one learnt far less in as many steps
EVENNESS = 0.01  # weight of each layer's balance loss, Switch's
TAUGHT = 0.6  # share of the steps in which a teacher is heard (DeepSpeed-MoE, section 4.2.1)
AT_ONCE = 32  # windows that are evaluated together


@dataclass(frozen=True)
class Teaching:
    """What is learnt besides the tokens: to route evenly, and what a teacher says, if any."""

    evenness: float = EVENNESS
    teacher: LanguageModel | None = None


def train(
    model: LanguageModel,
    batches: Iterable[Tensor],
    schedule: loop.Schedule,
    teaching: Teaching,
    observe: Callable[[int, float], None],
) -> None:
    """Train on batches (B, T); a teacher is heard in the first part of the steps."""
    done = 0

    def loss_of(batch: Tensor) -> loop.Loss:
        nonlocal done
        logits = model(batch[:, :-1])
        penalty = teaching.evenness * len(mixtures(model)) * unevenness(model)
        if teaching.teacher and done < TAUGHT * schedule.steps:
            with torch.no_grad():
                said = teaching.teacher(batch[:, :-1])
            penalty = penalty + apart(said, logits)
        done += 1
        return loop.Loss(loop.token_loss(logits, batch), penalty)

    loop.train(model.parameters(), loss_of, batches, schedule, observe)
    model.eval()


def apart(said: Tensor, ours: Tensor) -> Tensor:
    """Return the mean divergence, in nats a token, of logits (B, T, V) from a teacher's."""
    theirs, own = (logits.flatten(0, 1).log_softmax(-1) for logits in (said, ours))
    return F.kl_div(own, theirs, reduction="batchmean", log_target=True)


@torch.inference_mode()
def losses(model: LanguageModel, windows: Tensor) -> Tensor:
    """Return the mean negative log-likelihood, in nats, of each window (count, T)."""
    found = []
    for batch in windows.split(AT_ONCE):
        logits = model(batch[:, :-1])
        loss = F.cross_entropy(logits.transpose(1, 2), batch[:, 1:], reduction="none")
        found.append(loss.mean(1))
    return torch.cat(found)
