"""Products with weights rounded in another order are those with the weights on their own grids."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import few_bits, reordered
from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.quantize.quantized import Format, rounded


@settings(max_examples=10)
@given(
    st.sampled_from([8, 4]),
    st.sampled_from([64, 128, 400]),
    st.integers(1, 70),
    st.integers(1, 300),
    st.sampled_from(sorted(TOLERANCES, key=str)),
    st.integers(0, 99),
)
def test_products_are_those_of_the_weights_in_the_order_that_they_were_rounded_in(
    bits, group, rows, columns, dtype, seed
) -> None:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(columns, generator=generator)
    matrix = rounded(torch.randn(rows, columns, generator=generator), Format(bits, group))
    x = torch.randn(1, columns, generator=generator).to(dtype)
    packed, group_of = reordered.as_they_lie(matrix, order), reordered.groups_of(order, group)
    exact = x[:, order].double() @ matrix.weights().double().T
    found = reordered.product(x, packed, group_of)
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    # Where few rows cancel, the largest product is no measure of what was summed.
    summed = x[:, order].double().abs() @ matrix.weights().double().abs().T
    scale = (summed.max() / exact.abs().max()).item()
    assert relative(found, exact) <= TOLERANCES[dtype] * max(1, scale / 8)
    assert relative(reordered.reference(x.double(), packed, group_of), exact) <= 1e-12


def test_without_another_order_the_product_is_that_of_few_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    packed = few_bits.random(9, 300, Format(4, 128), generator)
    x, order = torch.randn(1, 300, generator=generator), torch.arange(300)
    found = reordered.product(x, packed, reordered.groups_of(order, 128))
    torch.testing.assert_close(found, few_bits.product(x, packed))


@pytest.mark.parametrize(("tokens", "bits"), [(2, 4), (1, 3)])
def test_what_it_does_not_multiply_is_refused(tokens, bits) -> None:
    packed = few_bits.random(2, 64, Format(bits, 64), torch.Generator())
    with pytest.raises(ValueError, match=f"{tokens} tokens by {bits} bits; one, by 8 or 4"):
        reordered.product(torch.zeros(tokens, 64), packed, torch.zeros(64, dtype=torch.int32))


def test_the_floor_counts_each_columns_group_too() -> None:
    form = Format(4, 128)
    found = reordered.floor(4096, 4096, form)
    plain = few_bits.floor(4096, 4096, form, tokens=1)
    assert found.bytes - plain.bytes == 4 * 4096
    assert found.operations == plain.operations
