"""Replays of how often to save, and of pipelines whose workers keep their neighbour's stage."""

from dataclasses import replace
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.equations import duration
from casestudies.lab.studies.fault_tolerance.about import STUDY
from casestudies.lab.studies.fault_tolerance.claims import GAIN, REDUNDANT, RESTARTED, SAVING
from casestudies.lab.studies.fault_tolerance.intervals import gaps, kept, time_over_work
from casestudies.lab.studies.fault_tolerance.redundancy import Fleet, Loss, Pipeline, losses
from casestudies.lab.studies.fault_tolerance.study import Costs, predicted
from casestudies.lab.train.resumable import Carried, Noted
from tests.lab.declared import statuses
from tests.lab.smoke import shares_the_smoke_run, smoke_run

Kind = Literal["ready", "step", "saved", "killed"]  # of a note
# Two pipelines of four stages; a step is 4 F + 3 (F + B) long, and nothing else takes time.
FLEET = Fleet(Pipeline(4, 4, 1.0, 2.0, 0.0), 2, 1.0, 1.0, 99.0, 0.0)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_disturbed_run_is_predicted_by_its_steps_saves_and_kills() -> None:
    def carried(*notes: tuple[Kind, float]) -> Carried:
        noted = [Noted(what, 0, 0, 0.0, seconds) for what, seconds in notes]
        return Carried(None, tuple(noted), ())

    saving = carried(("step", 2.0), ("step", 4.0), ("saved", 9.0))
    killed = carried(("step", 5.0), ("saved", 5.0), ("step", 5.0), ("killed", 5.0), ("step", 5.0))
    costs = Costs(step=99, save=0.5, noticed=0.25, restart=7, regroup=99)
    # Steps of 3 s as the round that saves took them: three, and half of that which was killed.
    assert predicted({SAVING: saving, RESTARTED: killed}, costs) == 3.5 * 3 + 0.5 + 7.25


def test_an_interval_counts_once_it_is_saved() -> None:
    # Three seconds of work and one of saving, after a restart of two.
    assert [kept([gap], 3, 1, 2) for gap in (1, 2, 5.9, 6, 9.9, 10)] == [0, 0, 0, 1, 1, 2]
    assert time_over_work([6, 10, 1], 3, 1, 2) == 17 / 9
    assert time_over_work([5], 3, 1, 2) == float("inf")


@settings(max_examples=25)
@given(save=st.floats(0.01, 5), restart=st.floats(0.1, 20), interval=st.floats(1, 100))
def test_the_replay_of_many_failures_is_what_dalys_formula_expects(save, restart, interval) -> None:
    expected = duration.expected_seconds(
        failure_seconds=100,
        restart_seconds=restart,
        interval_seconds=interval,
        save_seconds=save,
        work_seconds=1,
    )
    found = time_over_work(gaps(100, 20_000, generator()), interval, save, restart)
    assert found == pytest.approx(expected, rel=0.05)


sizes = st.integers(2, 9)
seconds = st.sampled_from([0.25, 1.0, 3.0])


@given(p=sizes, m=sizes, forward=seconds, backward=seconds, update=seconds)
def test_going_forward_twice_costs_what_no_wait_hides(p, m, forward, backward, update) -> None:
    pipeline = Pipeline(p, m, forward, backward, update)
    hidden = pipeline.step + update
    assert hidden - 1e-9 <= pipeline.redundant_step <= hidden + m * forward + 1e-9
    assert pipeline.step_of_fewer >= pipeline.redundant_step


def test_short_batches_hide_all_of_it_and_long_ones_little() -> None:
    few, many = (Pipeline(8, m, 1.0, 2.0, 0.0) for m in (4, 64))
    assert few.redundant_step == few.step == (8 + 4 - 1) * 3
    # The last worker never waits between its first slot and its last.
    assert many.redundant_step == 7 + 64 * (3 + 1)
    # One worker does two stages, so that the pipeline goes at its pace.
    assert 64 * 6 < many.step_of_fewer < 64 * 6 + 2 * many.step / 8


@given(hourly=st.sampled_from([0.1, 0.33]), hours=st.sampled_from([50.0, 200.0]))
def test_as_many_workers_are_lost_as_were_asked_for(hourly: float, hours: float) -> None:
    found = losses(32, hourly, hours, generator())
    assert len(found) == pytest.approx(32 * hourly * hours, rel=0.25)
    assert [one.at for one in found] == sorted(one.at for one in found)
    assert {one.worker for one in found} <= set(range(32))
    assert found[-1].at < hours * 3600


def test_who_loses_nobody_works_all_the_time() -> None:
    assert FLEET.steps_redundant([], 1) == pytest.approx(3600 / 21, rel=1e-3)
    assert FLEET.steps_restarting([], 1) == pytest.approx(3600 / 21, rel=0.08)


def test_a_neighbour_takes_over_unless_it_is_missing_too() -> None:
    early = Loss(1000.0, 1)
    one, apart, other_pipeline, neighbours = (
        FLEET.steps_redundant([early, *more], 1)
        for more in ([], [Loss(1050.0, 3)], [Loss(1050.0, 4)], [Loss(1050.0, 2)])
    )
    # The loss is noticed after a second and a step taken again; then a worker does two stages.
    slower = FLEET.pipeline.step_of_fewer / FLEET.pipeline.redundant_step
    assert one == pytest.approx((3600 - 22 - 78 * (1 - 1 / slower)) / 21, abs=2)
    assert one > apart == other_pipeline > neighbours
    # Long after that the same worker is there again.
    assert FLEET.steps_redundant([early, Loss(2000.0, 2)], 1) > neighbours


def test_who_is_lost_while_all_go_back_lets_all_begin_to_go_back_again() -> None:
    at_once, amid = (
        FLEET.steps_redundant([Loss(1000.0, 1), Loss(1050.0, 2), Loss(third, 6)], 1)
        for third in (1050.0, 1100.0)
    )
    assert at_once - amid == pytest.approx(50 / 21, rel=0.1)


def test_the_longer_a_restart_the_more_redundancy_gains() -> None:
    lost = losses(FLEET.workers, 0.33, 100, generator())
    gains = []
    for restart in (1.0, 30.0, 300.0, 900.0):
        fleet = replace(FLEET, restart=restart)
        gains.append(fleet.steps_redundant(lost, 100) / fleet.steps_restarting(lost, 100))
    assert gains == sorted(gains)
    assert gains[0] < 1.1
    assert gains[-1] > 1.3


@pytest.mark.parametrize(
    ("slow", "fast", "apart", "status"),
    [
        (1.5, 2.5, 0, "direction agrees"),
        (1.4, 2.5, 0, "not reproduced"),
        (1.5, 2.4, 0, "not reproduced"),
        (1.5, 2.5, 1e-9, "not reproduced"),
    ],
)
def test_bamboo_is_judged_by_the_rule(slow, fast, apart, status) -> None:
    rows = [
        (GAIN, REDUNDANT, gain, {"preemptions": hourly})
        for hourly, gain in ((10, slow), (16, slow), (33, fast))
    ]
    rows.append(("equality error", RESTARTED, apart, {}))
    assert statuses(STUDY, rows) == {"thorpe2022bamboo-0": status}


@shares_the_smoke_run("fault-tolerance")
def test_what_redundancy_gains_is_of_the_samples_that_stand_beside_it() -> None:
    result = smoke_run("fault-tolerance").result
    gains = [row for row in result.measurements if row.metric == GAIN]
    assert gains
    for gain in gains:
        redundant, restarted = (
            result.value("samples, by replay", variant, **gain.settings)
            for variant in (REDUNDANT, RESTARTED)
        )
        assert gain.value == pytest.approx(redundant / restarted)
