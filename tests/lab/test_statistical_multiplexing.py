"""Models on devices, on paper and on two ranks: who waits, who is in time, and what is sent."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.models import shapes
from casestudies.lab.replay.events import Event, replay
from casestudies.lab.studies.statistical_multiplexing.queues import (
    Group,
    Stages,
    Trace,
    bursty,
    highest_load,
    in_time,
    latencies,
    mean_latency,
    placed,
)
from casestudies.lab.studies.statistical_multiplexing.serving import (
    SPLIT,
    WHOLE,
    Came,
    Work,
    model_of,
    serve_all,
    untied,
)
from tests.lab.declared import Rows, measured, statuses

RATE, BURSTS = "li2023alpaserve-0", "li2023alpaserve-1"
ONE = frozenset({0})


def one_model(moments: list[float]) -> Trace:
    """Return a trace of requests that all ask the same model."""
    return Trace(np.array(moments), np.zeros(len(moments), dtype=np.int64))


@given(
    gaps=st.lists(st.floats(0, 5), min_size=1, max_size=20),
    seconds=st.lists(st.floats(0.1, 3), min_size=1, max_size=5),
)
def test_a_request_waits_for_the_longest_stage_as_it_does_stage_by_stage(gaps, seconds) -> None:
    moments = np.cumsum(gaps).tolist()
    coming = [Event(("came", n), gap) for n, gap in enumerate(gaps)]
    stages = [
        [
            Event((place, n), time, ((place - 1, n) if place else ("came", n),))
            for n in range(len(gaps))
        ]
        for place, time in enumerate(seconds)
    ]
    ends = replay([coming, *stages]).ends
    expected = [ends[len(seconds) - 1, n] - moment for n, moment in enumerate(moments)]
    found = latencies([Group(ONE, Stages.of(seconds))], one_model(moments), 1.0)
    assert found.tolist() == pytest.approx(expected)


@given(st.data())
def test_every_model_has_as_many_copies_as_there_is_room_for(data) -> None:
    in_group = data.draw(st.sampled_from([1, 2, 4]))
    devices = in_group * data.draw(st.integers(1, 5))
    room = data.draw(st.integers(1, 6))
    groups = placed(devices, in_group, room, Stages(1, 1))
    copies = [sum(model in group.models for group in groups) for model in range(devices)]
    assert len(groups) == devices // in_group
    assert max(len(group.models) for group in groups) <= in_group * room
    assert set(copies) == {min(room, len(groups))}


def test_a_burst_for_one_model_is_served_by_the_group() -> None:
    # Four requests at once. Alone on its device each takes a second; two stages take 0.6 each.
    burst = one_model([1.0] * 4)
    whole = latencies(placed(2, 1, 1, Stages(1, 1)), burst, 1.0)
    split = latencies(placed(2, 2, 1, Stages(1.2, 0.6)), burst, 1.0)
    assert whole.tolist() == pytest.approx([1, 2, 3, 4])
    assert split.tolist() == pytest.approx([1.2, 1.8, 2.4, 3.0])
    # With room for both models on each device, whole ones share the burst too.
    assert latencies(placed(2, 1, 2, Stages(1, 1)), burst, 1.0).tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("stages", [Stages(1, 1), Stages(1.3, 0.2)])
@pytest.mark.parametrize("rate", [0.3, 0.8])
def test_with_poissons_arrivals_the_mean_latency_is_the_formulas(stages, rate) -> None:
    trace = bursty(4, 100_000, 1.0, np.random.default_rng(0))
    found = latencies([Group(frozenset(range(4)), stages)], trace, rate).mean()
    assert found == pytest.approx(mean_latency(stages, rate), rel=0.05)


@pytest.mark.parametrize("variation", [0.5, 1.0, 4.0])
def test_a_trace_is_as_bursty_as_asked_and_asks_all_models_alike(variation) -> None:
    trace = bursty(4, 40_000, variation, np.random.default_rng(0))
    assert trace.moments[-1] == len(trace.moments) == 40_000
    assert (np.diff(trace.moments) >= 0).all()
    for model in range(4):
        gaps = np.diff(trace.moments[trace.models == model])
        assert gaps.std() / gaps.mean() == pytest.approx(variation, rel=0.1)
        assert len(gaps) == pytest.approx(10_000, rel=0.15)


@settings(max_examples=20)
@given(deadline=st.floats(2, 40), variation=st.sampled_from([1.0, 3.0]))
def test_at_the_highest_load_requests_are_in_time_and_above_it_they_are_not(
    deadline, variation
) -> None:
    groups = placed(2, 1, 1, Stages(1, 1))
    trace = bursty(2, 2000, variation, np.random.default_rng(1))
    found = highest_load(groups, trace, 2.0, deadline)
    if found:
        assert in_time(groups, trace, 2 * found, deadline)
    assert not in_time(groups, trace, 2 * 1.01 * max(found, 0.01), deadline)


def test_two_devices_answer_as_the_models_alone_with_equal_work_and_memory() -> None:
    requests, tokens, width, layers = 6, 8, 32, 4
    models = [
        shapes.small(50, width, layers, torch.Generator().manual_seed(seed)) for seed in range(2)
    ]
    both = tuple(untied(model)[1] for model in models)
    prompts = torch.randint(50, (requests, tokens), generator=torch.Generator().manual_seed(2))
    asked = [0, 0, 1, 0, 1, 1]
    came = Came([0.0, 0.0, 0.0, 1.0, 2.0, 2.0], asked)
    work = Work(models[0].config, both, prompts.numpy(), {1.0: came}, (1, 2, 4), 2)
    ranks = on_ranks(2, serve_all, work)
    whole, split = ([rank.counted[n] for rank in ranks] for n in (WHOLE, SPLIT))
    for counted in (whole, split):
        said = {number: row for one in counted for number, row in one.logits.items()}
        for number, model in enumerate(asked):
            alone = model_of(models[model].config, both[model])(prompts[number : number + 1])
            np.testing.assert_allclose(said[number], alone[0, -1], atol=1e-5)
        assert sum(one.read for one in counted) == requests * tokens * layers
    assert sum(one.weights for one in whole) == sum(one.weights for one in split)
    assert [one.sent for one in whole] == [0, 0]
    assert [one.sent for one in split] == [requests * tokens * width * 4, 0]
    for one in ranks[0].rounds:
        assert {n: {len(row) for row in rows} for n, rows in one.stages.items()} == {
            1: {1},
            2: {2},
            4: {4},
        }
        # The first device ends its own model's requests where they are whole, and else none.
        assert set(one.ends[1.0, WHOLE]) == {0, 1, 3}
        assert set(one.ends[1.0, SPLIT]) == set()


def rows(gain: float, metric: str, name: str) -> Rows:
    return [
        (name, "split models", gain, {}),
        (metric, "whole models", 0.1, {}),
        (metric, "split models", 0.1 * gain, {}),
        *(
            ("prediction error", v, 9.0, {"burstiness": 4.0})
            for v in ("whole models", "split models")
        ),
    ]


@pytest.mark.parametrize(
    ("claim", "metric", "name", "least", "nowhere"),
    [
        (RATE, "highest load", "gain in rate", 2.0, "at no load"),
        (BURSTS, "greatest burstiness", "gain in burstiness", 1.5, "at no burstiness"),
    ],
)
def test_claims_agree_from_the_rules_ratio_on_and_are_never_supported(
    claim, metric, name, least, nowhere
) -> None:
    study = STUDIES["statistical-multiplexing"]
    assert statuses(study, rows(least, metric, name))[claim] == "direction agrees"
    assert statuses(study, rows(50.0, metric, name))[claim] == "direction agrees"
    assert statuses(study, rows(least - 0.01, metric, name))[claim] == "not reproduced"
    assert statuses(study, rows(least, metric, name), requests=400)[claim] == "not run"
    # On one trace whole models scored nothing, whatever the median of all.
    without: Rows = [(metric, "whole models", 0.1, {}), (metric, "split models", 0.5, {})]
    judgement = study.judge(measured(study, without))[claim]
    assert judgement.status == "not run"
    assert f"whole models keep the deadline {nowhere}" in judgement.reason


def test_the_rate_is_judged_at_the_rules_burstiness_only() -> None:
    study = STUDIES["statistical-multiplexing"]
    found = statuses(study, rows(3.0, "highest load", "gain in rate"), burstiness=2.0)
    assert found[RATE] == "not run"


def test_the_rate_is_told_for_what_the_rule_leaves_open() -> None:
    study = STUDIES["statistical-multiplexing"]
    more: Rows = [
        ("gain in rate", "split models", 9.0, {"deadline": 5.0}),
        ("gain in rate", "split models", 0.5, {"room": 8}),
        ("gain in rate", "split models", 7.0, {"burstiness": 1.0}),
    ]
    run = measured(study, [*rows(3.0, "highest load", "gain in rate"), *more])
    said = {number.name: number.value for number in study.judge(run)[RATE].numbers}
    assert said["at a deadline of 5 times"] == 9.0
    assert said["with room for 8 whole models"] == 0.5
    assert 7.0 not in said.values()
