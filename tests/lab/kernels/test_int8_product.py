"""Products of int8 are exact, and what follows the sums is what their scales say."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import int8_product
from casestudies.lab.kernels.int8_product import TILES, drawn, product
from casestudies.lab.kernels.int8_tokens import misrounded
from casestudies.lab.measure.equality import TOLERANCES
from casestudies.lab.quantize.int8 import Int8

sizes = st.integers(1, 150), st.integers(1, 300), st.integers(1, 300)
tiles, seeds = st.sampled_from(TILES), st.integers(0, 99)


def small(most: int, count: int, columns: int, generator: torch.Generator) -> Int8:
    codes = torch.randint(-most, most + 1, (count, columns), generator=generator)
    return Int8(codes.to(torch.int8), torch.ones(count))


@settings(max_examples=15)
@given(*sizes, tiles, seeds)
def test_every_unit_of_a_sum_is_there(tokens, rows, columns, tile, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, w = small(3, tokens, columns, generator), small(2, rows, columns, generator)
    exact = x.codes.long() @ w.codes.long().T
    assert exact.abs().max() <= 2048  # so that float16 holds them all
    bias = torch.zeros(rows).half()
    assert product(x, w, bias, tile=tile).long().equal(exact)
    # No larger sum is lost either, nor one of the largest codes: they are rounded once.
    x, w = Int8((x.codes > 0) * 127, x.scale / 2**12), Int8((w.codes > 0) * -127, w.scale / 2**8)
    x, w = Int8(x.codes.to(torch.int8), x.scale), Int8(w.codes.to(torch.int8), w.scale)
    wanted = ((x.codes.long() @ w.codes.long().T).double() / 2**20).half()
    assert product(x, w, bias, tile=tile).equal(wanted)


@settings(max_examples=15)
@given(*sizes, tiles, seeds, st.booleans(), st.booleans())
def test_scales_bias_and_relu_are_those_of_float64(
    tokens, rows, columns, tile, seed, each, relu
) -> None:
    x, w, bias = drawn(tokens, rows, columns, torch.Generator().manual_seed(seed), each=each)
    numbers = x.numbers() @ w.numbers().T
    exact = numbers + bias.double()
    exact = exact.relu() if relu else exact
    torch.testing.assert_close(int8_product.reference(x, w, bias, relu=relu), exact)
    found = product(x, w, bias, relu=relu, tile=tile)
    assert (found.dtype, found.shape) == (torch.float16, exact.shape)
    scale = numbers.abs().max() + bias.abs().max()  # where they cancel, what is left is no measure
    assert (found.double() - exact).abs().max() <= TOLERANCES[torch.float16] * scale


@settings(max_examples=15)
@given(*sizes, tiles, seeds)
def test_what_is_rounded_by_a_known_scale_is_the_nearest_and_ties_are_even(
    tokens, rows, columns, tile, seed
) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, w = small(3, tokens, columns, generator), small(2, rows, columns, generator)
    step = torch.tensor([2.0])
    bias = torch.randint(-9, 10, (rows,), generator=generator).half()
    wanted = Int8.of(x.codes.float() @ w.codes.float().T + bias, step)
    assert product(x, w, bias, step, tile=tile).equal(wanted.codes)

    x, w, bias = drawn(tokens, rows, columns, generator)
    exact, step = int8_product.reference(x, w, bias, relu=True), torch.tensor([0.01])
    found = Int8(product(x, w, bias, step, relu=True, tile=tile), step)
    assert not exact.any() or misrounded(found, exact, static=True) <= 1e-5


def test_sums_that_32_bits_may_not_hold_are_refused() -> None:
    columns = int8_product.LONGEST + 1
    x = Int8(torch.ones(1, columns, dtype=torch.int8), torch.ones(1))
    with pytest.raises(ValueError, match=f"sums of {columns} products"):
        product(x, x, torch.zeros(1).half())
    with pytest.raises(ValueError, match="must be contiguous"):
        product(x, Int8(torch.ones(4, 2, dtype=torch.int8).T, torch.ones(2)), torch.zeros(2).half())


def test_the_floor_counts_codes_scales_and_what_comes_out_once() -> None:
    found = int8_product.floor(512, 28672, 7168)
    scales = 4 * (512 + 28672) + 2 * 28672
    assert found.bytes == 7168 * (512 + 28672) + 2 * 512 * 28672 + scales
    assert found.operations == 2 * 512 * 28672 * 7168


@pytest.mark.parametrize("columns", [64, 4096])
def test_random_codes_and_scales_make_products_of_about_1(columns) -> None:
    x, w, bias = drawn(60, 50, columns, torch.Generator().manual_seed(0))
    found = int8_product.reference(x, w, torch.zeros_like(bias))
    assert found.std().item() == pytest.approx(1, rel=0.2)
    assert (x.codes.min(), x.codes.max()) == (-127, 127)
    # No scale is more than three times as large as another.
    assert 2 < w.scale.max() / w.scale.min() <= 3
