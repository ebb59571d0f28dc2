"""Training steps of an encoder of the Long-Range Arena's size, by two kinds of attention.

Text classification there: bytes, 4 layers, 256 wide, 4 heads, feed-forward 1,024 (Tay et al., 2020,
arXiv 2011.04006). Time depends on shapes alone, so weights and tokens are random.
"""

from collections.abc import Callable
from functools import partial
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.models.bert import BertBlock, BertShape, with_random_weights
from casestudies.lab.studies.fused_attention.about import ENCODER_LENGTHS

TEXTS, CLASSES = 4, 10
SHAPE = BertShape(layers=4, width=256, heads=4, vocabulary=256, positions=max(ENCODER_LENGTHS))


def by_definition(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention in both directions, which holds every score (B, H, T, T) at once."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
    return scores.softmax(-1) @ value


WAYS = {"definition": by_definition, "stock": F.scaled_dot_product_attention}


def steps(
    shape: BertShape, length: int, device: str, dtype: torch.dtype, generator: torch.Generator
) -> dict[str, Callable[[], Tensor]]:
    """Return by kind of attention what takes a step (forward, backward, AdamW), for the loss.

    All train the same weights.
    """
    model = with_random_weights(shape, device).to(dtype).requires_grad_(True).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    tokens = torch.randint(shape.vocabulary, (TEXTS, length), generator=generator).to(device)
    labels = torch.randint(CLASSES, (TEXTS,), generator=generator).to(device)

    def step(way: str) -> Tensor:
        for block in model.blocks:
            cast(BertBlock, block).attention = WAYS[way]
        _, pooled = model(tokens)
        loss = F.cross_entropy(pooled[:, :CLASSES], labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.detach()

    return {way: partial(step, way) for way in WAYS}
