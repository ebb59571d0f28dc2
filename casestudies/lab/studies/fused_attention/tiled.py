"""Attention by tiles with an online softmax: FlashAttention, algorithm 1, in plain PyTorch.

Dao et al., 2022 (arXiv 2205.14135), with the loop over queries outside, as in its second version.
A GPU kernel does the same with tiles in fast memory; here each tile is a small tensor. Shapes in
comments: B sequences, K key-value heads, G query heads that share one, Q queries, T keys, D head
width, q and t those of a tile.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from casestudies.lab.models import attention


def attend(query: Tensor, key: Tensor, value: Tensor, tile: int) -> Tensor:
    """Return causal attention (B, heads, Q, D), as `models.attention` has it, tile by tile.

    For each query, m is the largest score so far, l the sum of exp(score - m), and o the sum of
    exp(score - m) times the values. A tile of keys with a larger score makes the old sums smaller
    by exp(m - m'); in the end o / l is what the softmax of the whole row would have given.
    """
    heads, queries = query.shape[1:3]
    shared, keys, width = key.shape[1:]
    grouped = query.unflatten(1, (shared, heads // shared))  # B, K, G, Q, D
    output = torch.empty_like(grouped)
    for rows, columns in tiles(queries, keys, tile):
        q = grouped[..., rows, :] / width**0.5
        m = q.new_full((*q.shape[:-1], 1), -torch.inf)
        l, o = torch.zeros_like(m), torch.zeros_like(q)  # noqa: E741 - the paper's name
        for part in columns:
            k, v = key[:, :, None, part], value[:, :, None, part]  # B, K, 1, t, D
            s = q @ k.transpose(-2, -1)  # B, K, G, q, t
            if part.stop > keys - queries + rows.start + 1:
                s = s.masked_fill(~_seen(rows, part, keys - queries, s.device), -torch.inf)
            largest = torch.maximum(m, s.amax(-1, keepdim=True))
            p = (s - largest).exp()
            shrink = (m - largest).exp()
            l = shrink * l + p.sum(-1, keepdim=True)  # noqa: E741
            o = shrink * o + p @ v
            m = largest
        output[..., rows, :] = o / l
    return output.flatten(1, 2)


def tiles(queries: int, keys: int, tile: int) -> Iterator[tuple[slice, list[slice]]]:
    """Yield each tile of queries with the tiles of keys that one of them may look at."""
    before = keys - queries
    for start in range(0, queries, tile):
        rows = slice(start, min(start + tile, queries))
        end = before + rows.stop
        yield rows, [slice(k, min(k + tile, end)) for k in range(0, end, tile)]


def moved(queries: int, keys: int, width: int, tile: int) -> int:
    """Return the numbers that a head moves between slow and fast memory, tile by tile.

    Each tile of queries is read and its output written once, and the keys and values that it looks
    at are read once for it.
    """
    return sum(
        2 * width * (rows.stop - rows.start) + 2 * width * sum(k.stop - k.start for k in columns)
        for rows, columns in tiles(queries, keys, tile)
    )


def moved_by_definition(queries: int, keys: int, width: int) -> int:
    """Return the same for attention by its definition: the scores are written and read twice."""
    return 2 * width * (queries + keys) + 4 * queries * keys


def _seen(rows: slice, part: slice, before: int, device: torch.device) -> Tensor:
    positions = torch.arange(rows.start, rows.stop, device=device)[:, None] + before
    return torch.arange(part.start, part.stop, device=device) <= positions


def with_tile(tile: int) -> attention.Attention:
    """Return attention with tiles of this length, as a model's block takes it."""
    return lambda query, key, value: attend(query, key, value, tile)
