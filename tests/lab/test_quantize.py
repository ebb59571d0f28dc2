"""Rounding, GPTQ and the bytes of few bits, on layers small enough to check by definition."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.quantize import nf4
from casestudies.lab.quantize.gptq import gptq
from casestudies.lab.quantize.grid import Grid
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.quantize.quantized import Format, Quantized, pack, rounded, unpack

# Dettmers et al., 2023, appendix E.
PUBLISHED_LEVELS = [
    *(-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453),
    *(-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0),
    *(0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224),
    *(0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0),
]
WIDTHS = st.sampled_from([0.0, 1e-6, 1e-3, 1.0, 100.0])
formats = st.builds(Format, st.integers(2, 8), st.sampled_from([16, 64, 128, 1000]))


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def correlated(columns: int, tokens: int = 512) -> Tensor:
    return normal(tokens, columns, seed=1) @ normal(columns, columns, seed=2) / columns**0.5


@settings(max_examples=60)
@given(rows=st.integers(1, 5), columns=st.integers(1, 200), form=formats, width=WIDTHS)
def test_no_weight_moves_further_than_half_a_step(rows, columns, form, width) -> None:
    weight = width * normal(rows, columns) + width
    found = rounded(weight, form)
    steps = found.step.float().repeat_interleave(form.group, dim=1)[:, :columns]
    assert ((found.weights() - weight).abs() <= 0.501 * steps).all()


@settings(max_examples=60)
@given(rows=st.integers(1, 5), columns=st.integers(1, 200), form=formats)
def test_bytes_are_as_many_as_counted_and_bring_the_same_weights_back(rows, columns, form) -> None:
    matrix = rounded(normal(rows, columns), form)
    data = pack(matrix)
    assert len(data) == form.stored_bytes(rows, columns)
    back = unpack(data, rows, columns, form)
    assert back.weights().equal(matrix.weights())
    assert pack(back) == data
    with pytest.raises(ValueError, match="bytes, not"):
        unpack(data + b"\0", rows, columns, form)


def test_bits_of_a_weight_with_its_share_of_step_and_zero() -> None:
    # 4 bits, and 16 + 4 for 128 weights; 8 bits, and 16 + 8 for a row of 4,096.
    assert 8 * Format(4, 128).stored_bytes(1024, 4096) / (1024 * 4096) == 4 + 20 / 128
    assert 8 * Format(8, 4096).stored_bytes(1024, 4096) / (1024 * 4096) == 8 + 24 / 4096


@settings(max_examples=40)
@given(rows=st.integers(1, 6), columns=st.integers(1, 300), form=formats)
def test_without_correlations_gptq_rounds_to_the_nearest(rows, columns, form) -> None:
    weight = normal(rows, columns)
    (found,) = gptq([weight], torch.eye(columns), form)
    assert pack(found) == pack(rounded(weight, form))


@settings(max_examples=40)
@given(windows=st.integers(1, 30), tokens=st.integers(0, 700))
def test_the_gram_matrix_is_that_of_all_inputs_together(windows: int, tokens: int) -> None:
    inputs = normal(windows, tokens, 5).double()
    together = inputs.flatten(0, 1)
    torch.testing.assert_close(gram(list(inputs)), together.T @ together)


@pytest.mark.parametrize("form", [Format(4, 16), Format(3, 48), Format(4, 1000)])
def test_gptq_is_the_optimal_brain_surgeon_with_all_updates_at_once(form) -> None:
    weight, hessian = normal(6, 160), gram([correlated(160)])
    (found,) = gptq([weight], hessian, form, damping=0.01)
    damped = hessian + 0.01 * hessian.diagonal().mean() * torch.eye(160)
    # Single precision moves a weight to the neighbouring value now and then.
    same = found.weights().isclose(brute_force(weight, damped, form), atol=1e-5)
    assert same.double().mean() >= 0.99


def brute_force(weight: Tensor, hessian: Tensor, form: Format) -> Tensor:
    """Round from left to right with a fresh inverse and the full update for each column."""
    w, hessian = weight.double(), hessian.double()
    for i in range(w.shape[1]):
        if i % form.group == 0:
            grid = Grid.of(w[:, i : i + form.group].float(), form.bits, stored=True)
        inverse = torch.linalg.inv(hessian[i:, i:])
        new = grid.nearest(w[:, i].float()).double()
        w[:, i:] -= torch.outer(w[:, i] - new, inverse[0] / inverse[0, 0])
        w[:, i] = new
    return w.float()


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize("group", [64, 1000])
def test_gptq_changes_what_a_layer_says_less_than_rounding(bits, group) -> None:
    weights, x = [normal(64, 192), normal(32, 192, seed=5)], correlated(192)
    form = Format(bits, group)
    for weight, ours in zip(weights, gptq(weights, gram([x]), form), strict=True):
        by_gptq, by_rounding = (
            (x @ (weight - q.weights()).T).square().sum() for q in (ours, rounded(weight, form))
        )
        assert by_gptq < 0.7 * by_rounding


def test_layers_rounded_together_are_rounded_as_if_alone() -> None:
    a, b, hessian = normal(12, 96), normal(20, 96, seed=3), gram([correlated(96)])
    together = gptq([a, b], hessian, Format(4, 32))
    alone = [gptq([w], hessian, Format(4, 32))[0] for w in (a, b)]
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found.weights(), expected.weights())


def test_groups_that_begin_where_the_loop_is_not_up_to_date_are_refused() -> None:
    with pytest.raises(ValueError, match="groups of 24 columns"):
        gptq([normal(2, 96)], torch.eye(96), Format(4, 24))


def test_an_input_that_is_always_zero_loses_its_weights() -> None:
    x = correlated(64)
    x[:, 5] = 0
    (found,) = gptq([normal(8, 64)], gram([x]), Format(4, 64))
    assert isinstance(found, Quantized)
    assert (found.weights()[:, 5] == 0).all()


def test_nf4_has_the_published_levels() -> None:
    assert nf4.levels().tolist() == pytest.approx(PUBLISHED_LEVELS, abs=1e-6)


@settings(max_examples=50)
@given(outputs=st.integers(1, 70), inputs=st.integers(1, 70), scale=st.floats(1e-3, 1e3))
def test_nf4_is_off_by_half_a_gap_at_most(outputs: int, inputs: int, scale: float) -> None:
    weight = scale * normal(outputs, inputs, seed=outputs)
    stored = nf4.quantize(weight)
    off = (nf4.dequantize(stored, weight.shape) - weight).abs()
    # Half of the widest gap, and a constant's own rounding: 1/16 of how far it is from their mean.
    assert off.max() <= (max(gaps()) / 2 + 1 / 16) * weight.abs().max() * 1.001
    blocks = -(-weight.numel() // 64)
    assert stored.packed.numel() == 32 * blocks
    assert stored.constants.numel() * stored.constants.element_size() == blocks
    assert stored.scales.numel() == -(-blocks // 256)


def gaps() -> list[float]:
    return nf4.levels().diff().tolist()


def test_double_quantization_leaves_an_eighth_of_a_bit() -> None:
    stored = nf4.quantize(normal(1024, 1024))
    constants = stored.constants.nbytes + stored.scales.nbytes
    assert 8 * constants / 2**20 == 8 / 64 + 32 / (64 * 256)
    assert stored.stored_bytes == stored.packed.nbytes + constants + 4
    assert 8 * stored.packed.nbytes / 2**20 == 4
