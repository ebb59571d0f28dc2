"""Time of one more token, by what the cache holds.

Caches are filled with random numbers: how long a step takes does not depend on them.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.attention_approximation.held import (
    HeavyHitterCache,
    LayerCache,
    RollingCache,
    read,
)

Step = Callable[[], object]


def recomputed(model: LanguageModel, window: Tensor) -> Step:
    """Return a step that reads the whole window (B, T) and computes its last token's logits."""
    return lambda: model.logits(model.hidden(window)[:, -1:])


def full(model: LanguageModel, token: Tensor, context: int) -> Step:
    """Return the model's own step: it reads the last of so many tokens, the others in its cache."""
    config, device = model.config, token.device.type
    cache = KeyValueCache(config, len(token), context, device)
    shape = (len(token), config.key_value_heads, context - 1, config.width // config.heads)
    for layer in range(config.layers):
        cache.extend(layer, *torch.randn(2, *shape, device=device))
    cache.advance(context - 1)

    def step() -> None:
        cache.rewind(context - 1)
        model.logits(model.hidden(token, cache))

    return step


def sinks(model: LanguageModel, token: Tensor, budget: int, number: int) -> Step:
    """Return a step with a rolling cache that is full and so drops a token each time."""
    return _evicting(model, token, partial(RollingCache, sinks=number), budget)


def heavy_hitters(model: LanguageModel, token: Tensor, budget: int) -> Step:
    """Return a step with a cache that is full and so drops each head's least looked at token."""
    return _evicting(model, token, HeavyHitterCache, budget)


def _evicting(
    model: LanguageModel, token: Tensor, make: Callable[..., LayerCache], budget: int
) -> Step:
    caches: Sequence[LayerCache] = [
        make(model.config, len(token), budget, device=token.device) for _ in model.blocks
    ]
    for cache in caches:
        cache.keys.normal_()
        cache.values.normal_()
        cache.read = budget
    return lambda: model.logits(read(model, token, caches))
