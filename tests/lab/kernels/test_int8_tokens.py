"""Tokens are rounded as in PyTorch, whatever makes them, and norms are those of float64."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import int8_tokens
from casestudies.lab.kernels.int8_tokens import misrounded, normed, normed_only, rounded
from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.quantize.int8 import Int8

sizes = st.integers(1, 7), st.integers(2, 1100)
dtypes, steps = st.sampled_from(sorted(TOLERANCES, key=str)), st.sampled_from([None, 0.03125])


@settings(max_examples=30)
@given(*sizes, dtypes, steps)
def test_codes_and_scales_are_those_of_pytorch(tokens, columns, dtype, known) -> None:
    x, _, _ = int8_tokens.drawn(tokens, columns, dtype)
    x[tokens // 2] = 0
    x[0] = (x[0].float() * 32).round() / 64  # half of them ties, where the scale is known
    step = None if known is None else torch.tensor([known])
    wanted, found = Int8.of(x, step), rounded(x, step)
    assert found.codes.equal(wanted.codes)
    assert found.scale.equal(wanted.scale)


@settings(max_examples=30)
@given(*sizes, steps)
def test_gelu_is_rounded_to_the_nearest(tokens, columns, known) -> None:
    x, _, _ = int8_tokens.drawn(tokens, columns, torch.float16)
    x[0, 0], x[0, 1] = -60000, 3  # of which GELU is nothing, without overflow
    step = None if known is None else torch.tensor([known])
    exact = F.gelu(x.double(), approximate="tanh")
    assert misrounded(rounded(x, step, gelu=True), exact, static=step is not None) <= 1e-5


@settings(max_examples=30)
@given(*sizes, dtypes, steps, st.booleans(), st.booleans())
def test_norms_of_sums_are_those_of_float64(tokens, columns, dtype, known, after, adding) -> None:
    x, other, norm = int8_tokens.drawn(tokens, columns, dtype)
    added, total = (other, x.double() + other.double()) if adding else (None, x.double())
    exact = F.layer_norm(total, (columns,), norm[0].double(), norm[1].double())
    begins = exact if after else total
    step = None if known is None else torch.tensor([known])
    found, written = normed(x, added, norm, step, after=after)
    assert misrounded(found, exact, static=step is not None) <= 1e-4
    assert relative(written, begins) <= TOLERANCES[dtype]
    plain, unrounded = normed_only(x, added, norm, after=after)
    assert plain.dtype == unrounded.dtype == written.dtype == dtype
    assert relative(plain, exact) <= TOLERANCES[dtype]
    assert unrounded.equal(written)


def test_what_is_off_by_more_than_half_a_step_is_told() -> None:
    exact = torch.tensor([[1.27, 0.3, -0.5], [2.54, 0.1, 0.0]]).double()
    right = Int8.of(exact)
    assert misrounded(right, exact, static=False) < 1e-6
    wrong = right.codes.clone()
    wrong[0, 1] += 1
    assert misrounded(Int8(wrong, right.scale), exact, static=False) > 1e-3
    assert misrounded(Int8.of(exact, torch.tensor([0.03])), exact, static=False) > 1e-3
    # A scale that is known is what it is, and what it cannot hold is cut off.
    cut = Int8.of(exact, torch.tensor([0.01]))
    assert misrounded(cut, exact, static=True) < 1e-6
    assert (
        misrounded(Int8(cut.codes - (cut.codes == 127).char(), cut.scale), exact, static=True) > 0
    )


def test_the_floor_counts_the_sum_and_the_codes_once() -> None:
    found = int8_tokens.floor(128, 768)
    assert found.bytes == 128 * 768 * (2 + 2 + 2 + 1) + 2 * 2 * 768 + 128 * 4
    assert found.operations == 9 * 128 * 768


@pytest.mark.parametrize("given", [Int8.of(torch.eye(2)), Int8.of(torch.eye(2), torch.ones(1))])
def test_numbers_are_codes_times_scales(given) -> None:
    assert relative(given.numbers(), torch.eye(2).double()) < 1e-6
