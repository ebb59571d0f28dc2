"""How runs of the serving studies speak to claims, and where they do not."""

from typing import Any

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Judgement
from tests.lab.declared import document

ORCA, S3 = "yu2022orca-0", "jin2023s3-0"
MEAN, TAIL = "wu2023fastserve-0", "wu2023fastserve-1"
DECODES, TOTAL, PIPELINE = (f"agrawal2023sarathi-{place}" for place in range(3))
Rows = dict[tuple[str, str], float]

AT_EQUAL_LATENCY: Rows = {
    ("gain at equal latency", "iteration-level"): 1.9,
    ("gain over padded batches", "iteration-level"): 2.5,
    ("speed-up", "iteration-level"): 1.3,
}


def judged(slug: str, claim: str, rows: Rows, **parameters: Any) -> Judgement:
    """Return how a claim stands beside a run of claims' preset that measured these rows."""
    study = STUDIES[slug]
    measurements = [
        {
            "metric": metric,
            "variant": variant,
            "settings": {},
            "value": value,
            "unit": study.metric(metric).unit,
            "n": 5,
            "spread": 0.0,
        }
        for (metric, variant), value in rows.items()
    ]
    asked = study.check("claims", parameters).model_dump()
    found = document(study=slug, parameters=asked, measurements=measurements, series=[])
    return study.judge(study.read(found))[claim]


def claimed(judgement: Judgement) -> float:
    (number,) = (number.value for number in judgement.numbers if number.claimed)
    return number


def test_orca_is_judged_by_the_stronger_baseline_and_tells_of_its_own() -> None:
    found = judged("continuous-batching", ORCA, AT_EQUAL_LATENCY)
    assert (found.status, claimed(found)) == ("not reproduced", 1.9)
    told = {number.name: number.value for number in found.numbers}
    assert told["over padded batches, Orca's own baseline, at equal latency"] == 2.5


def test_where_latencies_are_not_equal_orca_is_not_judged() -> None:
    found = judged("continuous-batching", ORCA, {("speed-up", "iteration-level"): 1.3})
    assert found.status == "not run"
    assert "was not reached" in found.reason
    found = judged("continuous-batching", ORCA, AT_EQUAL_LATENCY, loads=3)
    assert found.reason == "the rule needs a curve of at least four loads"


@pytest.mark.parametrize(
    ("claim", "metric", "least"),
    [(MEAN, "gain in mean completion", 1.5), (TAIL, "gain in completion, 95 %", 1.2)],
)
def test_fastserve_is_judged_by_answers_with_a_heavy_tail_only(claim, metric, least) -> None:
    rows = {(metric, "multi-level feedback"): least}
    assert judged("request-scheduling", claim, rows).status == "direction agrees"
    rows[metric, "multi-level feedback"] = least - 0.01
    assert judged("request-scheduling", claim, rows).status == "not reproduced"
    assert judged("request-scheduling", claim, rows, answers="uniform").status == "not run"


def test_s3_is_judged_by_the_headline_and_states_its_predictor() -> None:
    ours = "room for the predicted"
    rows = {("speed-up", ours): 2.0, ("too short", ours): 9.0, ("requests at once", ours): 8.0}
    found = judged("request-scheduling", S3, rows, predicted_right=0.75)
    assert (found.status, claimed(found)) == ("direction agrees", 2)
    assert {n.name: n.value for n in found.numbers}["lengths predicted right"] == 75


@pytest.mark.parametrize(
    ("beside", "status"),
    [(4.0, "direction agrees"), (4.1, "not reproduced"), (0.0, "not run"), (-1.0, "not run")],
)
def test_answers_that_add_less_than_can_be_measured_do_not_agree(beside, status) -> None:
    times = {"prompts apart": 8.0, "chunks": beside}
    rows = {("time of the answers", variant): value for variant, value in times.items()}
    assert judged("chunked-prefill", DECODES, rows).status == status


@pytest.mark.parametrize(
    ("apart", "gain", "status"),
    [(0.9, 1.06, "direction agrees"), (1.0, 1.04, "not reproduced"), (1.1, 1.06, "not reproduced")],
)
def test_chunks_are_held_against_the_faster_way_without(apart, gain, status) -> None:
    rows = {("speed-up", "prompts apart"): apart, ("speed-up", "chunks"): gain}
    found = judged("chunked-prefill", TOTAL, rows)
    assert (found.status, claimed(found)) == (status, gain / max(1, apart))


def test_chunks_that_hold_whole_prompts_show_nothing_of_chunks() -> None:
    rows = {("speed-up", "prompts apart"): 1.0, ("speed-up", "chunks"): 2.0}
    half = {"chunk": 64, "longest_prompt": 128}
    assert judged("chunked-prefill", TOTAL, rows, **half).status == "direction agrees"
    assert judged("chunked-prefill", TOTAL, rows, chunk=66, longest_prompt=128).status == "not run"


def test_the_pipeline_tells_by_how_much_its_replay_is_off() -> None:
    rows = {
        (metric, variant): value
        for metric, values in {
            "bubble time": (4.0, 2.0),
            "requests per second": (10.0, 11.0),
            "prediction error": (20.0, 30.0),
        }.items()
        for variant, value in zip(("whole prompts", "chunks"), values, strict=True)
    }
    found = judged("chunked-prefill", PIPELINE, rows)
    assert found.status == "direction agrees"
    assert [number.value for number in found.numbers if number.unit == "%"] == [20, 30]
