"""Causal attention, computed in several ways that give the same.

Shapes in comments: B sequences, H heads, K key-value heads, Q queries, T keys, D head width. The
queries are those of the last Q of the T tokens, so that a cache may hold the keys before them.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

# Returns (B, H, Q, D) from queries (B, H, Q, D), keys and values (B, K, T, D); K divides H.
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]


def stock(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention as PyTorch computes it, by its fastest kernel for the device."""
    queries, keys = query.shape[-2], key.shape[-2]
    whole = queries == keys
    # The last query sees every key. PyTorch's own causal mask would align with the first.
    mask = None if whole or queries == 1 else seen(queries, keys, query.device)
    grouped = query.shape[1] != key.shape[1]
    return F.scaled_dot_product_attention(
        query, key, value, mask, is_causal=whole and queries > 1, enable_gqa=grouped
    )


def naive(
    query: Tensor, key: Tensor, value: Tensor, window: int | None = None, sinks: int = 0
) -> Tensor:
    """Return attention by its definition, which holds every score (B, H, Q, T) at once.

    With a window a query sees that many tokens up to its own, and the first `sinks`.
    """
    key, value = _for_each_head(query, key), _for_each_head(query, value)
    scores = query @ key.transpose(-2, -1) / query.shape[-1] ** 0.5
    hidden = ~seen(query.shape[-2], key.shape[-2], query.device, window, sinks)
    return scores.masked_fill(hidden, -torch.inf).softmax(-1) @ value


def seen(
    queries: int, keys: int, device: torch.device, window: int | None = None, sinks: int = 0
) -> Tensor:
    """Return which keys each of the last queries may look at, (Q, T), True where it may."""
    allowed = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
    if window is None:
        return allowed
    latest = allowed.triu(keys - queries - window + 1)
    return latest | (allowed & (torch.arange(keys, device=device) < sinks))


def _for_each_head(query: Tensor, shared: Tensor) -> Tensor:
    return shared.repeat_interleave(query.shape[1] // shared.shape[1], dim=1)
