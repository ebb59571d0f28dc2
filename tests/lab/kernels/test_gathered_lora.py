"""Each token gets what its own adapter makes of it, read from pages in any order."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.kernels import gathered_lora
from casestudies.lab.kernels.gathered_lora import Pages
from casestudies.lab.measure.equality import TOLERANCES, relative


@settings(max_examples=5)
@given(
    segments=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40)), min_size=1, max_size=4),
    k=st.integers(1, 700),
    d=st.integers(1, 300),
    rank=st.sampled_from([1, 8, 33]),
    page=st.sampled_from([16, 100, 256]),
    first=st.integers(0, 300),
    dtype=st.sampled_from(sorted(TOLERANCES, key=str)),
)
def test_each_token_gets_what_its_own_adapter_adds(
    segments, k, d, rank, page, first, dtype
) -> None:
    y, x, pages = gathered_lora.drawn(segments, k, d, rank, page, first, dtype)
    exact, taken = y.double(), gathered_lora.tiles(segments, "cpu")
    wide = Pages(pages.memory.double(), pages.tables)
    gathered_lora.reference(exact, x.double(), wide, taken, first, rank)
    gathered_lora.add(y, x, pages, taken, first, rank)
    assert relative(y, exact) <= TOLERANCES[dtype]


def test_tokens_that_do_not_adjoin_are_refused() -> None:
    y, x, pages = gathered_lora.drawn([(0, 4)], 8, 8, 1, 16, 0, torch.float32)
    with pytest.raises(ValueError, match="must be contiguous"):
        gathered_lora.add(y, x.T, pages, gathered_lora.tiles([(0, 4)], "cpu"), 0, 1)


def test_a_tile_has_tokens_of_one_adapter() -> None:
    found = gathered_lora.tiles([(2, 1), (0, 17), (2, 16)], "cpu")
    assert found.tolist() == [[0, 1, 2], [1, 17, 0], [17, 18, 0], [18, 34, 2]]


def test_the_floor_counts_an_adapter_once_and_outputs_twice() -> None:
    found = gathered_lora.floor(tokens=32, adapters=4, k=512, d=256, rank=8)
    assert found.bytes == 2 * (4 * 8 * 768 + 32 * (512 + 2 * 256))
    assert found.operations == 2 * 32 * 8 * 768
