"""Every study of the catalogue, held against the fixtures and the documentation."""

import json
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
import yaml

from casestudies.lab.__main__ import main
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import rule_hash
from casestudies.lab.result import NotMeasured
from taxonomy.loading.reading import LOADER
from tests.lab import numbers, outcomes

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")

each_study = pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))


@cache
def records(name: str) -> list[dict]:
    text = (ROOT / "fixtures" / name).read_text(encoding="utf-8")
    if name.endswith(".jsonl"):
        return [json.loads(line) for line in text.splitlines()]
    return yaml.load(text, LOADER)  # noqa: S506 - the safe one, in C


@each_study
def test_publications_and_strategies_are_known(study) -> None:
    known = {record["key"]: set(record["strategies"]) for record in records("publications.jsonl")}
    used = set().union(*(known[key] for key in study.publications))
    assert set(study.strategies) <= used


@each_study
def test_it_answers_the_claims_that_name_it_by_the_rules_in_force(study) -> None:
    claims = {f"{row['publication']}-{row['position']}": row for row in records("claims.yaml")}
    named = {code for code, row in claims.items() if row["replication"].get("study") == study.slug}
    assert {answer.claim for answer in study.answers} == named
    for answer in study.answers:
        rule = claims[answer.claim]["replication"]["rule"]
        assert answer.rule == rule_hash(rule), f"the rule of {answer.claim} has changed: {rule}"


@each_study
@pytest.mark.parametrize("value", [-1.0, 0.0, 5e-324, 1e308])
def test_its_rules_say_something_of_every_result_that_can_be_read(study, value: float) -> None:
    for _, shipped in outcomes.shipped(study):
        for metric in study.metrics:
            measured = [
                {**m.model_dump(), "value": value if m.metric == metric.name else m.value}
                for m in shipped.measurements
            ]
            for kept in (measured, measured[::2], measured[1::2]):
                result = study.read({**shipped.model_dump(), "measurements": kept})
                for answer in study.answers:
                    # What an equation refuses, or was not measured, is no fault of the rule.
                    with suppress(NotMeasured, ArithmeticError, LookupError, ValueError):
                        judgement = answer.judge(result)
                        assert judgement.numbers or judgement.reason


@each_study
def test_its_rules_say_what_they_always_did_of_the_runs_that_ship(study) -> None:
    assert outcomes.changes(study) == []


@each_study
def test_presets_are_valid_and_every_parameter_explains_itself(study) -> None:
    for preset in study.presets:
        study.check(preset, {})
    for name, schema in study.schemas.items():
        assert schema["description"], name
        assert {"unit", "role"} <= set(schema), name


@each_study
def test_its_presets_set_and_need_what_they_always_did(study) -> None:
    assert numbers.changed_presets(study) == []


@each_study
def test_it_has_a_page_that_begins_with_its_title_and_says_how_to_run_it(study) -> None:
    page = (ROOT / "casestudies" / "lab" / "studies" / study.slug.replace("-", "_")) / "README.md"
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {study.title}\n")
    assert f"python -m casestudies.lab run {study.slug}" in text


def test_every_option_of_a_run_is_explained(capsys) -> None:
    with pytest.raises(SystemExit):
        main(["run", "sparsegpt", "--help"])
    parameters = {f"--{n.replace('_', '-')}" for n in STUDIES["sparsegpt"].schemas}
    words = capsys.readouterr().out.split()
    options = {word for word in words if word.startswith("--")} - parameters - {"--help"}
    assert {option for option in options if f"| `{option}` |" not in DOCUMENT} == set()
