"""The codes for ternary weights: exact, as dense as promised, and safe against any bytes."""

import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.oracles.qmoe import PATTERNS, fewest_codes, sequences, ternary
from casestudies.lab.studies.qmoe.codes import coding, container, dictionary
from casestudies.lab.studies.qmoe.codes.container import CODES, CorruptMatrix, Packed, pack, unpack
from casestudies.lab.studies.qmoe.codes.ternary import Ternary
from casestudies.lab.studies.qmoe.speed import COLUMNS, code_all, products, random_weights

DICTIONARY_CODES = [code for code in CODES if code != "rans"]
SHAPES = [(0, 5), (5, 0), (0, 0), (1, 1), (1, 2), (1, 27), (1, 28), (1, 29), (5, 31), (33, 257)]
WIDE = [(3, 4095), (7, 4096), (2, 4097)]
matrices = st.builds(
    ternary, st.sampled_from(SHAPES), st.sampled_from(sorted(PATTERNS)), st.integers(0, 99)
)


def check(matrix: Ternary, code: container.Code) -> Packed:
    """Round trip, row access, size and worst case of one matrix in one code."""
    data = pack(matrix, code)
    packed = unpack(data)
    rows, columns = matrix.trits.shape
    np.testing.assert_array_equal(packed.matrix().trits, matrix.trits)
    np.testing.assert_array_equal(packed.matrix().scales, matrix.scales)
    for row in range(min(rows, 3)):
        np.testing.assert_array_equal(packed.matrix(np.array([row])).trits[0], matrix.trits[row])
    count_bytes = data[7]
    assert len(data) == 32 + (4 + count_bytes) * rows + packed.units.nbytes + 4
    assert 8 * packed.units.nbytes <= 1.6 * rows * columns + 8 * packed.units.itemsize * rows
    return packed


@pytest.mark.parametrize("code", CODES)
# The first example waits for the compiler, and each share of zeros for a dictionary of its own.
@settings(max_examples=30)
@given(matrix=matrices)
def test_every_matrix_comes_back_and_none_takes_more_than_base_3(code, matrix) -> None:
    check(matrix, code)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", WIDE)
def test_wide_rows_come_back(code, shape) -> None:
    for pattern in PATTERNS:
        check(ternary(shape, pattern), code)


def test_the_dictionaries_are_the_same_on_every_machine() -> None:
    assert dictionary.paper().sha256.hex()[:16] == "290dd5ab6df86920"
    assert dictionary.tunstall(16, 227).sha256.hex()[:16] == "3ac1ab0dd3032444"
    assert dictionary.tunstall(8, 227).sha256.hex()[:16] == "c773b681834216bb"


def test_the_papers_dictionary_holds_whole_pairs_and_every_beginning() -> None:
    known = sequences(dictionary.paper())
    assert len(set(known)) == 2**16
    assert {len(s) for s in known} == set(range(2, 29, 2))
    assert {s[:-2] for s in known} <= {*known, b""}
    assert {bytes([a, b]) for a in range(3) for b in range(3)} <= set(known)
    assert dictionary.paper().most == 3


@pytest.mark.parametrize("zeros", [1, 128, 227, 255])
def test_in_tunstalls_dictionary_none_begins_another_and_each_row_can_be_said(zeros) -> None:
    known = sequences(dictionary.tunstall(8, zeros))
    assert len(known) == 255
    # A complete code without beginnings: the shares of all texts that begin so add up to one.
    assert sum(3.0 ** -len(s) for s in known) == pytest.approx(1)
    assert not any(a != b and b.startswith(a) for a in known for b in known)


@pytest.mark.parametrize("zeros", [0.7, 0.885, 0.95])
def test_the_longest_match_is_the_best_choice_for_the_papers_dictionary(zeros) -> None:
    matrix = random_weights(6, 301, zeros, seed=1)
    counts = container.encode(matrix, "paper").counts
    known = set(sequences(dictionary.paper()))
    for row, count in zip(matrix.trits, counts.tolist(), strict=True):
        assert count == fewest_codes(row, known) or count == coding.base_3_units(301, 16)


@pytest.mark.parametrize(
    ("code", "least", "most"),
    [("paper", 1.15, 1.18), ("tunstall-16", 1, 1.05), ("tunstall-8", 1, 1.12), ("rans", 1, 1.02)],
)
def test_how_near_each_code_comes_to_the_entropy(code, least, most) -> None:
    matrix = random_weights(256, 4096, 0.885, seed=0)
    payload = 8 * container.encode(matrix, code).units.nbytes / matrix.trits.size
    assert least <= payload / matrix.entropy() <= most


def test_beside_the_code_words_a_size_counts_the_scales_and_little_else() -> None:
    scales = 2 * 16 / COLUMNS
    for code, coded in code_all(random_weights(64, COLUMNS, 0.885, seed=0), rounds=1).items():
        assert scales <= coded.total - coded.payload < 4 * scales, code


def test_every_product_whose_speed_is_measured_is_the_same() -> None:
    matrix = random_weights(8, COLUMNS, 0.885, seed=3)
    found = {name: torch.as_tensor(run()).clone() for name, run in products(matrix, seed=3).items()}
    assert len(found) > 4
    assert found["dense"].abs().max() > 1
    for name, product in found.items():
        assert (product - found["dense"]).abs().max() < 1e-3, name


@pytest.mark.parametrize("code", DICTIONARY_CODES)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_product_from_code_words_is_that_of_the_weights(code, pattern) -> None:
    for shape in [(0, 5), (5, 0), (1, 1), (1, 29), (33, 257), (7, 4096)]:
        matrix = ternary(shape, pattern)
        x = np.random.default_rng(1).standard_normal(shape[1]).astype(np.float32)
        values = matrix.values().astype(np.float64)
        error = np.abs(unpack(pack(matrix, code)).product(x) - values @ x)
        assert (error <= 1e-5 * np.linalg.norm(values, axis=1) * np.linalg.norm(x)).all()


def test_a_product_of_another_width_or_from_the_range_code_is_refused() -> None:
    matrix = ternary((3, 31), "half zeros")
    with pytest.raises(ValueError, match="30 inputs for 31 columns"):
        unpack(pack(matrix, "paper")).product(np.zeros(30, np.float32))
    with pytest.raises(ValueError, match="no dictionary"):
        unpack(pack(matrix, "rans")).product(np.zeros(31, np.float32))


def test_what_the_format_cannot_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="too wide"):
        pack(Ternary(np.zeros((1, 2**24 + 1), np.uint8), np.zeros((1, 2), np.float32)), "rans")


def test_scales_that_would_not_survive_are_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        pack(Ternary(np.zeros((1, 4), np.uint8), np.array([[-0.1, 0.1]], np.float32)), "paper")


SOUND = {code: pack(ternary((6, 131), "half zeros"), code) for code in CODES}


@pytest.mark.parametrize("code", CODES)
@given(st.data())
def test_any_changed_byte_and_any_missing_end_is_noticed(code, data) -> None:
    sound = SOUND[code]
    at = data.draw(st.integers(0, len(sound) - 1))
    changed = bytearray(sound)
    changed[at] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(changed), sound[:at], sound + b"\0"):
        with pytest.raises(CorruptMatrix):
            unpack(broken)


def signed(body: bytes) -> bytes:
    """The bytes with a checksum that fits them."""
    return body + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize("code", CODES)
@given(st.data())
def test_bytes_with_a_right_checksum_decode_in_bounds_or_not_at_all(code, data) -> None:
    body = bytearray(SOUND[code][:-4])
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        packed = unpack(signed(bytes(body)))
    except CorruptMatrix:
        return
    decoded = packed.matrix()
    assert decoded.trits.shape == (len(packed.counts), packed.columns)
    assert decoded.trits.max(initial=0) <= 2
    if code != "rans":
        # The same function in plain Python, where NumPy checks every index.
        checked = np.zeros_like(decoded.trits)
        place = packed.units, packed.starts, packed.counts
        in_python = coding._decode.py_func  # type: ignore[attr-defined]
        in_python(place, coding.table_of(packed.dictionary), checked)
        np.testing.assert_array_equal(checked, decoded.trits)
        assert packed.product(np.ones(packed.columns, np.float32)).shape == packed.counts.shape


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("magic", b"TRIX", "this version"),
        ("version", 2, "this version"),
        ("code", 9, "unknown code"),
        ("count_bytes", 3, "unknown code"),
        ("zeros", 0, "share of zeros"),
        ("zeros", 17, "another dictionary"),
        ("rows", 7, "do not fit"),
        ("rows", 2**32 - 1, "do not fit"),
        ("columns", 120, "row 0 does not decode"),
        ("columns", 151, "row 1 does not decode"),
        ("columns", 2**24, "row 0 does not decode"),
        ("columns", 2**32 - 1, "too wide"),
        ("columns", 3, "do not add up"),
        ("units", 1, "do not fit"),
        ("table_hash", b"12345678", "another dictionary"),
    ],
)
def test_a_false_header_is_named(field, value, message) -> None:
    body = pack(random_weights(6, 150, 0.885, seed=2), "tunstall-8")[:-4]
    header = container.Header(*container.HEADER.unpack_from(body))._replace(**{field: value})
    with pytest.raises(CorruptMatrix, match=message):
        unpack(signed(container.HEADER.pack(*header) + body[container.HEADER.size :]))


def test_false_counts_scales_and_code_words_are_named() -> None:
    sound = SOUND["tunstall-8"]
    rows, counts = 6, 32 + 6 * 4

    def changed(at: int, value: bytes) -> bytes:
        return signed(sound[:at] + value + sound[at + len(value) : -4])

    swapped = bytes([sound[counts] + 1, sound[counts + 1] - 1])
    not_a_number = b"\xff\xff"
    without_meaning = b"\xff"
    for broken, message in [
        (changed(counts, b"\0"), "add up"),
        (changed(counts, swapped), "row 0"),
        (changed(32, not_a_number), "not a number"),
        (changed(counts + rows, without_meaning), "row 0"),
    ]:
        with pytest.raises(CorruptMatrix, match=message):
            unpack(broken)
