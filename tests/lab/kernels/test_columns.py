"""Columns pruned in one kernel are those pruned one after another."""

import pytest
import torch

from casestudies.lab.kernels import columns
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.studies.sparsegpt import masks, solver


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


@pytest.mark.parametrize(("pattern", "bits"), [("unstructured", 4), ("2:4", None)])
def test_sparsegpt_prunes_layers_as_it_does_one_by_one(pattern, bits) -> None:
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(rows, 40, generator=generator) for rows in (9, 20)]
    hessian = gram([torch.randn(200, 40, generator=generator)])
    found, expected = (
        solver.prune(
            weights, hessian, solver.Settings(masks.parse(pattern, 0.6), 32, 0.01, bits, by_one)
        )
        for by_one in (True, False)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_another_precision_is_refused() -> None:
    w, u, keep = columns.drawn(4, 3)
    with pytest.raises(ValueError, match=r"float32, not in torch\.float64"):
        columns.prune(w, u, keep, 0, 1)


def test_what_it_would_write_elsewhere_is_refused() -> None:
    w, u, _ = (part.float() for part in columns.drawn(6, 3))
    with pytest.raises(ValueError, match="6 columns are no groups of 4"):
        columns.prune(w, u, None, 2, 4)
    with pytest.raises(ValueError, match="must be contiguous"):
        columns.prune(w.T.contiguous().T, u, None, 2, 2)
