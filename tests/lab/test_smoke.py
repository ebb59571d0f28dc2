"""What a smoke run of every study must do."""

import json
import re
from collections.abc import Iterable
from functools import cache

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Setting, Study, StudyChart, Variant
from casestudies.lab.metrics import Metric
from casestudies.lab.result import (
    Curve,
    Finished,
    MeasuredEvent,
    MeasuredValue,
    Progress,
    Result,
    Started,
)
from tests.lab import numbers
from tests.lab.smoke import ROOT, shares_the_smoke_run, smoke_run

each_study = pytest.mark.parametrize(
    "study",
    [pytest.param(study, marks=shares_the_smoke_run(slug)) for slug, study in STUDIES.items()],
    ids=list(STUDIES),
)

# Headlines that compare the highest rates that two ways bear, and so need one that each bears.
BETWEEN_RATES_BORNE = {"gain at equal latency", "gain in rate", "gain in burstiness"}


@cache
def reference_results(slug: str) -> list[Result]:
    """Return the results that ship with the project."""
    records = [json.loads(path.read_text()) for path in (ROOT / "fixtures" / "runs").glob("*.json")]
    documents = [record["result"] for record in records]
    return [STUDIES[slug].read(document) for document in documents if document["study"] == slug]


@each_study
def test_it_says_how_it_goes_on_and_ends_with_the_result_that_it_writes(study: Study) -> None:
    run = smoke_run(study.slug)
    first, last = run.events[0], run.events[-1]
    assert isinstance(first, Started)
    assert isinstance(last, Finished)
    assert last.result == run.document
    assert first.parameters == run.result.parameters == study.check("smoke", {}).model_dump()
    progress = [event for event in run.events if isinstance(event, Progress)]
    shares = [event.done for event in progress]
    assert shares == sorted(shares)
    assert shares[0] == 0
    assert all(event.stage for event in progress)
    # The shares of the stages make up the whole, so the last of them begins near its end.
    assert shares[-1] > 0.5
    told = [event for event in run.events if isinstance(event, MeasuredEvent)]
    assert [event.key for event in told] == [row.key for row in run.result.measurements]


@each_study
def test_it_names_its_precision_and_what_it_read(study: Study) -> None:
    environment = smoke_run(study.slug).result.environment
    assert environment.precision
    for source in filter(None, (environment.model, environment.text)):
        assert re.fullmatch("[0-9a-f]{64}", source.sha256), source.name
    if "text" in study.accepts:
        assert environment.text
    if "model" in study.accepts:
        assert environment.model


@each_study
def test_it_measures_its_headline_and_what_its_charts_draw(study: Study) -> None:
    result = smoke_run(study.slug).result
    shipped = reference_results(study.slug)
    for one in study.headline:
        # What a busy machine is too slow for has a run that ships.
        runs = [result, *shipped] if one.metric in BETWEEN_RATES_BORNE else [result]
        assert any(one.among(run.measurements) for run in runs), one
    for chart in study.charts:
        # A smoke run may leave curves out; then a run that ships with the project has them.
        runs = [result, *shipped] if chart.kind == "curves" else [result]
        assert any(has_points(chart, run) for run in runs), chart


def has_points(chart: StudyChart, result: Result) -> bool:
    if chart.kind == "curves":
        return any(curve.points for curve in result.series if curve.name == chart.series)
    drawn = {metric: variants_with(metric, result) for metric in (chart.x, chart.y) if metric}
    return bool(set.intersection(*drawn.values()))


def variants_with(metric: str, result: Result) -> set[str]:
    """Return the variants of which the run measured the metric."""
    return {row.variant for row in result.measurements if row.metric == metric}


@each_study
def test_what_it_declares_is_measured_here_or_in_a_run_that_ships(study: Study) -> None:
    results = [smoke_run(study.slug).result, *reference_results(study.slug)]
    rows = [row for result in results for row in result.measurements]
    curves = [curve for result in results for curve in result.series if curve.points]
    # What needs a GPU may wait for a run on one.
    elsewhere = study.gpu_only

    def all_but(declared: Iterable[Metric | Variant | Setting], found: set[str]) -> bool:
        names = {each.name for each in declared}
        return names - elsewhere <= found <= names

    assert all_but(study.metrics, {row.metric for row in rows})
    entries: list[MeasuredValue | Curve] = [*rows, *curves]
    named = {entry.variant for entry in entries}
    assert all_but(study.variants, named)
    used = {setting for entry in entries for setting in entry.settings}
    assert all_but(study.settings, used)
    assert {curve.name for curve in curves} == {series.name for series in study.series}


@each_study
def test_it_counts_and_computes_what_it_always_did(study: Study) -> None:
    assert numbers.changes(study, smoke_run(study.slug)) == []


@each_study
def test_its_verdict_tells_a_number_that_it_measured(study: Study) -> None:
    result = smoke_run(study.slug).result
    # Two digits or more: a single one would be among so many measurements by chance.
    told = [n for n in re.findall(r"\d+(?:\.\d+)?", result.verdict) if len(n.replace(".", "")) > 1]
    values = [row.value * factor for row in result.measurements for factor in (1, 100)]
    assert any(numbers.is_rounded(number, value) for number in told for value in values), (
        result.verdict
    )
