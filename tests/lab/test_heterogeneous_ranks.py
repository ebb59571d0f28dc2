"""Ranks of unlike speed: the best shares are found, and whatever they are, training is the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.equations.communication import all_reduce_bytes, boundary_bytes
from casestudies.lab.replay import schedules
from casestudies.lab.replay.schedules import Slot
from casestudies.lab.studies.heterogeneous_ranks import partition, ranks
from casestudies.lab.studies.heterogeneous_ranks.about import (
    BATCH,
    BATCH_EVEN,
    ONE,
    STAGES,
    STAGES_EVEN,
    WAYS,
)
from casestudies.lab.studies.heterogeneous_ranks.ranks import Pace, Share, Task, Timed
from casestudies.lab.studies.heterogeneous_ranks.study import apart, bounds_of, replayed, shares

pytestmark = pytest.mark.xdist_group("ranks")

LAYERS, MICRO_BATCHES, SEQUENCES, TOKENS, WIDTH, FLOAT32 = 5, 6, 2, 8, 32, 4
WINDOWS = np.random.default_rng(0).integers(0, 60, (3, MICRO_BATCHES, SEQUENCES, TOKENS + 1))
TASK = Task(60, WIDTH, LAYERS, 0, WINDOWS)

few_examples = settings(max_examples=60)
times = st.floats(0.01, 10)


@few_examples
@given(st.lists(times, min_size=1, max_size=9), st.lists(times, min_size=1, max_size=4))
def test_the_dynamic_program_finds_what_trying_all_finds(costs, slowdowns) -> None:
    if len(costs) < len(slowdowns):
        with pytest.raises(ValueError, match="pieces cannot be shared out among"):
            partition.balanced(costs, slowdowns)
        return

    def slowest(counts: list[int]) -> float:
        return max(partition.times(costs, slowdowns, counts))

    found = partition.balanced(costs, slowdowns)
    assert sum(found) == len(costs)
    assert min(found) >= 1
    assert slowest(found) == pytest.approx(slowest(partition.by_trying_all(costs, slowdowns)))
    assert slowest(found) <= slowest(partition.evenly(len(costs), len(slowdowns))) * (1 + 1e-9)


@few_examples
@given(st.integers(1, 60), st.integers(1, 8))
def test_even_shares_differ_by_one_and_spare_the_last_rank(pieces, among) -> None:
    found = partition.evenly(pieces, among)
    assert found == sorted(found, reverse=True)
    assert sum(found) == pieces
    assert max(found) - min(found) <= 1


@few_examples
@given(st.lists(st.tuples(times, times), min_size=1, max_size=5), st.integers(1, 9))
def test_the_bound_is_what_a_replay_of_gpipe_takes(stages, micro_batches) -> None:
    forward, backward = zip(*stages, strict=True)

    def duration(slot: Slot) -> float:
        return (forward if slot.kind == "forward" else backward)[slot.stage]

    order = schedules.gpipe(len(stages), micro_batches)
    found = schedules.replayed(order, len(stages), duration).duration
    assert found == pytest.approx(partition.bound(forward, backward, micro_batches))


@few_examples
@given(st.floats(1, 8), st.integers(2, 12))
def test_balanced_shares_wait_less_and_nothing_beats_both_ranks_together(slowdown, m) -> None:
    ways = shares(TASK, m, slowdown)
    taken = {share.variant: replayed(TASK, m, slowdown, share).duration for share in ways}
    assert taken[BATCH] <= taken[BATCH_EVEN]
    alone = 3 * m * sum(TASK.costs)
    assert all(alone / one <= (1 + 1 / slowdown) * (1 + 1e-9) for one in taken.values())
    stages = {
        share.variant: max(partition.times(TASK.costs, (1, slowdown), share.counts))
        for share in ways[:2]
    }
    assert stages[STAGES] <= stages[STAGES_EVEN]


def test_shares_at_a_slowdown_that_divides() -> None:
    even, balanced, batch_even, batch = shares(replace(TASK, layers=12), 12, 3.0)
    # The last piece is the head: the slow rank takes 3 (3 + 0.15) for its four, the other 9.
    assert (even.counts, balanced.counts) == ((6, 7), (9, 4))
    assert (batch_even.counts, batch.counts) == ((6, 6), (9, 3))
    slots = replayed(TASK, 12, 3.0, batch)
    assert slots.idle == pytest.approx((0, 0))
    slots = replayed(TASK, 12, 3.0, batch_even)
    assert slots.idle_share == pytest.approx(1 / 3)  # the fast rank waits for two thirds


def test_all_ways_train_as_one_process_and_send_what_the_formulas_say() -> None:
    plan = [Share(ONE, ()), *shares(TASK, MICRO_BATCHES, 3.0)]
    of_ranks = on_ranks(2, ranks.train, TASK, plan, seconds=120)
    single = of_ranks[0][ONE]
    assert single.losses[-1] < single.losses[0]
    parameters = single.weights
    boundary = boundary_bytes(tokens=TOKENS, batch=SEQUENCES, hidden=WIDTH, number_bytes=FLOAT32)
    for variant in WAYS:
        found = [rank[variant] for rank in of_ranks]
        assert apart(found, single) < 1e-5, variant
        sent = sum(one.bytes_sent for one in found)
        if variant in (STAGES, STAGES_EVEN):
            assert sum(one.weights for one in found) == parameters
            assert sent == 2 * MICRO_BATCHES * boundary
        else:
            assert {one.weights for one in found} == {parameters}
            row = FLOAT32 * (parameters + 1)  # the loss goes with the gradients
            assert sent == 2 * all_reduce_bytes(ranks=2, payload_bytes=row)
    first, second = (rank[STAGES].weights for rank in of_ranks)
    assert first > second


@pytest.mark.parametrize(("rank", "slept"), [(0, []), (1, [2 * 4 * 0.5, 2 * 4 * 1.5])])
def test_only_the_slow_rank_sleeps_and_as_long_as_it_is_said(rank, slept, monkeypatch) -> None:
    found: list[float] = []
    monkeypatch.setattr(ranks.time, "sleep", found.append)
    monkeypatch.setattr(ranks.dist, "get_rank", lambda: rank)
    pace = Pace(0.5, 1.5, slowdown=3.0)
    pace.rest(4, backward=False)
    pace.rest(4, backward=True)
    replace(pace, slowdown=1.0).rest(4, backward=True)
    assert found == slept


def test_bounds_are_of_each_round() -> None:
    fast = Timed([9.0, 9.0], [1.0, 2.0], [2.0, 2.0])
    slow = Timed([9.0, 9.0], [3.0, 1.0], [4.0, 1.0])
    assert bounds_of([fast, slow], 3) == [10 + 2 * 7, 6 + 2 * 4]
