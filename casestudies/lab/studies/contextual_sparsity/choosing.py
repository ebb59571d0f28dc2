"""Which neurons and heads a token needs: known, guessed by small predictors, or not asked at all.

Deja Vu (Liu et al., 2023, sections 4.1 to 4.3): for every layer a small network of low rank,
trained on the model's own activations, says which units speak for a token. What it reads is the sum
that enters a block some blocks before, so that it can be asked while those compute.

Shapes in comments: B sequences, T tokens, C width, n units (neurons or heads) of a block.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.contextual_sparsity.model import blocks_of, lie_by_columns
from casestudies.lab.train import loop

RATE, TOKENS_A_STEP = 5e-3, 256

# Returns what speaks for each unit (..., n) of a layer, from what a predictor may see (..., C) and
# from what each unit gives (..., n), which only an oracle may use.
Scores = Callable[[int, Tensor, Tensor], Tensor]


class Kept(NamedTuple):
    """By what units are chosen for a token, and how many of each layer."""

    scores: Scores
    counts: Sequence[int]


class Predictor(nn.Module):
    """Two matrices of low rank between them and a bias: (..., C) in, a score for each unit out."""

    def __init__(
        self, width: int, units: int, rank: int, often: Tensor, generator: torch.Generator
    ) -> None:
        super().__init__()
        rank = min(rank, units)
        self.first, self.second = nn.Linear(width, rank, bias=False), nn.Linear(rank, units)
        with torch.no_grad():
            self.first.weight.normal_(std=width**-0.5, generator=generator)
            self.second.weight.zero_()
            self.second.bias.copy_(often.clamp(1e-3, 1 - 1e-3).logit())

    def forward(self, seen: Tensor) -> Tensor:
        """Return the score of each unit (..., n), as a logit."""
        found: Tensor = self.second(self.first(F.rms_norm(seen, seen.shape[-1:])))
        return found

    @property
    def numbers(self) -> int:
        """Return the numbers of its matrices, all of which are read for a token."""
        return self.first.weight.numel() + self.second.weight.numel()


def fitted(seen: Tensor, wanted: Tensor, rank: int, steps: int, seed: int) -> Predictor:
    """Return a predictor of `wanted` (tokens, n), each from 0 to 1, from `seen` (tokens, C)."""
    generator = torch.Generator().manual_seed(seed)
    width, units = seen.shape[1], wanted.shape[1]
    often = wanted.float().mean(0)
    predictor = Predictor(width, units, rank, often.cpu(), generator).to(seen.device)

    def loss_of(rows: Tensor) -> loop.Loss:
        found = predictor(seen[rows])
        return loop.Loss(F.binary_cross_entropy_with_logits(found, wanted[rows].float()))

    def drawn() -> Iterator[Tensor]:
        while True:
            yield torch.randint(len(seen), (TOKENS_A_STEP,), generator=generator).to(seen.device)

    schedule = loop.Schedule(steps, RATE)
    loop.train(predictor.parameters(), loss_of, drawn(), schedule, lambda step, loss: None)
    lie_by_columns(predictor.second)
    return predictor.requires_grad_(False)


def top(scores: Tensor, count: int) -> Tensor:
    """Return 1 for the `count` units with the highest scores (..., n), and 0 for the others."""
    places = scores.topk(count, sorted=False).indices
    return torch.zeros_like(scores).scatter_(-1, places, 1)


@torch.inference_mode()
def read(
    model: LanguageModel,
    tokens: Tensor,
    ahead: int,
    neurons: Kept | None = None,
    heads: Kept | None = None,
) -> Tensor:
    """Return the logits (B, T, vocabulary) where units that are not chosen give nothing.

    Those of a block are chosen by what entered the block that is `ahead` blocks before it.
    """
    hidden = model.embedding(tokens)
    blocks = blocks_of(model)
    place = blocks[0].place(hidden)
    entered: list[Tensor] = []
    for layer, block in enumerate(blocks):
        entered.append(hidden)
        seen = entered[max(0, layer - ahead)]
        mixed = block.mixed(hidden, place).unflatten(-1, (-1, block.head_width))  # B, T, H, D
        if heads:
            scores = heads.scores(layer, seen, _lengths(mixed, block.output.weight))
            mixed = mixed * top(scores, heads.counts[layer])[..., None]
        hidden = hidden + block.output(mixed.flatten(2))
        said = block.active(hidden)
        if neurons:
            given = said * block.down.weight.norm(dim=0)
            said = said * top(neurons.scores(layer, seen, given), neurons.counts[layer])
        hidden = hidden + block.down(said)
    return model.logits(model.norm(hidden))


def _lengths(mixed: Tensor, output: Tensor) -> Tensor:
    """Return how long what each head adds is (B, T, H), from what it mixes (B, T, H, D)."""
    each = output.unflatten(1, mixed.shape[2:])  # C, H, D
    gram = torch.einsum("chd,che->hde", each, each)
    return torch.einsum("bthd,hde,bthe->bth", mixed, gram, mixed).clamp(min=0).sqrt()


class Recorder:
    """What predictors saw and what units gave, by layer, of all tokens that were read with it."""

    def __init__(self, layers: int) -> None:
        self._seen: list[list[Tensor]] = [[] for _ in range(layers)]
        self._given: list[list[Tensor]] = [[] for _ in range(layers)]

    def __call__(self, layer: int, seen: Tensor, given: Tensor) -> Tensor:
        """Keep them; all units are as good, since all are to stay."""
        self._seen[layer].append(seen.flatten(0, 1))
        self._given[layer].append(given.flatten(0, 1))
        return given

    def seen(self, layer: int) -> Tensor:
        """Return what the predictor of a layer saw (tokens, C)."""
        return torch.cat(self._seen[layer])

    def given(self, layer: int) -> Tensor:
        """Return what the units of a layer gave (tokens, n), none negative."""
        return torch.cat(self._given[layer])


def oracle(layer: int, seen: Tensor, given: Tensor) -> Tensor:
    """Know what each unit gives."""
    return given


def predicted(predictors: Sequence[Predictor]) -> Scores:
    """Ask the predictor of the layer."""
    return lambda layer, seen, given: predictors[layer](seen)


def static(means: Sequence[Tensor]) -> Scores:
    """Choose the same units for every token: those that give most on average, (n) by layer."""
    return lambda layer, seen, given: means[layer].expand_as(given)


def at_random(generator: torch.Generator) -> Scores:
    """Draw units anew for every token."""
    return lambda layer, seen, given: torch.rand(given.shape, generator=generator).to(given)
