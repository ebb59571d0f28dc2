"""A student of half its teacher's blocks, and the loss by which it learns from it.

DistilBERT (Sanh et al., 2019), sections 2 and 3. Shapes in comments: B sequences, T tokens,
C width, V vocabulary.
"""

import copy
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.train import loop


def kept_blocks(layers: int, kept: int) -> list[int]:
    """Return which blocks a student keeps, the first and the last among them.

    Half of twelve are 0, 2, 4, 7, 9 and 11, which DistilBERT begins from.
    """
    last = layers - 1
    # In whole numbers, since a fraction of exactly a half may round either way.
    return [(2 * n * last + kept - 1) // (2 * (kept - 1)) for n in range(kept)]


def student_of(teacher: LanguageModel) -> LanguageModel:
    """Return a copy of the teacher with half of its blocks, ready to be trained."""
    student = copy.deepcopy(teacher)
    kept = kept_blocks(teacher.config.layers, teacher.config.layers // 2)
    student.blocks = nn.ModuleList(student.blocks[n] for n in kept)
    student.config = replace(teacher.config, layers=len(kept))
    return student.requires_grad_(True)


@torch.no_grad()
def with_blocks_silenced(teacher: LanguageModel) -> LanguageModel:
    """Return a copy of the teacher in which the blocks that its student lacks add zero."""
    silenced = copy.deepcopy(teacher)
    kept = kept_blocks(teacher.config.layers, teacher.config.layers // 2)
    for number, block in enumerate(silenced.blocks):
        if number not in kept:
            block.output.weight.zero_()  # type: ignore[union-attr, operator]
            block.down.weight.zero_()  # type: ignore[union-attr, operator]
    return silenced


@dataclass(frozen=True)
class Objective:
    """The weights of the three losses, whatever their sum, and the temperature of the soft one.

    The defaults are those that the publication's code trains with (alpha_ce, alpha_mlm, alpha_cos).
    """

    soft: float = 5.0
    hard: float = 2.0
    hidden: float = 1.0
    temperature: float = 2.0


def distillation_loss(
    student: LanguageModel, teacher: LanguageModel, windows: Tensor, objective: Objective
) -> loop.Loss:
    """Return the loss of the student on windows (B, T + 1); the teacher gets no gradient."""
    o = objective
    total = o.soft + o.hard + o.hidden
    hidden = student.hidden(windows[:, :-1])
    logits = student.logits(hidden)
    with torch.no_grad():
        taught = teacher.hidden(windows[:, :-1])
        aims = teacher.logits(taught)
    hard = loop.token_loss(logits, windows)
    learned = o.soft * soft_loss(logits, aims, o.temperature) + o.hidden * apart(hidden, taught)
    # Divided by their sum, so that gradients are clipped at the length of other trainings.
    rest = (learned + o.hard * hard) / total - hard
    return loop.Loss(hard, rest)


def soft_loss(logits: Tensor, aims: Tensor, temperature: float) -> Tensor:
    """Return T^2 times the mean divergence of softmax(logits / T) from softmax(aims / T), (…, V).

    It is the cross-entropy of section 2 without the teacher's own entropy, which no student can
    change: zero where both agree. T^2 keeps the size of its gradient (Hinton et al., 2015).
    """
    own = (logits / temperature).log_softmax(-1)
    taught = (aims / temperature).log_softmax(-1)
    divergence = (taught.exp() * (taught - own)).sum(-1)
    return temperature**2 * divergence.mean()


def apart(hidden: Tensor, taught: Tensor) -> Tensor:
    """Return the mean of 1 - cosine between hidden states (B, T, C) of student and teacher."""
    return (1 - F.cosine_similarity(hidden, taught, dim=-1)).mean()


def matching_gradient(logits: Tensor, aims: Tensor) -> Tensor:
    """Return the gradient of matching logits (tokens, V) by squares, their means taken off.

    It is that of soft_loss at an infinite temperature (Hinton et al., 2015, section 2.1).
    """
    difference = logits - aims
    return (difference - difference.mean(-1, keepdim=True)) / difference.numel()


def from_matching(logits: Tensor, aims: Tensor, temperature: float) -> float:
    """Return how far the gradient of soft_loss is from matching_gradient, as a share of it."""
    logits = logits.double().detach().requires_grad_()
    aims = aims.double()
    (found,) = torch.autograd.grad(soft_loss(logits, aims, temperature), logits)
    limit = matching_gradient(logits.detach(), aims)
    return ((found - limit).norm() / limit.norm()).item()
