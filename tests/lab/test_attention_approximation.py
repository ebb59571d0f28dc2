"""What a cache that holds part of a text gives, and heads that are merged or split."""

from collections.abc import Callable, Sequence
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.inference_memory import kv_cache_bytes
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Block
from casestudies.lab.models.shapes import small
from casestudies.lab.studies.attention_approximation import grouped, split
from casestudies.lab.studies.attention_approximation.claims import (
    BY_BATCH,
    BY_HEADS,
    SPLIT_HEADS,
    SPLIT_SHARED_WIDTH,
    SPLIT_WIDTH,
    held_by_formula,
)
from casestudies.lab.studies.attention_approximation.held import (
    HeavyHitterCache,
    HeavyHitters,
    LayerCache,
    Rolling,
    RollingCache,
    at,
    read,
)
from tests.lab.tiny import CONFIG, tiny_model, tiny_windows

BASE = CONFIG.rope_base
LENGTH = 24


def at_once(mix: Attention, text: Tensor) -> Tensor:
    model = tiny_model()
    return model.logits(read(model, text, [mix] * CONFIG.layers))


def one_by_one(make: Callable[[], LayerCache], text: Tensor) -> tuple[Tensor, list[LayerCache]]:
    """Return the logits of a text that is read through caches, and those."""
    model, caches = tiny_model(), [make() for _ in range(CONFIG.layers)]
    hidden = [read(model, token, caches) for token in text.split(1, dim=1)]
    return model.logits(torch.cat(hidden, dim=1)), caches


@settings(max_examples=15)
@given(more=st.integers(0, 3), sinks=st.integers(0, 5))
def test_room_for_the_whole_text_changes_no_logit(more: int, sinks: int) -> None:
    text, budget = tiny_windows(2, LENGTH), LENGTH + more
    own = tiny_model()(text)
    torch.testing.assert_close(at_once(Rolling(budget, sinks, BASE), text), own)
    torch.testing.assert_close(at_once(HeavyHitters(budget, BASE), text), own)


@settings(max_examples=25)
@given(budget=st.integers(2, LENGTH), sinks=st.integers(0, 5))
def test_a_cache_gives_what_hiding_dropped_tokens_from_a_whole_text_gives(
    budget: int, sinks: int
) -> None:
    text, sinks = tiny_windows(2, LENGTH), min(sinks, budget - 1)
    found, caches = one_by_one(lambda: RollingCache(CONFIG, 2, budget, sinks), text)
    torch.testing.assert_close(found, at_once(Rolling(budget, sinks, BASE), text))
    heavy, others = one_by_one(lambda: HeavyHitterCache(CONFIG, 2, budget), text)
    torch.testing.assert_close(heavy, at_once(HeavyHitters(budget, BASE), text))
    expected = kv_cache_bytes(
        layers=CONFIG.layers,
        kv_heads=CONFIG.key_value_heads,
        head_dim=CONFIG.width // CONFIG.heads,
        sequences=2,
        tokens=LENGTH,
        number_bytes=4,
        window=budget,
    )
    assert [sum(c.bytes for c in layers) for layers in (caches, others)] == [expected] * 2


def test_a_rolling_cache_counts_positions_inside_it() -> None:
    # After so many tokens sinks 0 and 1 and tokens 7, 8 and 9 are held, at positions 0 to 4.
    generator = torch.Generator().manual_seed(0)
    key, value = torch.randn(2, 1, 2, 10, 8, generator=generator)
    query = torch.randn(1, 4, 10, 8, generator=generator)
    found = Rolling(5, 2, BASE)(query, key, value)[:, :, -1:]
    left, inside = [0, 1, 7, 8, 9], torch.arange(5)
    keys = at(key[:, :, left], inside, BASE).repeat_interleave(2, 1)
    weights = (at(query[:, :, -1:], inside[-1:], BASE) @ keys.mT / 8**0.5).softmax(-1)
    torch.testing.assert_close(found, weights @ value[:, :, left].repeat_interleave(2, 1))


def test_a_rolling_cache_without_room_after_its_sinks_is_refused() -> None:
    with pytest.raises(ValueError, match="4 tokens has no room after 4 sinks"):
        RollingCache(CONFIG, 1, 4, 4)


def test_the_token_that_drew_most_attention_stays_and_the_one_that_drew_least_leaves() -> None:
    # Each query looks at key 1 and away from key 2; four tokens fit, two of them the latest.
    direction = torch.zeros(8)
    direction[3] = 1.0  # of the slowest turn, so that positions hardly matter
    key = torch.zeros(1, 1, 6, 8)
    key[0, 0, 1], key[0, 0, 2] = 20 * direction, -20 * direction
    value = torch.eye(6, 8)[None, None]
    query = direction.expand(1, 1, 6, 8)
    found = HeavyHitters(4, 1e9)(query, key, value)[0, 0]
    assert found[3, 2] > 0
    assert found[4:, 2].tolist() == [0, 0]  # it left when token 4 came
    assert all(found[5, token] > 0 for token in (1, 4, 5))
    assert found[5, 1] > 0.9


def test_as_many_groups_as_heads_change_nothing_and_equal_heads_merge_without_loss() -> None:
    model = small(300, 128, 2, torch.Generator().manual_seed(0)).eval()
    text = tiny_windows(2, LENGTH)
    torch.testing.assert_close(grouped.merged(model, 4)(text), model(text))
    assert not grouped.merged(model, 1)(text).allclose(model(text))
    pairs = torch.arange(128).view(4, 32)[[0, 0, 1, 1]].flatten()  # rows of heads 0, 0, 1 and 1
    for block in cast(Sequence[Block], model.blocks):
        for layer in (block.key, block.value):
            layer.weight.data = layer.weight[pairs]
    two = grouped.merged(model, 2)
    torch.testing.assert_close(two(text), model(text))
    weight = two.get_submodule("blocks.0.key").weight
    assert weight.shape == (64, 128)


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_split_cache_gives_the_same_and_holds_what_the_formula_says(ranks: int) -> None:
    shape = {BY_HEADS: (SPLIT_HEADS, SPLIT_WIDTH), BY_BATCH: (1, SPLIT_SHARED_WIDTH)}
    for found in on_ranks(ranks, split.on_rank, 0, seconds=60):
        for variant, share in found.items():
            assert share.bytes_per_token == held_by_formula(*shape[variant], ranks)
            assert share.error < 1e-4
