"""Outlier-victim pairs by their definition, their bytes and bounds, and what a run says."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from casestudies.lab.studies.outlier_codes import tails
from casestudies.lab.studies.outlier_codes.about import (
    CLIPPED,
    CURVE,
    INT4_CLIPPED,
    INT4_NEAREST,
    OLIVE,
    OTHERS,
    STUDY,
    VICTIMS,
)
from casestudies.lab.studies.outlier_codes.bench import (
    FourBits,
    RoundedWeights,
    check_order,
    in_int8,
)
from casestudies.lab.studies.outlier_codes.packed import ROUNDINGS, BrokenPromise, check, pack
from casestudies.lab.studies.outlier_codes.pairs import (
    FURTHEST,
    IDENTIFIER,
    SIZES,
    abfloat,
    decode,
    encode,
    pair,
    victims,
)
from tests.lab.smoke import shares_the_smoke_run, smoke_run

UNUSED = {0x80, 0x88, 0x08}  # an outlier of zero, or two identifiers


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heavy(rows: int, columns: int, seed: int, share: float) -> Tensor:
    """Return numbers of which a share are up to a hundred times as large."""
    x, drawn = normal(rows, columns, seed=seed), normal(rows, columns, seed=seed + 1)
    return torch.where(drawn.abs() < share, x * 100 * drawn.abs(), x)


def by_definition(left: float, right: float, outliers: bool) -> list[float]:
    """Return what a pair is written as, one number at a time."""

    def nearest(x: float, sizes: tuple[int, ...]) -> float:
        size = min(reversed(sizes), key=lambda size: abs(size - abs(x)))
        return -size if x < 0 else size

    free = nearest(left, SIZES), nearest(right, SIZES)
    if not outliers or max(map(abs, free)) <= 7:
        return [nearest(left, SIZES[:8]), nearest(right, SIZES[:8])]
    return [free[0], 0] if abs(left) >= abs(right) else [0, free[1]]


def test_outliers_begin_where_int4_ends_and_are_two_or_three_shifted() -> None:
    assert SIZES == (0, 1, 2, 3, 4, 5, 6, 7, 12, 16, 24, 32, 48, 64, 96)
    assert all(abfloat(8 + code) == -abfloat(code) for code in range(8))
    assert pytest.approx(5 / 19) == FURTHEST  # of 9.5, in the middle between 7 and 12
    for size in SIZES[8:]:
        assert any(base << shift == size for base in (2, 3) for shift in range(8)), size


def test_every_byte_but_three_is_written_for_its_own_pair() -> None:
    used = {byte: pair(byte) for byte in range(256) if byte not in UNUSED}
    assert len(set(used.values())) == len(used) == 15 * 15 + 2 * 14
    x = torch.tensor([list(numbers) for numbers in used.values()], dtype=torch.float32)
    assert encode(x).flatten().tolist() == list(used)
    assert decode(encode(x)).equal(x)


@settings(max_examples=150)
@given(
    st.lists(st.tuples(*2 * [st.floats(-300, 300, width=16)]), min_size=1, max_size=30),
    st.booleans(),
)
def test_any_pattern_of_outliers_is_written_by_the_definition(pairs, outliers) -> None:
    codes = encode(torch.tensor(pairs, dtype=torch.float32).flatten(), outliers)
    assert codes.dtype == torch.uint8
    assert len(codes) == len(pairs)
    found = decode(codes).unflatten(0, (-1, 2)).tolist()
    assert found == [by_definition(left, right, outliers) for left, right in pairs]
    # Each byte is read by itself: in any other order the same pairs are found.
    assert decode(codes.flip(0)).unflatten(0, (-1, 2)).flip(0).tolist() == found


@settings(max_examples=60)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 100),
    group=st.sampled_from([0, 2, 16, 32, 1000]),
    seed=st.integers(0, 99),
    share=st.sampled_from([0.0, 0.01, 0.3, 1.0]),
    size=st.sampled_from([0.0, 1e-5, 1.0, 1e3]),
    name=st.sampled_from(sorted(ROUNDINGS)),
)
def test_matrices_of_odd_lengths_keep_their_promises(
    rows, columns, group, seed, share, size, name
) -> None:
    x = size * heavy(rows, columns, seed, share)
    packed = pack(x, ROUNDINGS[name], group)
    check(x, packed, ROUNDINGS[name])
    assert packed.weights().shape == x.shape
    half = -(-columns // 2)
    groups = -(-columns // min(group or 1000, 2 * half))
    assert packed.stored_bytes == rows * (half + 2 * groups)
    assert not packed.weights()[packed.victims()].any()


def test_a_changed_byte_or_number_breaks_the_promise() -> None:
    x = heavy(4, 32, 0, 0.1)
    packed = pack(x, ROUNDINGS[OLIVE], 32)
    moved = x + 0.7 * packed.scale.float() * (packed.weights().abs() <= 7 * packed.scale)
    with pytest.raises(BrokenPromise, match="moved too far"):
        check(moved, packed, ROUNDINGS[OLIVE])
    packed.codes[0, 0] = IDENTIFIER << 4 | IDENTIFIER
    with pytest.raises(BrokenPromise, match="read and written again"):
        check(x, packed, ROUNDINGS[OLIVE])


@settings(max_examples=40)
@given(seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.02, 0.2]), columns=st.integers(2, 90))
def test_a_search_that_tries_plain_roundings_scale_is_no_worse(seed, share, columns) -> None:
    x = heavy(5, columns, seed, share)
    errors = {
        name: (pack(x, rounding, 0).weights() - x).square().sum(1)
        for name, rounding in ROUNDINGS.items()
    }
    for better in (INT4_CLIPPED, OLIVE):
        assert (errors[better] <= errors[INT4_NEAREST] * 1.0001).all(), better


def test_a_way_that_errs_more_than_plain_rounding_breaks_the_promise() -> None:
    errors = {INT4_NEAREST: 1.0, INT4_CLIPPED: 0.9, OLIVE: 0.9}

    def found() -> dict[str, RoundedWeights]:
        return {name: RoundedWeights({}, {"0.up": e}, 0, 0) for name, e in errors.items()}

    check_order(found())
    errors[OLIVE] = 1.1
    with pytest.raises(BrokenPromise, match="OliVe errs more than int4"):
        check_order(found())


def test_on_heavy_tails_pairs_err_several_times_less_than_clipping() -> None:
    x = normal(64, 512)
    x[:, ::97] *= 30
    left = {n: (pack(x, r, 0).weights() - x).square().sum() for n, r in ROUNDINGS.items()}
    assert left[OLIVE] < left[INT4_CLIPPED] / 3
    assert left[OLIVE] < left[INT4_NEAREST] / 3


def test_layers_that_read_the_same_are_given_the_same_and_counted_once() -> None:
    first, second = nn.Linear(8, 3), nn.Linear(8, 5)
    x = heavy(6, 8, 3, 0.2)
    read = FourBits(ROUNDINGS[OLIVE])
    given_first = read(first, x)
    assert read(second, x) is given_first
    assert read.numbers == x.numel()
    assert read.error == pytest.approx((given_first - x).square().sum().item())


def test_int8_moves_no_number_by_more_than_half_a_step_of_its_row() -> None:
    x = heavy(6, 40, 1, 0.1)
    step = x.abs().amax(1, keepdim=True) / 127
    assert ((in_int8(x) - x).abs() <= 0.5001 * step).all()


def test_zeros_for_victims_leave_outliers_and_as_many_others_are_drawn() -> None:
    x = normal(400, 64)
    x[:, 10] = 40
    generator = torch.Generator().manual_seed(0)
    found = {how: tails.changed(x, how, generator) for how in (CLIPPED, VICTIMS, OTHERS)}
    assert found[CLIPPED].max() < 20
    zeros = {how: (found[how] == 0).sum().item() for how in (VICTIMS, OTHERS)}
    assert (found[VICTIMS][:, 10] == 40).all()
    assert (found[VICTIMS][:, 11] == 0).all()
    assert (found[OTHERS][:, 10] == 40).all()
    assert zeros[OTHERS] == pytest.approx(zeros[VICTIMS], rel=0.3)


def test_victims_are_where_the_identifier_is() -> None:
    x = torch.tensor([1.0, 50.0, -20.0, 3.0, 7.0, -7.0])
    assert victims(encode(x)).tolist() == [True, False, False, True, False, False]
    assert decode(encode(x)).tolist() == [0, 48, -24, 0, 7, -7]


@shares_the_smoke_run(STUDY.slug)
def test_a_run_writes_4_bits_and_a_scale_a_row_in_all_ways_alike() -> None:
    result = smoke_run(STUDY.slug).result
    bits = {result.value("bits per weight", name) for name in ROUNDINGS}
    assert len(bits) == 1
    assert 4 < bits.pop() < 4.1
    errors = {name: result.value("rounding error", name, part="weights") for name in ROUNDINGS}
    assert max(errors[OLIVE], errors[INT4_CLIPPED]) <= errors[INT4_NEAREST]
    assert 0 < result.value("victims", OLIVE, part="weights") < 5
    assert {curve.variant for curve in result.series if curve.name == CURVE} == set(ROUNDINGS)
