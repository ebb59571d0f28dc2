"""Attention in several ways, the cache, and continuing a text."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.generate.continuation import continued, sampled, with_cache
from casestudies.lab.models import attention
from casestudies.lab.models.cache import KeyValueCache
from tests.lab.tiny import CONFIG, talkative_model, tiny_model, tiny_windows


def continuation(prompt: torch.Tensor, tokens: int, cache: KeyValueCache | None) -> torch.Tensor:
    return torch.cat(list(continued(talkative_model(), prompt, tokens, cache)), dim=1)


@settings(max_examples=25)
@given(sequences=st.integers(1, 3), prompt=st.integers(1, 12), tokens=st.integers(1, 8))
def test_a_cache_changes_no_token(sequences: int, prompt: int, tokens: int) -> None:
    start = tiny_windows(sequences, prompt)
    cache = with_cache(talkative_model(), start, tokens)
    expected = continuation(start, tokens, None)
    assert continuation(start, tokens, cache).equal(expected)
    # The last token was chosen and not read.
    held = 2 * CONFIG.layers * sequences * CONFIG.key_value_heads * 8 * 4
    assert cache.bytes == held * (prompt + tokens - 1)


def test_the_tokens_that_a_cache_must_not_change_are_several() -> None:
    assert len(continuation(tiny_windows(1, 9), 16, None).unique()) > 2


@settings(max_examples=25)
@given(cuts=st.sets(st.integers(1, 23), max_size=4))
def test_a_text_may_be_read_in_pieces(cuts: set[int]) -> None:
    model, text = tiny_model(), tiny_windows(2, 24)
    cache = KeyValueCache(CONFIG, 2, 24)
    ends = [0, *sorted(cuts), 24]
    found = [model(text[:, a:b], cache) for a, b in itertools.pairwise(ends)]
    torch.testing.assert_close(torch.cat(found, dim=1), model(text))


def test_what_is_rewound_is_forgotten_and_a_full_cache_says_so() -> None:
    model, text = tiny_model(), tiny_windows(1, 12)
    cache = KeyValueCache(CONFIG, 1, 12)
    model(tiny_windows(1, 12), cache)
    cache.rewind(5)
    torch.testing.assert_close(model(text[:, 5:], cache), model(text)[:, 5:])
    with pytest.raises(ValueError, match="has room for 12 tokens, not 13"):
        model(text[:, :1], cache)
    with pytest.raises(ValueError, match="of 2 sequences, not 1"):
        model(text[:, :1], KeyValueCache(CONFIG, 2, 12))
    with pytest.raises(ValueError, match="holds 12 tokens, not 13"):
        cache.rewind(13)


@settings(max_examples=40)
@given(queries=st.integers(1, 9), before=st.integers(0, 9), shared=st.sampled_from([1, 2, 4]))
def test_attention_by_its_definition_and_by_the_library_agree(
    queries: int, before: int, shared: int
) -> None:
    generator = torch.Generator().manual_seed(queries * 100 + before)
    q = torch.randn(2, 4, queries, 8, generator=generator)
    k, v = torch.randn(2, 2, 4 // shared, before + queries, 8, generator=generator)
    torch.testing.assert_close(attention.stock(q, k, v), attention.naive(q, k, v))


def test_sampling_draws_by_the_probabilities() -> None:
    logits = torch.tensor([0.5, 0.3, 0.2]).log().expand(20_000, 3)
    choose = sampled(torch.Generator().manual_seed(0))
    shares = choose(logits).flatten().bincount(minlength=3) / len(logits)
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.3, 0.2]), atol=0.01, rtol=0)
    cold = sampled(torch.Generator().manual_seed(0), temperature=0.01)
    assert cold(logits).unique().tolist() == [0]
