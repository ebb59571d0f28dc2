"""What several continuations of a prompt share, and what is copied where they do not."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.paged import Blocks, PagedCache
from casestudies.lab.studies.paged_kv_cache.about import (
    BEAMS,
    BEAMS_COPIED,
    SAMPLES,
    SAMPLES_COPIED,
    PagedParameters,
)
from casestudies.lab.studies.paged_kv_cache.forks import Beams, Choice, Copied, continued, samples

COPIED = {SAMPLES: SAMPLES_COPIED, BEAMS: BEAMS_COPIED}


@dataclass(frozen=True)
class Forked:
    """What was said to continue the prompts, each (B, tokens), and the bytes copied for it.

    `saved` is how many blocks sharing saves, in percent, mean of all steps; 0 without blocks.
    """

    said: list[Tensor]
    copied_bytes: int
    saved: float = 0.0

    def agreement(self, other: "Forked") -> float:
        """Return the share of tokens that are the other's, up to the first that is not."""
        same = [
            (own == their).cumprod(dim=1).float().mean().item()
            for own, their in zip(self.said, other.said, strict=True)
        ]
        return statistics.mean(same)


@dataclass(frozen=True)
class Prompts:
    """Prompts (T) that are continued, each several times at once."""

    model: LanguageModel
    texts: Sequence[Tensor]
    p: PagedParameters
    block: int  # tokens
    seed: int

    def continued(self, variant: str) -> Forked:
        """Return how the prompts are continued in one of the four ways."""
        kind = SAMPLES if variant in (SAMPLES, SAMPLES_COPIED) else BEAMS
        return self._in_blocks(kind) if variant in COPIED else self._in_pieces(kind)

    def _in_pieces(self, kind: str) -> Forked:
        said, copied = list[Tensor](), 0
        for prompt, choose in zip(self.texts, self._choices(kind), strict=True):
            weights = self.model.embedding.weight
            room = len(prompt) + self.p.forked_tokens
            cache = Copied(self.model.config, 1, room, weights.device.type, weights.dtype)
            for step in continued(self.model, prompt, self.p.forked_tokens, choose, cache):
                copied += step.forked_bytes
            said.append(step.said)
        return Forked(said, copied)

    def _in_blocks(self, kind: str) -> Forked:
        weights = self.model.embedding.weight
        longest = max(map(len, self.texts)) + self.p.forked_tokens
        # As many as where nothing is shared.
        count = self.p.continuations * -(-longest // self.block)
        device = weights.device.type
        blocks = Blocks(self.model.config, count, self.block, device, weights.dtype)
        said, saved = list[Tensor](), list[float]()
        for prompt, choose in zip(self.texts, self._choices(kind), strict=True):
            cache = PagedCache(blocks)
            for step in continued(self.model, prompt, self.p.forked_tokens, choose, cache):
                saved.append(1 - blocks.used / sum(len(own.table) for own in step.caches))
            said.append(step.said)
        return Forked(said, blocks.copied_bytes, 100 * statistics.mean(saved))

    def _choices(self, kind: str) -> list[Choice]:
        count = self.p.continuations
        if kind == BEAMS:
            return [Beams(count) for _ in self.texts]
        seeds = range(self.seed, self.seed + len(self.texts))
        return [samples(count, torch.Generator().manual_seed(seed)) for seed in seeds]
