"""Products from code words are those with the weights that the words stand for."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import code_words
from casestudies.lab.kernels.code_words import Coded, Table
from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.studies.qmoe.codes import container, dictionary
from casestudies.lab.studies.qmoe.codes.ternary import Ternary, bfloat16


@cache
def table(code: str, zeros: int) -> Table:
    found = dictionary.paper() if code == "paper" else dictionary.tunstall(int(code[9:]), zeros)
    return Table.of(found.entries)


def coded(packed: container.Packed) -> Coded:
    """Return the matrix of a container as the kernel takes it."""
    of_code = table(packed.code, packed.zeros)
    return Coded.of(packed.units, packed.counts, packed.scales, of_code, packed.columns)


@settings(max_examples=8)
@example("paper", 0.0, 3, 41, 1, torch.float32, 0)
@example("tunstall-8", 1.0, 3, 700, 3, torch.float16, 0)
@given(
    st.sampled_from(["paper", "tunstall-16", "tunstall-8"]),
    st.sampled_from([0.2, 0.6, 0.885, 0.99]),  # the less, the more rows are in base 3
    st.integers(1, 9),
    st.integers(1, 900),
    st.sampled_from([1, 2, 16]),
    st.sampled_from(sorted(TOLERANCES, key=str)),
    st.integers(0, 99),
)
def test_products_are_those_of_the_decoded_weights(
    code, zeros, rows, columns, tokens, dtype, seed
) -> None:
    generator = np.random.default_rng(seed)
    share = [zeros, (1 - zeros) / 2, (1 - zeros) / 2]
    trits = generator.choice(3, (rows, columns), p=share).astype(np.uint8)
    scales = bfloat16(generator.standard_normal((rows, 2)).astype(np.float32))
    matrix = Ternary(trits, scales)
    weights = coded(container.encode(matrix, code))
    assert torch.equal(weights.weights(), torch.from_numpy(matrix.values()))
    x = torch.from_numpy(generator.standard_normal((tokens, columns))).to(dtype)
    exact = x.double() @ torch.from_numpy(matrix.values()).double().T
    found = code_words.product(x, weights)
    assert (found.dtype, found.shape) == (dtype, exact.shape)
    if not trits.any():
        assert not found.any()
        return
    # Where terms cancel, the largest product is no measure of what was summed.
    summed = (x.double().abs() @ torch.from_numpy(matrix.values()).double().abs().T).max()
    cancelled = (summed / exact.abs().max()).item()
    assert relative(found, exact) <= TOLERANCES[dtype] * max(1, cancelled / 8)
    assert relative(code_words.reference(x.double(), weights), exact) <= 1e-12


def test_tables_are_as_small_as_their_sequences_allow() -> None:
    paper, ours, small = table("paper", 0), table("tunstall-16", 227), table("tunstall-8", 227)
    assert (paper.words.nbytes, paper.most) == (2**18, 3)
    assert (ours.words.nbytes, ours.most) == (2**19, 4)
    assert (small.words.nbytes, small.most) == (2**10, 2)


def test_more_tokens_than_it_multiplies_are_refused() -> None:
    weights = code_words.random(2, 64, 8, 2, np.random.default_rng(0))
    with pytest.raises(ValueError, match="17 tokens; at most 16"):
        code_words.product(torch.zeros(17, 64), weights)


def test_the_floor_counts_words_starts_and_scales_once() -> None:
    weights = code_words.random(5, 640, 16, 3, np.random.default_rng(0))
    found = code_words.floor(weights, tokens=2, nonzeros=100)
    assert found.bytes == 2 * len(weights.units) + 4 * 6 + 4 * 5 + 2 * 2 * (5 + 640)
    assert found.operations == 400


@pytest.mark.parametrize(("bits", "most", "trits"), [(8, 2, 5), (16, 3, 10)])
def test_random_words_are_sound_and_every_third_row_is_in_base_3(bits, most, trits) -> None:
    columns = 701
    weights = code_words.random(9, columns, bits, most, np.random.default_rng(0))
    words, held = weights.table.words.long(), weights.units.long() & 2**bits - 1
    lengths = words & 2**weights.table.length_bits - 1
    entries = words >> weights.table.length_bits
    slot = weights.table.place_bits + 2
    each = torch.stack([entries >> slot * n + slot - 2 & 3 for n in range(most)])
    nonzeros = (each > 0).sum(0)
    assert (lengths.min(), lengths.max(), weights.table.most) == (14, 28, most)
    assert nonzeros[0] == 0
    assert (nonzeros[1:] == most).all()
    in_base_3 = -(-columns // trits)
    for row, units in enumerate(held.split(weights.starts.diff().tolist())):
        if row % 3 == 2:
            assert len(units) == in_base_3
            assert units[:-1].max() < 3**trits
            assert units[-1] < 3 ** (columns % trits)  # nothing past the row's end
        else:
            ends = lengths[units].cumsum(0)
            assert len(units) < in_base_3
            assert units[-1] == 0
            assert ends[-1] >= columns > ends[-2]
