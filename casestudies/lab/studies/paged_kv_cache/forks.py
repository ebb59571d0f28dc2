"""Several continuations of one prompt, whose caches fork: random samples, and beam search.

Shapes in comments: B continuations, V vocabulary.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Cache, LanguageModel
from casestudies.lab.serving.selective import Piece, read


class Forking(Cache, Protocol):
    """A cache that can be had twice."""

    @property
    def bytes(self) -> int: ...

    def fork(self) -> Self: ...

    def release(self) -> None: ...


C = TypeVar("C", bound=Forking)
# Returns which continuation each of the next goes on from (B), and its token (B), by logits (B, V).
Choice = Callable[[Tensor], tuple[list[int], Tensor]]


class Copied(KeyValueCache):
    """A cache in one piece; a fork copies all that it holds."""

    def fork(self) -> Self:
        """Return a copy with as much room."""
        return self.resized(self.capacity, self._held.device.type)

    def release(self) -> None:
        """Leave the memory to whoever collects it."""


def samples(count: int, generator: torch.Generator) -> Choice:
    """Return what draws so many continuations, each with the probabilities of the model.

    The generator is one of the CPU.
    """

    def draw(logits: Tensor) -> tuple[list[int], Tensor]:
        parents = list(range(count)) if len(logits) == count else [0] * count
        likely = logits[parents].softmax(-1).cpu()
        return parents, torch.multinomial(likely, 1, generator=generator)[:, 0].to(logits.device)

    return draw


class Beams:
    """Keeps the continuations with the highest probabilities, so many of them."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._scores = torch.zeros(1)

    def __call__(self, logits: Tensor) -> tuple[list[int], Tensor]:
        """Return the parents and tokens of the most likely texts of those one token longer."""
        scores = self._scores.to(logits.device)[:, None] + logits.log_softmax(-1)  # B, V
        self._scores, best = scores.flatten().topk(self._count)
        vocabulary = logits.shape[1]
        return (best // vocabulary).tolist(), best % vocabulary


class Step(NamedTuple, Generic[C]):
    """All continuations (B, tokens) after one step, and a cache for each, which holds all of it.

    `forked_bytes` is what those caches held that were forked for the step.
    """

    said: Tensor
    caches: list[C]
    forked_bytes: int


@torch.inference_mode()
def continued(
    model: LanguageModel, prompt: Tensor, tokens: int, choose: Choice, cache: C
) -> Iterator[Step[C]]:
    """Yield the continuations of the prompt (T) after each token that is added to all of them.

    The cache is empty before, and all are released after the last.
    """
    caches, said = [cache], prompt.new_empty(1, 0)
    logits = read(model, [Piece(prompt, cache)])
    for _ in range(tokens):
        parents, found = choose(logits)
        caches, forked_bytes = descended(caches, parents)
        said = torch.cat((said[parents], found[:, None]), dim=1)
        pieces = [Piece(token, own) for token, own in zip(found[:, None], caches, strict=True)]
        logits = read(model, pieces)
        yield Step(said, caches, forked_bytes)
    for own in caches:
        own.release()


def descended(caches: Sequence[C], parents: Sequence[int]) -> tuple[list[C], int]:
    """Return a cache for each child, and the bytes that those hold which had to be forked.

    A parent's first child takes over its cache, the others fork it; who has no child is released.
    """
    for parent, cache in enumerate(caches):
        if parent not in parents:
            cache.release()
    own, forked_bytes = list[C](), 0
    for child, parent in enumerate(parents):
        cache = caches[parent]
        if parent in parents[:child]:
            forked_bytes += cache.bytes
            cache = cache.fork()
        own.append(cache)
    return own, forked_bytes
