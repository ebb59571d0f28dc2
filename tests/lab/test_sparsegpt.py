"""The pruning methods on layers small enough to check against brute force."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from benchmarks.oracles import sparsegpt as oracle
from casestudies.lab.kernels import floor
from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure import rounds
from casestudies.lab.quantize.hessian import gram, inverse_factor
from casestudies.lab.report import Report
from casestudies.lab.studies.sparsegpt import baselines, semi_structured, solver
from casestudies.lab.studies.sparsegpt.about import (
    BFLOAT16,
    IN_HARDWARE,
    ONE_KERNEL,
    STUDY,
    SparseGptParameters,
)
from casestudies.lab.studies.sparsegpt.masks import Pattern, parse, smallest, smallest_in_column
from casestudies.lab.studies.sparsegpt.study import plan, report_product

HALF, TWO_OF_FOUR, FOUR_OF_EIGHT = Pattern(0.5), Pattern(0.5, 4), Pattern(0.5, 8)


def layer(rows: int, columns: int, *, seed: int = 0, tokens: int = 512) -> tuple[Tensor, Tensor]:
    """Weights (rows, columns) and correlated inputs (tokens, columns), in double precision."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64)
    x = torch.randn(tokens, columns, generator=generator, dtype=torch.float64) @ mixing
    w = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    return w, x / columns**0.5


def brute_force(w: Tensor, kept: Tensor, hessian: Tensor) -> Tensor:
    """Remove weights from left to right with a fresh inverse and the full update for each one."""
    w = w.clone()
    for row in range(len(w)):
        for column in range(w.shape[1]):
            inverse = torch.linalg.inv(hessian[column:, column:])
            if not kept[row, column]:
                w[row, column:] -= w[row, column] / inverse[0, 0] * inverse[0]
    return w


def damped(gram_matrix: Tensor, damping: float) -> Tensor:
    return gram_matrix + damping * gram_matrix.diagonal().mean() * torch.eye(
        len(gram_matrix), dtype=gram_matrix.dtype
    )


@pytest.mark.parametrize("pattern", [HALF, Pattern(0.25), TWO_OF_FOUR, FOUR_OF_EIGHT])
@pytest.mark.parametrize("block", [16, 32, 128])
def test_updates_equal_the_brute_force_optimal_brain_surgeon(pattern, block) -> None:
    w, x = layer(6, 48)
    (pruned,) = solver.prune([w], gram([x]), solver.Settings(pattern, block))
    expected = brute_force(w, pruned != 0, damped(gram([x]), 0.01))
    torch.testing.assert_close(pruned, expected, rtol=1e-8, atol=1e-8)


def test_what_stays_is_the_least_squares_optimum_when_the_first_columns_go() -> None:
    w, x = layer(5, 24)
    w[:, :12] *= 1e-6
    (pruned,) = solver.prune([w], gram([x]), solver.Settings(HALF, damping=1e-9))
    assert (pruned[:, :12] == 0).all()
    best = torch.linalg.lstsq(x[:, 12:], x @ w.T).solution.T
    torch.testing.assert_close(pruned[:, 12:], best, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("pattern", [HALF, TWO_OF_FOUR, FOUR_OF_EIGHT])
def test_masks_agree_with_a_transcription_of_the_paper(pattern, bits) -> None:
    w, x = (tensor.float() for tensor in layer(160, 320, tokens=2048))
    (ours,) = solver.prune([w], gram([x]), solver.Settings(pattern, 128, bits=bits))
    zeros, group = pattern.zeros, pattern.group or 0
    theirs = oracle.prune(w, gram([x]), sparsity=0.5, zeros=zeros, group=group, bits=bits)
    agree = (ours == 0) == (theirs == 0)
    assert agree.float().mean() >= 0.999
    same_rows = agree.all(1)
    if bits is None:
        torch.testing.assert_close(ours[same_rows], theirs[same_rows], rtol=1e-3, atol=1e-4)


def test_layers_pruned_together_are_pruned_as_if_alone() -> None:
    (a, x), (b, _) = layer(12, 64), layer(20, 64, seed=1)
    settings = solver.Settings(HALF, 32)
    together = solver.prune([a, b], gram([x]), settings)
    alone = [solver.prune([w], gram([x]), settings)[0] for w in (a, b)]
    for found, expected in zip(together, alone, strict=True):
        torch.testing.assert_close(found, expected)


@given(
    rows=st.integers(1, 9),
    groups=st.integers(1, 12),
    pattern=st.sampled_from([TWO_OF_FOUR, FOUR_OF_EIGHT]),
    seed=st.integers(0, 99),
)
def test_n_in_m_is_exact_for_every_method(rows, groups, pattern, seed) -> None:
    assert pattern.group is not None
    w, x = layer(rows, groups * pattern.group, seed=seed, tokens=64)
    for pruned in (
        solver.prune([w], gram([x]), solver.Settings(pattern, 16))[0],
        baselines.magnitude(w, pattern),
        baselines.wanda(w, [x], pattern),
    ):
        zeros = (pruned.view(rows, groups, pattern.group) == 0).sum(2)
        assert (zeros == pattern.zeros).all()


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_unstructured_sparsity_is_what_was_asked_for(sparsity) -> None:
    w, x = layer(40, 96)
    (pruned,) = solver.prune([w], gram([x]), solver.Settings(Pattern(sparsity), 32))
    for found in (pruned, baselines.magnitude(w, Pattern(sparsity))):
        assert (found == 0).double().mean().item() == pytest.approx(sparsity, abs=0.001)


def test_quantized_rows_hold_no_more_values_than_bits_allow() -> None:
    w, x = layer(10, 128)
    (pruned,) = solver.prune([w], gram([x]), solver.Settings(HALF, 64, bits=3))
    assert all(len(row.unique()) <= 8 for row in pruned)
    assert (pruned == 0).double().mean() >= 0.5


def test_an_input_that_is_always_zero_loses_its_weights() -> None:
    w, x = layer(8, 32)
    x[:, 5] = 0
    (pruned,) = solver.prune([w], gram([x]), solver.Settings(HALF))
    assert (pruned[:, 5] == 0).all()
    assert pruned.isfinite().all()


def test_a_pattern_that_does_not_fill_the_columns_is_refused() -> None:
    w, x = layer(4, 10)
    with pytest.raises(ValueError, match="10 columns"):
        solver.prune([w], gram([x]), solver.Settings(TWO_OF_FOUR))


def test_more_careful_methods_lose_less() -> None:
    w, x = layer(64, 128)
    x *= torch.tensor([0.2, 3.0, 1.0, 0.5]).repeat(32)
    pruned = {
        "magnitude": baselines.magnitude(w, HALF),
        "wanda": baselines.wanda(w, [x], HALF),
        "sparsegpt": solver.prune([w], gram([x]), solver.Settings(HALF, 32))[0],
    }
    loss = {name: (x @ (w - found).T).square().sum() for name, found in pruned.items()}
    assert loss["sparsegpt"] < 0.7 * loss["wanda"] < 0.7 * loss["magnitude"]


def test_wanda_weighs_a_weight_by_its_input() -> None:
    w = torch.tensor([[1.0, 2.0, 3.0, 4.0]])
    x = torch.tensor([[10.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert baselines.wanda(w, [x], HALF).tolist() == [[1.0, 0.0, 0.0, 4.0]]
    assert baselines.magnitude(w, HALF).tolist() == [[0.0, 0.0, 3.0, 4.0]]


def test_the_factor_holds_the_inverse_hessian() -> None:
    _, x = layer(1, 40)
    u = inverse_factor(gram([x[:200], x[200:]]), 0.05)
    inverse = torch.linalg.inv(damped(x.T @ x, 0.05))
    torch.testing.assert_close(u.T @ u, inverse)
    assert (u.tril(-1) == 0).all()


scores = st.lists(st.integers(0, 5), min_size=1, max_size=40).map(
    lambda values: torch.tensor(values, dtype=torch.float32)
)


@given(scores, st.data())
def test_masks_take_exactly_the_smallest_scores_ties_included(values, data) -> None:
    count = data.draw(st.integers(0, len(values)))
    for mask in (smallest(values, count), smallest_in_column(values[:, None], count)[:, 0]):
        assert mask.sum() == count
        if 0 < count < len(values):
            assert values[mask].max() <= values[~mask].min()


def test_patterns_by_name() -> None:
    assert parse("unstructured", 0.3) == Pattern(0.3)
    assert parse("4:8", 0.3) == FOUR_OF_EIGHT


def test_one_kernel_is_one_more_trial_where_it_runs() -> None:
    parameters = SparseGptParameters(repeats=2)
    without, with_it = (plan(parameters, HALF, one_kernel=by_one) for by_one in (False, True))
    assert [trial for trial in with_it if trial.method == ONE_KERNEL] == [
        trial for trial in with_it if trial not in without
    ]
    assert len(with_it) == len(without) + 1


def test_products_of_two_in_four_are_held_against_the_weights_that_they_stand_for(
    monkeypatch,
) -> None:
    monkeypatch.setattr(semi_structured, "TOKENS", (1, 8))
    monkeypatch.setattr(floor, "copied_bytes_a_second", lambda device: 1e9)
    monkeypatch.setattr(rounds, "BEYOND_CACHES", 5000)
    layers = semi_structured.layers()
    assert layers["llama-8b up, 14336 x 4096"] == (14_336, 4_096)
    assert len(layers) == 6
    seen = []

    def compress(weight: Tensor) -> Tensor:
        seen.append(weight)
        return weight.clone()

    found = list(semi_structured.products("small", (32, 64), "cpu", compress))
    assert [one.tokens for one in found] == [1, 8]
    assert len(seen) == 3  # as many as take turns
    assert ((seen[0].view(32, 16, 4) == 0).sum(2) == 2).all()
    assert all(len(one.speed) > 1 for one in found)
    # Twice the weights are twice the product: as far off as the product is large.
    for one in semi_structured.products("small", (32, 64), "cpu", lambda weight: 2 * weight):
        assert one.apart == pytest.approx(1, abs=0.01)
        assert not one.speed
        assert not one.share


def test_of_weights_two_in_four_half_is_multiplied_and_nine_sixteenths_are_read() -> None:
    dense, sparse = (semi_structured.floor(way, (32, 64), 8) for way in (BFLOAT16, IN_HARDWARE))
    beside = 2 * 8 * (32 + 64)  # inputs and outputs
    assert dense == Floor(2 * 32 * 64 + beside, 2 * 8 * 32 * 64)
    assert sparse == Floor(9 * 32 * 64 // 8 + beside, 8 * 32 * 64)


def test_of_one_token_the_share_is_of_copying_and_of_many_of_the_bfloat16_rate(
    monkeypatch,
) -> None:
    monkeypatch.setattr(semi_structured, "TOKENS", (1, 512))
    monkeypatch.setattr(semi_structured, "copies", lambda each, most: 2)
    seconds = {BFLOAT16: [4.0, 4.0, 6.0], IN_HARDWARE: [2.0, 2.0, 3.0]}  # of two matrices each
    monkeypatch.setattr(semi_structured, "alternately", lambda *given: seconds)
    monkeypatch.setattr(floor, "copied_bytes_a_second", lambda device: 1e6)
    monkeypatch.setattr(floor, "bfloat16_operations_a_second", lambda device: 1e9)
    events: list = []
    report = Report(STUDY, events.append)
    for one in semi_structured.products("small", (32, 64), "cpu", torch.clone):
        report_product(report, one)
    rows = {(e.metric, e.variant, e.settings["tokens"]): e.value for e in events}
    dense, sparse = (
        {n: semi_structured.floor(way, (32, 64), n) for n in (1, 512)}
        for way in (BFLOAT16, IN_HARDWARE)
    )
    assert {key: value for key, value in rows.items() if key[0].startswith("share")} == {
        ("share of copying", BFLOAT16, 1): pytest.approx(100 * dense[1].bytes / 1e6 / 2),
        ("share of copying", IN_HARDWARE, 1): pytest.approx(100 * sparse[1].bytes / 1e6),
        ("share of bfloat16 rate", BFLOAT16, 512): pytest.approx(dense[512].operations / 2e7),
        ("share of bfloat16 rate", IN_HARDWARE, 512): pytest.approx(sparse[512].operations / 1e7),
    }
    assert rows["2:4 speed", IN_HARDWARE, 512] == 2
