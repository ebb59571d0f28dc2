"""A sequence that ranks share: one process's numbers, and the bytes that the formulas give."""

from collections.abc import Iterator, Mapping

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.contract import Judgement
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.communication import (
    all_reduce_bytes,
    all_to_all_bytes,
    gather_bytes,
    tensor_parallel_bytes,
)
from casestudies.lab.models.gpt import Dropout, Gpt, Part, none
from casestudies.lab.report import Report
from casestudies.lab.studies.sequence_parallel import ring, study
from casestudies.lab.studies.sequence_parallel.about import (
    ALONE,
    COUNTED,
    DROPOUT,
    FUSED,
    PUBLISHED,
    RING,
    SELECTIVE,
    STUDY,
    TENSOR,
    TERAPIPE,
    TIMED,
    ULYSSES,
    UNITS,
    WHOLE,
    WITH_SCORES,
    WITHOUT,
    ZIG_ZAG,
    published_ratio,
)
from casestudies.lab.studies.sequence_parallel.ranks import (
    SEED,
    Compared,
    Exact,
    Task,
    compare,
    count,
    exact,
    peaks,
    slices,
    timed,
)
from casestudies.lab.studies.sequence_parallel.ring import CONTIGUOUS, Placement
from casestudies.lab.studies.sequence_parallel.ring import ZIG_ZAG as IN_ZIG_ZAG
from casestudies.lab.studies.sequence_parallel.terapipe import best_slices, duration, replayed
from casestudies.lab.train import loop
from tests.lab.declared import measured

on_several_ranks = pytest.mark.xdist_group("ranks")

S, B, H, A = 32, 2, 256, 4
VOCABULARY = 40
SHARED = (*WITH_SCORES, *WITHOUT)
placements = pytest.mark.parametrize("placement", [CONTIGUOUS, IN_ZIG_ZAG], ids=["order", "zigzag"])


def pairs(placement: Placement, tokens: int, rank: int, ranks: int) -> int:
    """Return the pairs of query and key that a rank computes, of a sequence of so many tokens."""
    meetings = (placement.meeting(rank, owner, tokens // ranks) for owner in range(ranks))
    return sum(meeting.pairs(tokens // ranks) for meeting in meetings if meeting)


def all_slices(units: int) -> Iterator[tuple[int, ...]]:
    """Yield every way to cut so many units into slices."""
    if not units:
        yield ()
    for first in range(1, units + 1):
        yield from ((first, *rest) for rest in all_slices(units - first))


def model_and_windows() -> tuple[Gpt, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = Gpt(VOCABULARY, H, 2, A, generator)
    return model, torch.randint(VOCABULARY, (B, S + 1), generator=generator)


def task() -> Task:
    return Task.of(*model_and_windows())


@pytest.fixture(scope="module")
def alone() -> dict[str, Exact]:
    (found,) = on_ranks(1, exact, task(), (ALONE, FUSED), seconds=60)
    return found


@on_several_ranks
def test_one_process_finds_what_the_whole_model_finds(alone: dict[str, Exact]) -> None:
    model, windows = model_and_windows()
    model.dtype = torch.float64

    def loss(dropout: float) -> torch.Tensor:
        drops = Dropout(dropout, torch.Generator().manual_seed(SEED))
        return loop.token_loss(model(windows[:, :-1], none, drops), windows)

    assert alone[ALONE].loss == pytest.approx(loss(0.0).item(), rel=1e-6)
    expected = torch.autograd.grad(loss(DROPOUT), list(model.parameters()))
    for found, gradient in zip(alone[ALONE].gradients, expected, strict=True):
        assert (torch.from_numpy(found) - gradient).abs().max() < 1e-5 * gradient.abs().max()


@on_several_ranks
def test_loss_and_gradients_with_dropout_are_those_of_one_process(alone: dict[str, Exact]) -> None:
    against = dict.fromkeys(WITH_SCORES, ALONE) | dict.fromkeys(WITHOUT, FUSED)
    for rank in on_ranks(COUNTED, compare, task(), alone, against, seconds=60):
        for name, one in rank.items():
            assert one.of_loss < 1e-13, name
            assert one.of_gradient < 1e-12, name
    # With dropout of scores the gradients are others, so the comparison is not of nothing.
    kept, dropped = (torch.from_numpy(one.gradients[1]) for one in alone.values())
    assert (kept - dropped).abs().max() > 0.01 * kept.abs().max()


@on_several_ranks
@pytest.mark.parametrize("world", [TIMED, COUNTED])
def test_a_rank_keeps_and_sends_the_bytes_of_the_formulas(world: int) -> None:
    kept = {name: study.kept_by_formula(task(), name, world) for name in SHARED}
    # Two numbers of 16 bits for each norm and token, one of 32 for each softmax of the kernel.
    statistics = dict.fromkeys(SHARED, 8 * S * B / world) | {TENSOR: 8 * S * B}
    for name in WITHOUT:
        statistics[name] += 4 * S * B * A / world
    whole = 2 * S * B * H
    once = gather_bytes(ranks=world, payload_bytes=whole)
    of_shared = 10 * once
    tensor = tensor_parallel_bytes(tensor_ranks=world, tokens=S, batch=B, hidden=H)
    sent = dict.fromkeys(SHARED, of_shared) | {TENSOR: tensor, RING: 6 * once, ZIG_ZAG: 6 * once}
    sent[ULYSSES] = 8 * all_to_all_bytes(ranks=world, payload_bytes=whole / world)
    calls: dict[str, Mapping[str, int]] = {
        name: {"all-gather": 6, "reduce-scatter": 4} for name in SHARED
    }
    calls |= {TENSOR: {"all-reduce": 4}, ULYSSES: {"all-to-all": 8}}
    calls |= {name: {"send": 3 * (world - 1)} for name in (RING, ZIG_ZAG)}
    of_weights = dict.fromkeys(WITH_SCORES, 0.0) | dict.fromkeys(
        WITHOUT, all_reduce_bytes(ranks=world, payload_bytes=2 * 12 * H**2)
    )
    for number, rank in enumerate(on_ranks(world, count, task(), SHARED, seconds=60)):
        assert rank[RING].pairs == pairs(CONTIGUOUS, S, number, world)
        assert rank[ZIG_ZAG].pairs == pairs(IN_ZIG_ZAG, S, number, world)
        for name, one in rank.items():
            assert one.kept == kept[name] + statistics[name], name
            assert one.sent == sent[name], name
            assert one.calls == calls[name], name
            assert one.sent_of_weights == of_weights[name], name


@on_several_ranks
def test_one_process_keeps_the_published_bytes_and_memory_and_time_are_of_all_ways() -> None:
    (one,) = on_ranks(1, count, task(), (ALONE, FUSED), seconds=60)
    assert one[ALONE].kept == S * B * (34 * H + 5 * A * S) + 8 * S * B
    assert one[FUSED].kept == 34 * S * B * H + 8 * S * B + 4 * S * B * A
    first, second = on_ranks(2, peaks, task(), (FUSED, ZIG_ZAG), [16, 32], seconds=60)
    assert set(first) == {(name, s) for name in (FUSED, ZIG_ZAG) for s in (16, 32)}
    assert set(second) == {(ZIG_ZAG, 16), (ZIG_ZAG, 32)}
    assert first[ZIG_ZAG, 16] < first[ZIG_ZAG, 32] < first[FUSED, 32]
    for rank in on_ranks(2, timed, task(), (FUSED, TENSOR), 2, seconds=60):
        assert {name: len(times) for name, times in rank.items()} == {FUSED: 2, TENSOR: 2}
    (taken,) = on_ranks(1, slices, task(), 2, 2, seconds=60)
    assert {one: len(times) for one, times in taken.items()} == {(1, 0): 2, (1, 1): 2, (2, 0): 2}


@placements
@given(ranks=st.integers(1, 6), half=st.integers(1, 5))
def test_every_query_meets_every_key_up_to_its_own_once(
    placement: Placement, ranks: int, half: int
) -> None:
    n = 2 * half
    own = [placement.tokens(n * ranks, rank, ranks) for rank in range(ranks)]
    met = torch.zeros(n * ranks, n * ranks, dtype=torch.long)
    for rank in range(ranks):
        for owner in range(ranks):
            meeting = placement.meeting(rank, owner, n)
            if meeting:
                queries, keys = own[rank][meeting.queries], own[owner][meeting.keys]
                seen = torch.ones(len(queries), len(keys), dtype=torch.long)
                seen = seen.tril() if meeting.causal else seen
                assert meeting.pairs(n) == seen.sum()
                met[queries[:, None], keys] += seen
    assert met.equal(torch.ones_like(met).tril())


@given(ranks=st.integers(1, 64), half=st.integers(1, 100))
def test_zig_zag_gives_every_rank_the_same_work_and_order_does_not(ranks: int, half: int) -> None:
    n, s = 2 * half, 2 * half * ranks
    for rank in range(ranks):
        assert pairs(IN_ZIG_ZAG, s, rank, ranks) * ranks == s * (s + 1) // 2
        assert pairs(CONTIGUOUS, s, rank, ranks) == n * (n + 1) // 2 + rank * n**2


@given(data=st.data(), units=st.integers(1, 6), stages=st.integers(1, 9))
def test_the_slices_found_end_as_soon_as_the_best_of_all_and_the_replay_agrees(
    data: st.DataObject, units: int, stages: int
) -> None:
    costs = {
        (length, before): float(data.draw(st.integers(1, 20)))
        for length in range(1, units + 1)
        for before in range(units - length + 1)
    }
    every = list(all_slices(units))
    assert len(set(every)) == 2 ** (units - 1)
    best = min(duration(costs, slices, stages) for slices in every)
    found = best_slices(costs, units, stages)
    assert sum(found) == units
    assert duration(costs, found, stages) == best
    assert replayed(costs, found, stages) == best


def test_slices_are_chosen_and_replayed_by_different_rounds() -> None:
    # What was chosen as short takes ten times as long where it is replayed.
    lengths = range(1, UNITS + 1)
    taken = {(n, c): [n / 1000, n / 100] for n in lengths for c in range(UNITS - n + 1)}
    report = Report(STUDY, emit=lambda event: None)
    study.report_pipeline(taken, report)
    found = {m.variant: m.value for m in report.measurements}
    assert found[WHOLE] == pytest.approx(8 * 80)
    assert found[TERAPIPE] == pytest.approx((8 + 7) * 10)


def test_a_pytorch_without_the_kernel_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ring, "KERNEL", "_of_another_pytorch")
    with pytest.raises(RuntimeError, match="needs PyTorch's _of_another_pytorch_backward"):
        ring._kernel("_backward")


def test_the_parts_of_a_dropout_are_those_of_the_whole() -> None:
    x, indices = torch.ones(2, 8, 3), torch.tensor([5, 0, 2])

    def dropped(part: Part | None, x: torch.Tensor) -> torch.Tensor:
        return Dropout(0.5, torch.Generator().manual_seed(3), part)(x)

    whole = dropped(None, x)
    assert 0 < (whole == 0).sum() < whole.numel()
    assert dropped(Part(indices, 8), x[:, indices]).equal(whole[:, indices])


@pytest.mark.parametrize(
    ("of_loss", "of_gradient"), [(1e-3, 0.0), (0.0, 1e-3), (0.0, float("nan"))]
)
def test_a_run_in_which_ranks_find_something_else_fails(
    monkeypatch: pytest.MonkeyPatch, of_loss: float, of_gradient: float
) -> None:
    good = dict.fromkeys(SHARED, Compared(5.0, 0.0, 0.0))
    found = good | {ZIG_ZAG: Compared(5.0, of_loss, of_gradient)}
    answers = iter([[{ALONE: Exact(5.0, []), FUSED: Exact(5.0, [])}], [good, found]])
    monkeypatch.setattr(study, "on_ranks", lambda *arguments: next(answers))
    with pytest.raises(study.NotEqual, match="zig-zag"):
        study.compare(task(), Report(STUDY, emit=lambda event: None))


def test_the_published_shapes_give_about_five() -> None:
    ratios = {shape: round(published_ratio(shape), 2) for shape in PUBLISHED}
    assert ratios == {"22B": 6.2, "175B": 5.41, "530B": 4.94, "1T": 4.94}


def judged(beyond: float, ratio: float) -> Judgement:
    """Return how the claim stands beside a run that measured these."""
    rows = [
        ("beyond the formula", variant, 0.1, {"ranks": ranks})
        for variant in (TENSOR, SELECTIVE)
        for ranks in (TIMED, COUNTED)
        if (variant, ranks) != (SELECTIVE, TIMED)
    ]
    rows += [("beyond the formula", SELECTIVE, beyond, {"ranks": TIMED})]
    rows += [
        ("kept by a layer", variant, kept, {"ranks": ranks})
        for ranks in (TIMED, COUNTED)
        for variant, kept in ((TENSOR, ratio), (SELECTIVE, 1.0))
    ]
    return STUDY.judge(measured(STUDY, rows))["korthikanti2022reducing-0"]


@pytest.mark.parametrize(
    ("beyond", "ratio", "status"),
    [
        (10, 4.0, "supported"),
        (-10, 4.0, "supported"),
        (10.1, 4.0, "direction agrees"),
        (-10.1, 2.01, "direction agrees"),
        (10.1, 2.0, "not reproduced"),
    ],
)
def test_memory_is_judged_by_its_rule(beyond: float, ratio: float, status: str) -> None:
    assert judged(beyond, ratio).status == status


def test_a_published_shape_outside_the_range_costs_the_support(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Half the heads have half the scores: (13 + 5) / 4.25, below 4.75.
    monkeypatch.setitem(PUBLISHED, "175B", (48, 12_288, 2048))
    assert judged(0, 4.0).status == "direction agrees"
