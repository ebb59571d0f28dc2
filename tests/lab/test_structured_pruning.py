"""Units that leave a model, how the rest makes up for them, and how a sparse encoder is stored."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.equations.inference_memory import kv_bytes_per_token
from casestudies.lab.models.bert import BertShape
from casestudies.lab.studies.structured_pruning import choosing, pruning, removing, stored
from casestudies.lab.studies.structured_pruning.about import BERT_STORED, STUDY
from casestudies.lab.studies.structured_pruning.study import scattered
from tests.lab.declared import statuses
from tests.lab.tiny import CONFIG, tiny_model, tiny_windows


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_units(part: removing.Part) -> list[Tensor]:
    count = removing.units(CONFIG, part)
    return [torch.arange(count)[::2], torch.arange(count)[1::2]]


@pytest.mark.parametrize("part", pruning.PARTS)
def test_what_is_removed_is_what_was_masked(part: removing.Part) -> None:
    model, windows = tiny_model(), tiny_windows()
    masked = pruning.masked(model, part, some_units(part))
    smaller = pruning.smaller(model, part, some_units(part))
    torch.testing.assert_close(smaller(windows), masked(windows), rtol=0, atol=1e-5)
    # They do something, and the model itself stays as it was.
    assert not masked(windows).allclose(tiny_model()(windows), atol=1e-2)
    assert model(windows).equal(tiny_model()(windows))


def test_half_of_the_units_take_half_of_their_matrices_with_them() -> None:
    neurons, groups = (
        pruning.smaller(tiny_model(), part, some_units(part)) for part in pruning.PARTS
    )
    whole = removing.parameters([tiny_model()])
    width, shared = CONFIG.width, CONFIG.width // CONFIG.heads * CONFIG.key_value_heads
    lost = CONFIG.layers * 3 * width * CONFIG.feed_forward // 2
    assert removing.parameters([neurons]) == whole - lost
    assert removing.parameters([groups]) == whole - CONFIG.layers * (width + shared) * width


@pytest.mark.parametrize("part", pruning.PARTS)
def test_a_cache_of_uneven_layers_gives_what_reading_all_gives(part: removing.Part) -> None:
    model, windows = pruning.smaller(tiny_model(), part, some_units(part)[:1]), tiny_windows()
    cache = removing.UnevenCache()
    model(windows[:, :-1], cache)
    for _ in range(2):
        cache.rewind(windows.shape[1] - 1)
        found = model(windows[:, -1:], cache)
    torch.testing.assert_close(found[:, 0], model(windows)[:, -1], rtol=0, atol=1e-5)
    kept = 1 + CONFIG.key_value_heads if part == "head groups" else 2 * CONFIG.key_value_heads
    of_head = kv_bytes_per_token(
        layers=1, kv_heads=1, head_dim=CONFIG.width // CONFIG.heads, number_bytes=4
    )
    assert cache.bytes == windows.numel() * kept * of_head


@settings(max_examples=40)
@given(
    seed=st.integers(0, 10_000),
    width=st.integers(1, 3),
    units=st.integers(2, 40),
    data=st.data(),
)
def test_the_rest_makes_up_as_least_squares_would(
    seed: int, width: int, units: int, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, units - 1))
    columns = width * units
    weight = torch.randn(5, columns, generator=generator(seed)).double()
    x = torch.randn(4 * columns, columns, generator=generator(seed + 1)).double()
    gram = x.T @ x
    removed, found = choosing.operate(weight, gram, width, number)
    assert len(removed) == number
    gone = removing.spread(removed, width)
    kept = torch.tensor([c for c in range(columns) if c not in gone.tolist()])
    damped = torch.linalg.inv(choosing.inverse(gram))
    expected = torch.linalg.solve(damped[kept][:, kept], damped[kept] @ weight.T).T
    torch.testing.assert_close(found[:, kept], expected)
    assert found[:, gone].eq(0).all()
    masked = weight.clone()
    masked[:, gone] = 0

    def cost(changed: Tensor) -> float:
        off = changed - weight
        return (off @ damped * off).sum().item()

    assert cost(found) <= cost(masked) * (1 + 1e-9)
    if number == 1:
        costs = choosing.removal_costs(weight, choosing.inverse(gram), width)
        assert costs.argmin() == removed[0]
        assert cost(found) == pytest.approx(costs.min().item())


def test_units_that_give_nothing_leave_first_and_cost_nothing() -> None:
    weight = torch.randn(6, 12, generator=generator(0))
    weight[:, 4:6] = 0
    x = torch.randn(50, 12, generator=generator(1))
    removed, found = choosing.operate(weight, x.T @ x, 2, 1)
    assert removed.tolist() == [2]
    assert found.equal(weight)


@pytest.mark.parametrize("part", pruning.PARTS)
def test_surgery_loses_less_of_its_layer_than_leaving_the_rest_as_it_was(
    part: removing.Part,
) -> None:
    model, windows = tiny_model(), tiny_windows(16)
    number = removing.units(CONFIG, part) // 2
    operated, removed = pruning.operated(model, part, [number], windows)
    masked = pruning.masked(model, part, removed)
    inputs = model.embedding(windows)
    expected, *found = (one.blocks[0](inputs) for one in (model, operated, masked))
    assert [len(units) for units in removed] == [number]
    errors = [(one - expected).square().sum() for one in found]
    assert errors[0] < 0.9 * errors[1]


def test_every_block_keeps_its_dearest_group_of_heads() -> None:
    costs = [torch.tensor([1.0, 2.0, 3.0]), torch.tensor([9.0, 8.0, 7.0])]
    removed = choosing.lowest(costs, "head groups", 0.5)
    assert [one.tolist() for one in removed] == [[0, 1], [2]]
    most = choosing.lowest(costs, "head groups", 1.0)
    assert [one.tolist() for one in most] == [[0, 1], [1, 2]]
    assert [len(one) for one in choosing.lowest(costs, "neurons", 0.34)] == [1, 1]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1000),
    rows=st.integers(1, 9),
    blocks=st.integers(1, 9),
    sparsity=st.floats(0, 0.95),
)
def test_a_stored_matrix_comes_back_and_takes_the_bytes_that_are_counted(
    seed: int, rows: int, blocks: int, sparsity: float
) -> None:
    weight = torch.randn(rows, 4 * blocks, generator=generator(seed))
    kept = stored.BlockSparse.of(weight, sparsity)
    assert kept.bytes == stored.block_sparse_bytes(rows, 4 * blocks, sparsity)
    found = kept.dense()
    alive = found.view(rows, blocks, 4).ne(0).any(-1)
    assert alive.sum() == len(kept.places)
    sizes = weight.view(rows, blocks, 4).square().sum(-1)
    if alive.any() and not alive.all():
        assert sizes[alive].min() >= sizes[~alive].max()
    error = (found - weight).abs().view(rows, blocks, 4)
    assert (error <= kept.scales[:, None, None] * 0.501)[alive].all()


def test_a_dense_encoder_is_as_large_as_its_parameters() -> None:
    dense, compressed = stored.encoder_bytes(BertShape(), 0.9)
    assert dense == 4 * 109_482_240
    matrices, others = 12 * 12 * 768**2, (30_522 + 512 + 2 + 768) * 768
    # Places and rows come on top of the values, and scales; no part may be forgotten.
    assert matrices // 10 * 1.5 + others < compressed < 1.04 * (matrices // 10 * 1.5 + others)


@pytest.mark.parametrize(("ratio", "status"), [(10, "direction agrees"), (9.9, "not reproduced")])
def test_compound_compression_is_judged_by_the_rule(ratio: float, status: str) -> None:
    rows = [
        ("compound compression", BERT_STORED, value, {"sparsity": sparsity})
        for sparsity, value in ((0.8, 8.0), (0.9, ratio))
    ]
    assert statuses(STUDY, rows)["kurtic2022obert-0"] == status


@given(columns=st.integers(4, 12), share=st.sampled_from([0.25, 0.5, 0.75]))
def test_scattered_zeros_are_the_least_of_each_row_by_size_times_input(
    columns: int, share: float
) -> None:
    weight = torch.randn(3, columns, generator=generator(columns))
    norms = torch.rand(columns, generator=generator(1)) + 0.1
    found = scattered(weight, norms, share)
    gone = found == 0
    assert gone.sum(1).tolist() == [round(share * columns)] * 3
    scores = weight.abs() * norms
    for row, zero in zip(scores, gone, strict=True):
        assert torch.cat([row[zero], row[~zero].min()[None]]).max() == row[~zero].min()
    assert found[~gone].equal(weight[~gone])
