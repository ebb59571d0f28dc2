"""Continuing sequences token by token, with and without a cache.

Shapes in comments: B sequences, T tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel

# Returns the next tokens (B, 1) from the logits (B, V) of the last.
Choice = Callable[[Tensor], Tensor]


def greedy(logits: Tensor) -> Tensor:
    """Return the likeliest tokens (B, 1)."""
    return logits.argmax(-1, keepdim=True)


def sampled(generator: torch.Generator, temperature: float = 1.0) -> Choice:
    """Return what draws tokens with the probabilities that the logits give at a temperature."""

    def draw(logits: Tensor) -> Tensor:
        return torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)

    return draw


def with_cache(model: LanguageModel, prompt: Tensor, room: int) -> KeyValueCache:
    """Return an empty cache for the prompt (B, T) and so many tokens after it."""
    weights = model.embedding.weight
    capacity = prompt.shape[1] + room
    return KeyValueCache(model.config, len(prompt), capacity, weights.device.type, weights.dtype)


@torch.inference_mode()
def continued(
    model: LanguageModel,
    prompt: Tensor,
    tokens: int,
    cache: KeyValueCache | None = None,
    choose: Choice = greedy,
) -> Iterator[Tensor]:
    """Yield the tokens (B, 1) that follow the prompt (B, T), one after another.

    With an empty cache each step reads the last token only; without one, all of them again.
    """
    read = prompt
    for _ in range(tokens):
        # Only the last token's logits: those of a large vocabulary cost as much as many blocks.
        last = model.hidden(read, cache)[:, -1:]
        found = choose(model.logits(last)[:, 0])
        yield found
        read = found if cache else torch.cat((read, found), dim=1)
