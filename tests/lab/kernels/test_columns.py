"""Columns pruned in one kernel are those pruned one after another."""

import pytest

from casestudies.lab.kernels import columns


@pytest.mark.parametrize(("count", "rows", "group", "bits"), [
    (70, 33, None, None),
    (23, 5, None, 3),
    (68, 40, 4, None),
    (24, 70, 8, 4),
    (1, 1, None, None),
])  # fmt: skip
def test_columns_are_those_pruned_one_by_one(count, rows, group, bits) -> None:
    assert columns.apart(count, rows, group, bits, "cpu") <= 1e-5


def test_the_floor_counts_each_weight_read_and_written_and_its_error() -> None:
    found = columns.floor(128, 1000)
    assert found.bytes == 4 * (3 * 128 * 1000 + 128**2)
    assert found.operations == 128**2 * 1000
