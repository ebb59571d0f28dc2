"""What a declaration may say, what it refuses, and what follows from it."""

import json
import math
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casestudies.lab.contract import (
    Answer,
    Headline,
    InvalidParameter,
    InvalidResult,
    Number,
    StudyChart,
    Variant,
    judged,
    rule_hash,
)
from casestudies.lab.machine import Machine, Needs
from casestudies.lab.metrics import VOCABULARY
from casestudies.lab.report import Report
from casestudies.lab.result import EVENT, Event
from tests.lab.declared import SIZE, TOY, document, toy


def test_declarations_are_read_without_pytorch() -> None:
    code = "import sys, casestudies.lab.catalogue; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metrics": ()}, "'size' is no metric"),
        ({"series": (replace(TOY.series[0], metric="beauty"),)}, "'beauty' is no metric"),
        ({"charts": (StudyChart("curves", "Look.", series="none"),)}, "'none' is no series"),
        ({"charts": ()}, "at least one chart"),
        ({"gpu_only": frozenset({"size", "none"})}, "'none' is nothing of it"),
        ({"headline": (Headline("size", "nobody"),)}, "'nobody' is no variant"),
        ({"presets": {"quick": TOY.presets["quick"]}}, "presets must be of"),
        ({"presets": {**TOY.presets, "huge": TOY.presets["quick"]}}, "presets must be of"),
        ({"presets": dict(list(TOY.presets.items())[:2])}, "needs the preset claims"),
        ({"variants": (*TOY.variants, Variant("ours", "again"))}, "a name stands twice"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(changes, reason) -> None:
    with pytest.raises(ValueError, match=reason):
        toy(**changes)


def test_the_module_follows_from_the_slug_and_what_is_no_run_says_so() -> None:
    assert TOY.module == "casestudies.lab.studies.toy_study.study"
    assert TOY.title == "Toy: a declaration without an algorithm"
    assert toy(kind="replay").title.startswith("Toy (computed by replay): ")
    assert toy(kind="model").full_name == "Toy (computed by a formula)"


def test_given_values_replace_those_of_the_preset() -> None:
    given_values = TOY.check("smoke", {"share": "0.25"}).model_dump()
    assert given_values == {"tokens": 2, "repeats": 1, "share": 0.25}
    assert TOY.with_role("workload") == ["tokens"]


@pytest.mark.parametrize(
    ("given_values", "name", "reason"),
    [
        ({"share": "1.5"}, "share", "'1.5' is not valid; number, 0.0 to 0.9"),
        ({"tokens": "many"}, "tokens", "'many' is not valid; integer, 1 to 64, tokens"),
        ({"speed": "11"}, "speed", "Extra inputs are not permitted"),
    ],
)
def test_a_value_outside_the_schema_is_named_with_its_bounds(given_values, name, reason) -> None:
    with pytest.raises(InvalidParameter) as caught:
        TOY.check("quick", given_values)
    assert (caught.value.name, caught.value.reason) == (name, reason)
    assert str(caught.value) == f"{name}: {reason}"
    with pytest.raises(InvalidParameter, match="preset: 'huge' is none of smoke, quick, claims"):
        TOY.check("huge", {})


def test_a_machine_that_cannot_carry_a_run_out_is_told_why() -> None:
    small = Machine(cores=2, memory_bytes=24 * 2**30)
    TOY.check_machine(TOY.check("quick", {}), small)
    with pytest.raises(InvalidParameter, match="needs 32 GiB; this machine offers 24"):
        TOY.check_machine(TOY.check("quick", {"tokens": 32}), small)
    wanted = Needs(processes=4, gpus=2, libraries=("numpy", "nothing"), compiler=True)
    assert wanted.unmet(replace(small, libraries=("numpy",))) == [
        "needs 2 GPUs; this machine has 0",
        "needs 4 processes at once; this machine has 2 cores",
        "needs the Python package nothing",
        "needs a C++ compiler",
    ]
    large = Machine(
        8, 2**40, gpus=("GPU-a", "GPU-b"), compiler=True, libraries=("numpy", "nothing")
    )
    assert wanted.unmet(large) == []
    assert Machine.here(["json", "no_such_package"]).libraries == ("json",)


def test_a_report_keeps_median_number_spread_and_settings() -> None:
    events: list[Event] = []
    report = Report(TOY, events.append)
    with report.stage("first", 0.5):
        report.measure("size", "theirs", 12.5)
    with report.stage("second", 0.5) as stage:
        report.measure("size", "ours", [20.0, 10.0, 14.0], code="short", batch=4)
        stage.at(0.5, "half")
        report.point("size by share", "ours", 0.5, 14.0)
        report.point("size by share", "ours", 0.25, 13.0)
    one, several = report.measurements
    assert (one.value, one.n, one.spread) == (12.5, 1, None)
    assert (several.value, several.n, several.spread) == (14.0, 3, 5.0)
    assert TOY.label(several.variant, several.settings) == "ours, short, 4 sequences"
    assert TOY.label("ours", {"batch": 1}) == "ours, 1 sequence"
    assert report.curves[0].points == [(0.25, 13.0), (0.5, 14.0)]
    progress = [(e.done, e.stage, e.step) for e in events if e.event == "progress"]
    assert progress == [(0, "first", ""), (0.5, "second", ""), (0.75, "second", "half")]


def test_times_are_kept_in_the_units_of_their_metrics() -> None:
    step, day = (replace(TOY.metrics[0], name=unit, unit=unit) for unit in ("ms", "s"))
    report = Report(toy(metrics=(*TOY.metrics, step, day)), lambda event: None)
    report.measure_time("ms", "ours", [0.25, 0.5, 0.125], batch=4)
    report.measure_time("s", "ours", 7.5)
    steps, days = report.measurements
    assert (steps.value, steps.unit, steps.n, steps.spread) == (250, "ms", 3, 187.5)
    assert (days.value, days.unit, days.n, days.spread) == (7.5, "s", 1, None)
    with pytest.raises(KeyError, match="MiB"):
        report.measure_time("size", "ours", 1)


def test_shares_are_kept_in_percent() -> None:
    percent = replace(TOY.metrics[0], name="part", unit="%")
    report = Report(toy(metrics=(*TOY.metrics, percent)), lambda event: None)
    report.measure_share("part", "ours", [0.25, 0.5, 0.125], batch=4)
    report.measure_share("part", "theirs", 1)
    several, one = report.measurements
    assert (several.value, several.unit, several.n, several.spread) == (25, "%", 3, 18.75)
    assert (one.value, one.n) == (100, 1)
    with pytest.raises(ValueError, match="size is in MiB, not in %"):
        report.measure_share("size", "ours", 1)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda report: report.measure("beauty", "ours", 1), "beauty"),
        (lambda report: report.measure("size", "nobody", 1), "nobody"),
        (lambda report: report.measure("size", "ours", 1, colour="red"), "colour"),
        (lambda report: report.point("size by day", "ours", 1, 1), "size by day"),
    ],
)
def test_what_a_study_does_not_declare_is_refused(call, what) -> None:
    with pytest.raises(KeyError, match=what):
        call(Report(TOY, lambda event: None))


def test_a_claim_has_the_outcome_that_its_rule_gives() -> None:
    def outcome(value: float, **changes):
        measured = [{**document()["measurements"][0], "value": value, **changes}]
        return TOY.judge(TOY.read(document(measurements=measured)))["someone2023toy-0"]

    found = [outcome(value).status for value in (0.5, 0.51, 1.0, 1.01)]
    assert found == ["supported", "direction agrees", "direction agrees", "not reproduced"]
    assert outcome(0.5).numbers[0].value == 0.5
    silent = outcome(0.5, settings={"code": "short"})
    assert (silent.status, silent.reason) == ("not run", "this run measured no size of ours")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (lambda size: 2 * size, "a number is not finite"),
        (lambda size: int(size) ** 2, "OverflowError("),
        (lambda size: (-size) ** 0.5, "TypeError("),
        (math.acos, "ValueError("),
    ],
)
def test_a_rule_that_cannot_be_applied_says_so(number, reason: str) -> None:
    def rule(result):
        return judged(Number("it", number(result.value("size", "ours"))), supported=True)

    answered = toy(answers=(Answer("a-0", rule_hash("x"), rule),))
    measured = [{**MEASURED, "value": 1e308}]
    judgement = answered.judge(answered.read(document(measurements=measured)))["a-0"]
    assert (judgement.status, judgement.numbers) == ("not run", ())
    assert judgement.reason.startswith(f"its rule cannot be applied to this run: {reason}")


def test_a_rule_is_told_by_its_words_not_by_its_line_breaks() -> None:
    assert rule_hash("At most\n  half.") == rule_hash("At most half.") != rule_hash("At most 0.5.")
    assert len(rule_hash("x")) == len(TOY.answers[0].rule)
    assert Answer("a-0", rule_hash("x"), TOY.answers[0].judge).rule == rule_hash("x")


def test_a_result_comes_back_as_it_was_written() -> None:
    result = TOY.read(document())
    assert TOY.read(json.loads(result.model_dump_json())) == result
    assert result.environment.hardware_class == "2-core CPU"
    gpu = {"name": "NVIDIA H100", "memory_bytes": 1}
    with_gpu = {**document()["environment"], "device": "cuda", "gpu": gpu}
    assert TOY.read(document(environment=with_gpu)).environment.hardware == "NVIDIA H100"


def test_processors_of_one_name_with_other_instructions_are_other_hardware() -> None:
    of_one_name = [
        TOY.read(document(environment={**document()["environment"], **known})).environment.hardware
        for known in ({}, {"instructions": ["avx2"]}, {"instructions": ["avx2", "avx512f"]})
    ]
    assert len(set(of_one_name)) == 3
    assert "(avx2, avx512f), 2 cores" in of_one_name[-1]


MEASURED, CURVE = document()["measurements"][0], document()["series"][0]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"study": "other"}, "study: 'other'"),
        ({"verdict": None}, "verdict: "),
        ({"extra": 1}, "extra: Extra inputs are not permitted"),
        ({"seed": -1}, "seed: "),
        ({"environment": []}, "environment: "),
        ({"environment": {**document()["environment"], "cores": "many"}}, "environment.cores: "),
        ({"measurements": [{**MEASURED, "value": float("inf")}]}, "measurements.0.value: "),
        ({"measurements": [{**MEASURED, "value": float("nan")}]}, "measurements.0.value: "),
        ({"measurements": [{**MEASURED, "n": 0}]}, "measurements.0.n: "),
        ({"measurements": [{**MEASURED, "unit": "GiB"}]}, "'size' in 'GiB' is no metric of it"),
        ({"measurements": [{**MEASURED, "variant": "x"}]}, "'x' is no variant of it"),
        ({"measurements": [{**MEASURED, "settings": {"x": 1}}]}, "'x' is no setting of it"),
        ({"measurements": [MEASURED, MEASURED]}, "size of ours stands twice"),
        ({"series": [{"name": "x", "variant": "ours", "points": []}]}, "'x' is no series of it"),
        ({"series": [{**CURVE, "points": [[0, 1]] * 10_001}] * 2}, "more than 20000 points"),
        ({"parameters": {"tokens": {"deep": 1}}}, "parameters.tokens"),
    ],
)
def test_what_is_no_result_of_the_study_is_refused_in_one_line(changes, reason) -> None:
    with pytest.raises(InvalidResult) as caught:
        TOY.read(document(**changes))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=9))
def test_whatever_a_process_left_is_read_or_refused(content) -> None:
    for found in (content, {"study": content}, document(verdict=content)):
        with suppress(InvalidResult):
            assert TOY.read(found).verdict == content.replace("\0", "\ufffd")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "null",
        "[" * 5000,
        '{"event": "unheard of"}',
        '{"event": "progress", "done": 2, "stage": "x"}',
        '{"event": "progress", "done": 1e999, "stage": "x"}',
        '{"event": "point", "series": "s", "variant": "v", "x": NaN, "y": 0}',
        '{"event": "started", "study": "s", "parameters": {}, "seed": 0, "environment": []}',
    ],
)
def test_a_line_that_is_no_event_is_told_from_one(line) -> None:
    with pytest.raises(ValueError, match=r"."):
        EVENT.validate_json(line)


def test_the_vocabulary_has_each_name_once_and_says_what_ratios_divide_by() -> None:
    names = [metric.name for metric in VOCABULARY]
    assert len(set(names)) == len(names) > 20
    assert {metric.name for metric in VOCABULARY if metric.unit == "x"} == {
        metric.name for metric in VOCABULARY if metric.relative_to
    }
    assert SIZE.measured("otherwise").how == "otherwise"
