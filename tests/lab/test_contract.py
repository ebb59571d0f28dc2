"""What studies declare, checked without running one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Comparison, InvalidParameter, Report

STUDY = STUDIES["sparsegpt"]
FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_declarations_are_read_without_pytorch() -> None:
    code = "import sys, casestudies.lab.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.slug)
def test_a_study_names_a_publication_its_strategies_and_its_claims(study) -> None:
    lines = (FIXTURES / "publications.jsonl").read_text(encoding="utf-8").splitlines()
    records = {record["key"]: record for record in map(json.loads, lines)}
    record = records[study.publication]
    assert set(study.strategies) <= set(record["strategies"])
    claims = {claim["metric"] for claim in record["claims"]}
    assert {comparison.claim for comparison in study.comparisons} == claims
    metrics = {metric.name for metric in study.metrics}
    assert {comparison.metric for comparison in study.comparisons} <= metrics
    assert {series.metric for series in study.series} <= metrics


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.slug)
def test_presets_are_valid_and_every_parameter_explains_itself(study) -> None:
    assert {"smoke", "quick", "full"} <= set(study.presets)
    for preset in study.presets:
        study.check(preset, {})
    for schema in study.parameters.model_json_schema()["properties"].values():
        assert schema["description"]
        assert "unit" in schema


def test_given_values_replace_those_of_the_preset() -> None:
    parameters = STUDY.check("smoke", {"sparsity": "0.6", "curve": "true", "block": "64"})
    assert parameters.model_dump() | {"sparsity": 0.6, "curve": True, "block": 64, "layers": 1} == (
        parameters.model_dump()
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sparsity": "1.5"}, "sparsity: '1.5' is not valid; number, 0.05 to 0.95"),
        ({"pattern": "3:4"}, "pattern: '3:4' is not valid; one of unstructured, 2:4, 4:8"),
        ({"block": "24"}, "a multiple of 16, columns"),
        ({"speed": "11"}, "speed: Extra inputs are not permitted"),
    ],
)
def test_a_value_outside_the_schema_is_named_with_its_bounds(given, message) -> None:
    with pytest.raises(InvalidParameter) as caught:
        STUDY.check("quick", given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_report_keeps_median_number_and_spread() -> None:
    events: list[dict] = []
    report = Report(STUDY, events.append)
    report.measure("perplexity", "dense", 12.5)
    report.measure("perplexity", "sparsegpt", [20.0, 10.0, 14.0])
    report.point("perplexity by sparsity", "sparsegpt", 0.5, 14.0)
    one, several = report.document()["measurements"]
    assert (one["value"], one["n"], one["spread"]) == (12.5, 1, None)
    assert (several["value"], several["n"], several["spread"]) == (14.0, 3, 5.0)
    assert [event["event"] for event in events] == ["measurement", "measurement", "point"]
    with pytest.raises(KeyError):
        report.measure("beauty", "dense", 1)


def test_a_claim_is_supported_by_its_own_rule_only() -> None:
    halves = Comparison("size", "size", "ours", "at most half", lambda value: value <= 0.5)
    found = [halves.status(measured) for measured in (0.4, 0.6, None)]
    assert found == ["supported", "not reproduced", "not run"]
    assert Comparison("size", "size", "ours", "another model").status(0.4) == "not comparable"
