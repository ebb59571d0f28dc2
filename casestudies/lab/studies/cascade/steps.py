"""The steps of two cascades: a small model before the large one, and the large one's own middle.

Shapes in comments: B texts, T tokens, C width, V tokens of the large model, K those of the small.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.train import loop

KNOWN = 4096  # tokens that the small model can say: the most frequent of its text
RIDGE = 0.01  # of the mean of the diagonal


class Answer(NamedTuple):
    """The likeliest next tokens and their probabilities, each (B, T) or (B)."""

    token: Tensor
    confidence: Tensor


class Steps(Protocol):
    """What asks two models in turn what follows each of the tokens (B, T) from `first` on."""

    def ask_first(self, tokens: Tensor, first: int) -> tuple[Answer, Tensor]:
        """Return the cheap answer, and what the last step may begin with."""

    def ask_last(self, tokens: Tensor, first: int, begun: Tensor) -> Answer:
        """Return the large model's answer."""


def answered(steps: Steps, tokens: Tensor, threshold: float) -> tuple[Answer, bool]:
    """Return what a cascade says to follow one text (1, T), and whether the first step said it."""
    last = tokens.shape[1] - 1
    answer, begun = steps.ask_first(tokens, last)
    if answer.confidence.item() > threshold:
        return answer, True
    return steps.ask_last(tokens, last, begun), False


def likeliest(logits: Tensor) -> Answer:
    """Return the likeliest token of logits (B, T, V) and its probability."""
    confidence, token = logits.float().softmax(-1).max(-1)
    return Answer(token, confidence)


def through(model: LanguageModel, hidden: Tensor, begin: int, end: int) -> Tensor:
    """Return hidden (B, T, C) after the blocks from `begin` up to `end`."""
    blocks = cast(Sequence[Block], model.blocks)
    place = blocks[0].place(hidden)
    for block in blocks[begin:end]:
        hidden = block(hidden, place)
    return hidden


def ask(model: LanguageModel, tokens: Tensor, first: int) -> Answer:
    """Return what the large model by itself says to follow each token from `first` on."""
    return likeliest(model.logits(model.hidden(tokens)[:, first:]))


@dataclass(frozen=True)
class Small:
    """A small model that knows only some tokens of the large one and says no others."""

    model: LanguageModel  # of K + 1 tokens, the last for all that it does not know
    known: Tensor  # K, as the large model numbers them
    own: Tensor  # V, as this one numbers them

    def ask(self, tokens: Tensor, first: int) -> Answer:
        """Return what it says to follow each token from `first` on, as the large one numbers it."""
        hidden = self.model.hidden(self.own[tokens])[:, first:]
        # What it does not know has a probability too, though it is never said.
        probabilities = self.model.logits(hidden).float().softmax(-1)[..., :-1]
        confidence, token = probabilities.max(-1)
        return Answer(self.known[token], confidence)


class SmallToLarge:
    """A small model answers first; the large one begins anew where it is asked."""

    def __init__(self, small: Small, large: LanguageModel) -> None:
        self._small, self._large = small, large

    def ask_first(self, tokens: Tensor, first: int) -> tuple[Answer, Tensor]:
        """Return the small model's answer, and nothing to begin with."""
        return self._small.ask(tokens, first), tokens

    def ask_last(self, tokens: Tensor, first: int, begun: Tensor) -> Answer:
        """Return the large model's answer."""
        return ask(self._large, tokens, first)


class EarlyExit:
    """The large model answers after some of its blocks; the rest goes on from there."""

    def __init__(self, large: LanguageModel, blocks: int, shortcut: Tensor) -> None:
        self._large, self._blocks, self._shortcut = large, blocks, shortcut

    def ask_first(self, tokens: Tensor, first: int) -> tuple[Answer, Tensor]:
        """Return what the exit says, and what the next block reads."""
        hidden = through(self._large, self._large.embedding(tokens), 0, self._blocks)
        read = _normed(hidden[:, first:]) @ self._shortcut
        return likeliest(self._large.logits(read)), hidden

    def ask_last(self, tokens: Tensor, first: int, begun: Tensor) -> Answer:
        """Return what the remaining blocks make of it."""
        hidden = through(self._large, begun, self._blocks, len(self._large.blocks))
        return likeliest(self._large.logits(self._large.norm(hidden[:, first:])))


@torch.inference_mode()
def shortcut(model: LanguageModel, blocks: int, windows: Tensor) -> Tensor:
    """Return the matrix (C, C) from what so many blocks leave to what the head reads.

    It is fitted by least squares to the windows (count, T), whose next tokens it never sees, so
    that the exit learns to say what the whole model says (Din et al., 2023).
    """
    gram = cross = torch.zeros((), device=windows.device, dtype=torch.float64)
    for window in windows:
        left = through(model, model.embedding(window[None]), 0, blocks)
        read = model.norm(through(model, left, blocks, len(model.blocks)))[0].double()
        x = _normed(left)[0].double()
        gram, cross = gram + x.T @ x, cross + x.T @ read
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    return torch.linalg.solve(gram, cross).float()


def train_small(
    windows: Tensor,
    shape: tuple[int, int, int],
    steps: int,
    generator: torch.Generator,
    observe: Callable[[int, float], None],
) -> Small:
    """Return a model trained on windows (count, T) of the large one's tokens.

    `shape` is the large one's vocabulary, and the width and the number of blocks of this one.
    """
    vocabulary, width, layers = shape
    found = windows.flatten().bincount(minlength=vocabulary)
    known = found.topk(min(KNOWN, int((found > 0).sum()))).indices
    own = torch.full((vocabulary,), len(known), device=windows.device)
    own[known] = torch.arange(len(known), device=windows.device)
    model = shapes.small(len(known) + 1, width, layers, generator, windows.device.type)

    def loss_of(batch: Tensor) -> loop.Loss:
        return loop.Loss(loop.next_token_loss(model, batch))

    batches = loop.drawn(own[windows], generator)
    loop.train(model.parameters(), loss_of, batches, loop.Schedule(steps), observe)
    return Small(model.requires_grad_(False).eval(), known, own)


def operations_of_blocks(model: LanguageModel, blocks: int, tokens: Tensor) -> Tensor:
    """Return the operations of so many blocks that read texts of these lengths (Q).

    Matrix products alone, a multiplication and an addition counted as two; causal masks spare
    nothing.
    """
    block = cast(Block, model.blocks[0])
    weights = sum(linear.weight.numel() for linear in block.linears().values())
    tokens = tokens.double()
    return blocks * (2 * weights * tokens + 4 * model.config.width * tokens**2)


def operations_of_head(model: LanguageModel) -> float:
    """Return the operations of one token's logits."""
    return 2.0 * model.config.width * model.config.vocabulary


def operations_of_shortcut(model: LanguageModel) -> float:
    """Return the operations of one token's way from the middle to the head, and of the head."""
    return 2.0 * model.config.width**2 + operations_of_head(model)


def _normed(hidden: Tensor) -> Tensor:
    return F.rms_norm(hidden, hidden.shape[-1:])
