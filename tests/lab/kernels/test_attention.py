"""Attention in one kernel is attention by its definition, for any sizes, masks and numbers."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import attention as kernel
from casestudies.lab.kernels import paged_attention
from casestudies.lab.kernels.attention import ROUNDED_TWICE
from casestudies.lab.measure.equality import relative
from casestudies.lab.models import attention, paged

DTYPES = st.sampled_from(sorted(ROUNDED_TWICE, key=str))


@settings(max_examples=10)
@given(
    batch=st.integers(1, 2),
    shared=st.integers(1, 2),
    group=st.sampled_from([1, 3]),
    queries=st.integers(1, 70),
    before=st.integers(0, 90),
    width=st.sampled_from([8, 24, 64, 128]),
    window=st.none() | st.integers(1, 100),
    sinks=st.integers(0, 60),
    dtype=DTYPES,
)
def test_attention_is_that_of_the_definition(
    batch, shared, group, queries, before, width, window, sinks, dtype
) -> None:
    generator = torch.Generator().manual_seed(queries * 100 + before)
    tokens = queries + before
    # Tokens before heads in memory, as a model has them; scores far apart.
    q = torch.randn(batch, queries, shared * group, width, generator=generator).transpose(1, 2)
    k, v = torch.randn(2, batch, tokens, shared, width, generator=generator).transpose(2, 3)
    q, k, v = (part.to(dtype) for part in (5 * q, k, v))
    exact = attention.naive(q.double(), k.double(), v.double(), window, sinks)
    found = kernel.attend(q, k, v, window, sinks)
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    assert relative(found, exact) <= ROUNDED_TWICE[dtype]


def test_inputs_that_ask_for_gradients_are_refused() -> None:
    q = torch.randn(1, 1, 4, 8, requires_grad=True)
    with pytest.raises(ValueError, match="no backward pass"):
        kernel.attend(q, q, q)
    with torch.inference_mode():
        assert kernel.attend(q, q, q).isfinite().all()


@settings(max_examples=10)
@given(
    lengths=st.lists(st.integers(1, 200), min_size=1, max_size=3),
    shared=st.integers(1, 2),
    group=st.sampled_from([1, 4, 17]),
    width=st.sampled_from([8, 40, 64, 128]),
    size=st.sampled_from([1, 5, 16]),
    spans=st.none() | st.integers(1, 4),
    dtype=DTYPES,
)
def test_blocks_are_read_where_they_lie(lengths, shared, group, width, size, spans, dtype) -> None:
    q, places, tables, held = paged_attention.drawn(
        lengths, shared * group, shared, width, size, dtype
    )
    exact = paged.attend(q.double(), places.double(), tables, held, size)
    found = paged_attention.attend(q, places, tables, held, size, spans)
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    assert relative(found, exact) <= ROUNDED_TWICE[dtype]


def test_places_that_do_not_adjoin_are_refused() -> None:
    q, places, tables, held = paged_attention.drawn([5], 2, 2, 8, 4, torch.float32)
    with pytest.raises(ValueError, match="must be contiguous"):
        paged_attention.attend(q, places.transpose(1, 2), tables, held, 4)


def test_floors_count_inputs_and_outputs_once() -> None:
    found = kernel.floor(2, 8, 2, 1024, 1024, 64)
    assert found.bytes == 2 * 2 * 2 * 1024 * 64 * (8 + 2)
    assert found.operations == 4 * 2 * 8 * 64 * (1024 * 1025 // 2)
    # One query sees all keys.
    assert kernel.floor(1, 1, 1, 1, 100, 64).operations == 4 * 100 * 64
    found = paged_attention.floor([100, 50], heads=8, shared=2, width=64, element=4)
    assert found.bytes == 4 * 2 * 64 * (2 * 150 + 8 * 2)
    assert found.operations == 4 * 64 * 8 * 150
