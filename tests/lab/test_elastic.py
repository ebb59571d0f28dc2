"""Serving on instances that come and go, on paper: who waits, who begins anew, what is moved."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.carrying import PricedPasses
from casestudies.lab.serving.engine import Served, serve
from casestudies.lab.serving.outcomes import completion
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.elastic.about import STUDY
from casestudies.lab.studies.elastic.claims import (
    GAIN,
    INSTANCES,
    LOST,
    MIGRATED,
    RESTARTED,
    SCRATCH,
    TRACES,
)
from casestudies.lab.studies.elastic.migration import Change, ElasticPasses, Stalls, received
from casestudies.lab.studies.elastic.study import load_times
from tests.lab.declared import statuses

# A new start takes thirty seconds, a new group one; all weights are read in 18 and sent in two.
STALLS = Stalls(start=30, regroup=1, load=18, weights=8, token=0, rate=4)


def served(variant: str, changes: list[Change], stalls: Stalls = STALLS, gap: float = 0) -> Served:
    """Return how two requests of eight tokens are served by passes of a second each."""
    requests = [Request(torch.zeros(3, dtype=torch.long), 8, gap * n) for n in range(2)]
    passes = ElasticPasses(PricedPasses(1), changes, stalls, variant)
    return serve(requests, 2, iteration_level, passes)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [(4, 4, 0), (4, 2, 1 / 2), (2, 4, 1 / 4), (1, 2, 1 / 2), (2, 1, 1 / 2), (4, 3, 1 / 4)],
)
def test_instances_get_what_they_have_not(before: int, after: int, share: float) -> None:
    assert received(before, after) == pytest.approx(share)


@given(before=st.integers(1, 5), after=st.integers(1, 5))
def test_nobody_gets_more_than_its_share(before: int, after: int) -> None:
    found = received(before, after)
    assert 0 <= found <= 1 / after
    assert (found == pytest.approx(1 / after)) or after <= before


def test_progress_is_kept_or_lost_and_fewer_instances_take_longer() -> None:
    halved = [Change(4.0, INSTANCES // 2)]
    times = {
        variant: [completion(job) for job in served(variant, halved).jobs]
        for variant in (RESTARTED, SCRATCH, LOST, MIGRATED)
    }
    moved = 1 + 8 / 4 * received(4, 2)
    # Four passes are done; on half of the instances each takes two seconds.
    assert times[MIGRATED] == pytest.approx([4 + moved + 4 * 2] * 2)
    assert times[LOST] == pytest.approx([4 + moved + 8 * 2] * 2)
    # Each of the two reads its half.
    assert times[SCRATCH] == pytest.approx([4 + 1 + 9 + 8 * 2] * 2)
    assert times[RESTARTED] == pytest.approx([4 + 30 + 8 * 2] * 2)


def test_caches_of_requests_under_way_are_sent_with_the_weights() -> None:
    heavy = replace(STALLS, token=1.0)
    changes = [Change(4.0, 2)]
    with_caches, without = (served(MIGRATED, changes, one) for one in (heavy, STALLS))
    # Each request holds its prompt and all tokens but the last.
    more = 2 * (3 + 3) / 4 * received(4, 2)
    assert with_caches.seconds - without.seconds == pytest.approx(more)


def test_a_change_while_nobody_is_there_delays_only_who_comes_before_it_is_done() -> None:
    # The first request leaves after eight seconds; the other comes long after.
    changes = [Change(20.0, 4), Change(95.0, 4)]
    first, second = served(RESTARTED, changes, gap=100.0).jobs
    assert completion(first) == 8
    assert completion(second) == 25 + 8


def test_traces_fit_the_instances() -> None:
    for trace in TRACES.values():
        moments = [at for at, _ in trace]
        assert moments == sorted(moments)
        assert moments[-1] < 1
        assert all(1 <= instances <= INSTANCES for _, instances in trace)
        assert min(instances for _, instances in trace) < INSTANCES


@pytest.mark.parametrize(
    ("found", "best", "worst"),
    [
        ((1.2, 2.0, 3.0), "direction agrees", "direction agrees"),
        ((1.1, 2.0, 3.5), "direction agrees", "not reproduced"),
        ((1.5, 2.0, 2.9), "not reproduced", "direction agrees"),
    ],
)
def test_spotserve_is_judged_by_the_rules(found, best: str, worst: str) -> None:
    # What it is to start all processes anew is told and not judged.
    rows = [
        (GAIN, variant, gain * times, {"trace": trace})
        for variant, times in ((SCRATCH, 1), (RESTARTED, 10))
        for trace, gain in zip(TRACES, found, strict=True)
    ]
    expected = {"miao2023spotserve-0": best, "miao2023spotserve-1": worst}
    assert statuses(STUDY, rows) == expected
    assert set(statuses(STUDY, rows, requests=8).values()) == {"not run"}


def test_longer_times_to_load_weights_are_tried_evenly_up_to_ten_seconds() -> None:
    measured, *longer = load_times(0.5e-3)
    assert measured == 0.5e-3
    assert (longer[0], longer[-1]) == pytest.approx((1e-3, 10))
    assert [later / sooner for sooner, later in pairwise(longer)] == pytest.approx([10**0.25] * 16)
    assert load_times(2.0) == pytest.approx([2, 10**0.5, 10**0.75, 10])
