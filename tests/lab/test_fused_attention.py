"""Attention by tiles: the definition's numbers, and the memory that the algorithm promises."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import attention
from casestudies.lab.models.bert import BertShape
from casestudies.lab.studies.fused_attention import encoder, tiled
from casestudies.lab.studies.fused_attention.about import ENCODER, ENCODER_LENGTHS, STUDY
from tests.lab.declared import measured, on_a_gpu

WIDTH = 8


def inputs(queries: int, keys: int, shared: int = 1, heads: int = 1) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(queries * 100 + keys)
    q = torch.randn(2, heads * shared, queries, WIDTH, generator=generator).double()
    k, v = torch.randn(2, 2, heads, keys, WIDTH, generator=generator).double()
    # Scores far apart, so that a wrong maximum would overflow.
    return 9 * q, 9 * k, v


@settings(max_examples=60)
@given(
    queries=st.integers(1, 40),
    before=st.integers(0, 25),
    tile=st.integers(1, 50),
    shared=st.sampled_from([1, 3]),
)
def test_tiles_of_any_size_give_the_definition(
    queries: int, before: int, tile: int, shared: int
) -> None:
    q, k, v = inputs(queries, queries + before, shared, heads=2)
    torch.testing.assert_close(tiled.attend(q, k, v, tile), attention.naive(q, k, v))


def memory(way: attention.Attention, length: int) -> int:
    q, k, v = inputs(length, length)
    with torch.inference_mode():
        return peak_bytes(lambda: way(q, k, v))


def test_memory_grows_with_the_text_by_tiles_and_with_its_square_by_definition() -> None:
    by_tiles, by_definition = (
        memory(way, 2048) / memory(way, 512) for way in (tiled.with_tile(64), attention.naive)
    )
    assert by_tiles < 4.2
    assert 15 < by_definition < 17
    scores = 2 * 2048**2 * 8
    assert memory(attention.naive, 2048) > 2 * scores
    assert memory(tiled.with_tile(64), 2048) < scores / 20


@given(queries=st.integers(1, 300), before=st.integers(0, 50), tile=st.integers(1, 64))
def test_each_tile_of_queries_meets_every_key_up_to_its_last(
    queries: int, before: int, tile: int
) -> None:
    read = [n for rows, _ in tiled.tiles(queries, queries + before, tile) for n in _in(rows)]
    assert read == list(range(queries))
    for rows, columns in tiled.tiles(queries, queries + before, tile):
        met = [n for part in columns for n in _in(part)]
        assert met == list(range(before + rows.stop))


def _in(part: slice) -> range:
    return range(part.start, part.stop)


def test_what_is_moved_shrinks_as_the_tile_grows() -> None:
    """FlashAttention, theorem 2: O(N^2 d^2 / M) numbers, and M grows with the tile."""
    moved = [tiled.moved(4096, 4096, 64, tile) for tile in (16, 32, 64, 128)]
    for coarse, fine in zip(moved[1:], moved, strict=False):
        assert fine / coarse == pytest.approx(2, rel=0.06)
    assert moved[3] < tiled.moved_by_definition(4096, 4096, 64) / 5
    assert tiled.moved(4096, 4096, 64, 4096) == 4 * 4096 * 64


def test_an_encoder_learns_the_same_by_both_kinds_of_attention() -> None:
    shape = BertShape(layers=2, width=16, heads=2, vocabulary=20, positions=12)

    def losses(way: str) -> list[float]:
        generator = torch.Generator().manual_seed(0)
        step = encoder.steps(shape, 12, "cpu", torch.float64, generator)[way]
        return [step().item() for _ in range(3)]

    by_definition = losses("definition")
    assert losses("stock") == pytest.approx(by_definition)
    assert by_definition[2] < by_definition[0]


@pytest.mark.parametrize(
    ("ratios", "status"),
    [
        ((2.0, 2.4, 2.8), "supported"),
        ((2.0, 2.4, 2.79), "direction agrees"),
        ((1.3, 1.3, 1.3), "direction agrees"),
        ((1.2, 1.3, 1.39), "not reproduced"),
        ((2.4, 2.4), "not run"),
    ],
)
def test_the_claim_of_an_encoder_is_judged_by_the_mean_over_three_lengths(ratios, status) -> None:
    rows = [
        (ENCODER, "stock", ratio, {"length": length})
        for length, ratio in zip(ENCODER_LENGTHS, ratios, strict=False)
    ]
    result = measured(STUDY, rows)
    assert STUDY.judge(result)["dao2022flashattention-2"].status == "not run"
    assert STUDY.judge(on_a_gpu(result))["dao2022flashattention-2"].status == status
