"""Products with packed weights are those with the weights that they stand for."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import few_bits
from casestudies.lab.kernels.few_bits import Packed
from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.quantize.quantized import Format, rounded


@settings(max_examples=14)
@given(
    st.sampled_from([8, 4, 3]),
    st.sampled_from([64, 128, 192, 400]),
    st.integers(1, 70),
    st.integers(1, 300),
    st.sampled_from([1, 2, 16, 17]),
    st.sampled_from(sorted(TOLERANCES, key=str)),
    st.integers(0, 99),
)
def test_products_are_those_of_the_weights_as_rounded(
    bits, group, rows, columns, tokens, dtype, seed
) -> None:
    generator = torch.Generator().manual_seed(seed)
    matrix = rounded(torch.randn(rows, columns, generator=generator), Format(bits, group))
    x = torch.randn(tokens, columns, generator=generator).to(dtype)
    packed = Packed.of(matrix)
    assert torch.equal(packed.weights(), matrix.weights())
    exact = x.double() @ matrix.weights().double().T
    found = few_bits.product(x, packed)
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    # Where few rows cancel, the largest product is no measure of what was summed.
    scale = (x.double().abs() @ matrix.weights().double().abs().T).max() / exact.abs().max()
    assert relative(found, exact) <= TOLERANCES[dtype] * max(1, scale.item() / 8)
    assert relative(few_bits.reference(x.double(), packed), exact) <= 1e-12


def test_words_take_the_bytes_of_the_format_and_no_more() -> None:
    for bits in (8, 4, 3):
        packed = Packed.of(rounded(torch.randn(6, 256), Format(bits, 128)))
        rest = 0 if packed.rest is None else packed.rest.nbytes
        assert packed.words.nbytes + rest == 6 * 256 * bits // 8


def test_a_tile_of_two_groups_is_refused() -> None:
    with pytest.raises(ValueError, match="groups of 48 columns are not a multiple of 64"):
        Packed.of(rounded(torch.randn(2, 96), Format(4, 48)))


def test_the_floor_counts_codes_grids_and_tokens_once() -> None:
    found = few_bits.floor(4096, 4096, Format(4, 128), tokens=1)
    grids = 4096 * 32 * 2.5
    assert found.bytes == 4096 * 4096 / 2 + grids + 2 * 2 * 4096
    assert found.operations == 2 * 4096**2


@pytest.mark.parametrize("bits", [8, 4, 3])
def test_random_weights_have_every_code_and_lie_about_zero(bits) -> None:
    packed = few_bits.random(40, 300, Format(bits, 128), torch.Generator().manual_seed(0))
    assert packed.codes().unique().tolist() == list(range(2**bits))
    assert packed.zero.unique().tolist() == [2 ** (bits - 1)]
    assert packed.step.shape == (40, 3)
    assert 0.9 / 2**bits < packed.step.max() <= 1 / 2**bits
