"""Outlier-victim pairs by their definition, their bytes and bounds, and what a run says."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from casestudies.lab.studies.outlier_codes import tails
from casestudies.lab.studies.outlier_codes.about import (
    CLIPPED,
    INT4_CLIPPED,
    INT4_NEAREST,
    NEARER_PAIRS,
    OLIVE,
    OTHERS,
    STUDY,
    VICTIMS,
)
from casestudies.lab.studies.outlier_codes.activations import FourBits
from casestudies.lab.studies.outlier_codes.packed import (
    ROUNDINGS,
    BrokenPromise,
    Packed,
    check,
    pack,
)
from casestudies.lab.studies.outlier_codes.pairs import (
    FLINT4,
    IDENTIFIER,
    INT4,
    PairCode,
    Which,
    abfloat,
    decode,
    encode,
    victims,
)
from casestudies.lab.studies.outlier_codes.speed import looked_up, products, unpacked
from tests.lab.smoke import shares_the_smoke_run, smoke_run

UNUSED = {0x80, 0x88, 0x08}  # an outlier of zero, or two identifiers
each_code = pytest.mark.parametrize("code", [INT4, FLINT4], ids=["int4", "flint4"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def heavy(rows: int, columns: int, seed: int, share: float) -> Tensor:
    """Return numbers of which a share are up to a hundred times as large."""
    x, drawn = normal(rows, columns, seed=seed), normal(rows, columns, seed=seed + 1)
    return torch.where(drawn.abs() < share, x * 100 * drawn.abs(), x)


def by_definition(pair: tuple[float, float], code: PairCode, which: Which) -> tuple[float, float]:
    """Return what a pair is written as, one number at a time."""

    def nearest(x: float, sizes: tuple[int, ...]) -> float:
        size = min(reversed(sizes), key=lambda size: abs(size - abs(x)))
        return -size if x < 0 else size

    left, right = pair
    free = nearest(left, code.sizes), nearest(right, code.sizes)
    without = nearest(left, code.normals), nearest(right, code.normals)
    end = code.normals[-1]
    if which is Which.NONE or max(map(abs, free)) <= end:
        return without
    kept = (free[0], 0.0) if abs(left) >= abs(right) else (0.0, free[1])

    def cost(found: tuple[float, float]) -> float:
        return (found[0] - left) ** 2 + (found[1] - right) ** 2

    return kept if which is Which.GREATER or cost(kept) < cost(without) else without


def test_outliers_of_int4_and_flint4_are_those_of_the_publication() -> None:
    # Guo et al., 2023, section 3.3: a bias of 2 gives 12 to 96, one of 3 gives 24 to 192.
    assert INT4.sizes == (0, 1, 2, 3, 4, 5, 6, 7, 12, 16, 24, 32, 48, 64, 96)
    assert FLINT4.sizes == (0, 1, 2, 3, 4, 6, 8, 16, 24, 32, 48, 64, 96, 128, 192)
    assert [abfloat(code, 0) for code in range(8)] == [0, 3, 4, 6, 8, 12, 16, 24]
    assert all(abfloat(8 + code, 2) == -abfloat(code, 2) for code in range(8))


@each_code
def test_every_byte_but_three_is_written_for_its_own_pair(code) -> None:
    pairs = {byte: code.pair(byte) for byte in range(256)}
    used = {byte: pair for byte, pair in pairs.items() if byte not in UNUSED}
    # A flint4 of minus zero would be the identifier; int4 has -8 for it.
    assert len(set(used.values())) == len(used) == 15 * 15 + 2 * 14
    x = torch.tensor([list(pair) for pair in used.values()], dtype=torch.float32)
    assert encode(x, code).flatten().tolist() == list(used)
    assert decode(encode(x, code), code).equal(x)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(*2 * [st.floats(-300, 300, width=16)]), min_size=1, max_size=30),
    st.sampled_from([INT4, FLINT4]),
    st.sampled_from(Which),
)
def test_any_pattern_of_outliers_is_written_by_the_definition(pairs, code, which) -> None:
    x = torch.tensor(pairs, dtype=torch.float32).flatten()
    codes = encode(x, code, which)
    assert codes.dtype == torch.uint8
    assert len(codes) == len(pairs)
    found = decode(codes, code).unflatten(0, (-1, 2)).tolist()
    assert found == [list(by_definition(pair, code, which)) for pair in pairs]
    assert encode(decode(codes, code), code).equal(codes)
    # Each byte is read by itself: in any other order the same pairs are found.
    assert decode(codes.flip(0), code).unflatten(0, (-1, 2)).flip(0).tolist() == found


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 70),
    columns=st.integers(1, 100),
    group=st.sampled_from([2, 16, 32, 1000]),
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
    half, groups = -(-columns // 2), -(-columns // min(group, columns + columns % 2))
    assert packed.stored_bytes == rows * (half + 2 * groups)
    assert not packed.weights()[packed.victims()].any()
    assert packed.outliers().sum() >= packed.victims().sum()
    # No more is needed than the bytes, scales and shape.
    again = Packed(packed.codes.clone(), packed.scale.clone(), columns, packed.group, packed.code)
    assert again.weights().equal(packed.weights())


def test_a_changed_byte_or_number_breaks_the_promise() -> None:
    x = heavy(4, 32, 0, 0.1)
    packed = pack(x, ROUNDINGS[OLIVE], 32)
    packed.codes[0, 0] = IDENTIFIER << 4 | IDENTIFIER
    with pytest.raises(BrokenPromise, match="read and written again"):
        check(x, packed, ROUNDINGS[OLIVE])
    moved = pack(x, ROUNDINGS[OLIVE], 32)
    with pytest.raises(BrokenPromise, match="moved too far"):
        check(x + 0.7 * moved.scale.float() * ~moved.outliers(), moved, ROUNDINGS[OLIVE])


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), share=st.sampled_from([0.0, 0.02, 0.2]), columns=st.integers(2, 90))
def test_a_search_that_tries_plain_roundings_scale_is_no_worse(seed, share, columns) -> None:
    x = heavy(5, columns, seed, share)
    errors = {
        name: (pack(x, rounding, columns + columns % 2).weights() - x).square().sum(1)
        for name, rounding in ROUNDINGS.items()
    }
    order = [
        (INT4_CLIPPED, INT4_NEAREST),
        (OLIVE, INT4_NEAREST),
        (NEARER_PAIRS, OLIVE),
        (NEARER_PAIRS, INT4_CLIPPED),
    ]
    for better, worse in order:
        assert (errors[better] <= errors[worse] * 1.0001).all(), (better, worse)


def test_on_heavy_tails_pairs_err_several_times_less_than_clipping() -> None:
    x = normal(64, 512)
    x[:, ::97] *= 30
    left = {n: (pack(x, r, 512).weights() - x).square().sum() for n, r in ROUNDINGS.items()}
    assert left[OLIVE] < left[INT4_CLIPPED] / 3
    assert left[OLIVE] < left[INT4_NEAREST] / 3


@each_code
def test_outliers_are_two_or_three_shifted_so_a_circuit_needs_no_wider_factors(code) -> None:
    for size in code.sizes[8:]:
        assert any(base << shift == size for base in (2, 3) for shift in range(8)), size
    # All in ascending order, the outliers' range beginning where the normal numbers' ends.
    assert all(a < b for a, b in pairwise(code.sizes))


def test_layers_that_read_the_same_are_given_the_same_and_counted_once() -> None:
    first, second = nn.Linear(8, 3), nn.Linear(8, 5)
    x = heavy(6, 8, 3, 0.2)
    read = FourBits(ROUNDINGS[OLIVE])
    given_first = read(first, x)
    assert read(second, x) is given_first
    assert read.numbers == x.numel()
    assert read.first[second] is first
    tokens, outliers = read.outliers[first]
    assert tokens == 6
    assert int(outliers.sum()) == read.victims
    assert read.error == pytest.approx((given_first - x).square().sum().item())


def test_pruning_leaves_outliers_and_changes_as_many_others() -> None:
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


def test_products_decode_the_weights_as_packed() -> None:
    weight, x = heavy(96, 128, 5, 0.05), normal(7, 128, seed=1).bfloat16()
    packed = pack(weight, ROUNDINGS[OLIVE], 128)
    wanted = x.float() @ packed.weights().T
    error = (looked_up(weight)(x).float() - wanted).square().mean() / wanted.square().mean()
    assert error < 1e-4
    plain = pack(weight, ROUNDINGS[INT4_NEAREST], 128).weights()
    wanted = x.float() @ plain.T
    error = (unpacked(weight)(x).float() - wanted).square().mean() / wanted.square().mean()
    assert error < 1e-3
    # A kernel of groups of 64 is left out where they are not whole.
    assert set(products([weight[:, :96]])) == {OLIVE, INT4_NEAREST}


def test_victims_are_where_the_identifier_is() -> None:
    x = torch.tensor([1.0, 50.0, -20.0, 3.0, 7.0, -7.0])
    codes = encode(x, INT4)
    assert victims(codes).tolist() == [True, False, False, True, False, False]
    assert decode(codes, INT4).tolist() == [0, 48, -24, 0, 7, -7]


@shares_the_smoke_run
def test_a_run_writes_4_bits_and_a_scale_a_row_in_all_ways_alike() -> None:
    result = smoke_run(STUDY.slug).result
    where = {"model": "pretrained", "part": "weights", "group": "whole rows"}
    bits = {result.value("bits per weight", name, **where) for name in ROUNDINGS}
    assert len(bits) == 1
    assert 4 < bits.pop() < 4.1
    errors = {name: result.value("rounding error", name, **where) for name in ROUNDINGS}
    assert errors[NEARER_PAIRS] <= errors[OLIVE] <= errors[INT4_NEAREST]
    assert errors[INT4_CLIPPED] <= errors[INT4_NEAREST]
    assert 0 < result.value("victims", OLIVE, **where) < 5
