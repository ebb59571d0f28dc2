"""The charts by which a study tells its result: what they draw of a run, and where they stand."""

import html
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from casestudies.choices import State
from casestudies.lab import metrics
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Series, StudyChart, Variant
from casestudies.lab.result import Curve
from casestudies.models import Measurement, Run, RunEvent
from casestudies.runs.charts import charts, declared_charts
from reviewapp.ui.charts import Chart
from tests.casestudies.making import ENVIRONMENT, NOON, a_finished_run, a_run
from tests.lab.declared import SIZE, toy

BARS = StudyChart("bars", "Which is faster.", y="product speed")
CURVES = StudyChart("curves", "Where they part.", series="size by share")
TRADE = StudyChart("trade", "Which is smaller.", x="size", y="perplexity")
SPARSEGPT = STUDIES["sparsegpt"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a run, not stored, of a study with all kinds of charts."""
    study = toy(
        variants=(
            Variant("theirs", "as it was", "baseline"),
            Variant("ours", "the method"),
            Variant("noise", "nothing learnt", "control"),
        ),
        metrics=(SIZE, metrics.PERPLEXITY, metrics.PRODUCT_SPEED),
        series=(
            Series("size by time", "time", "s", "size"),
            Series("size by share", "share", "fraction", "size"),
        ),
        charts=(BARS, CURVES, TRADE),
    )
    monkeypatch.setitem(STUDIES, study.slug, study)
    environment = {**ENVIRONMENT, "load": 3.5}
    return Run(pk=7, study=study.slug, state=State.SUCCEEDED, environment=environment, started=NOON)


def measured(run: Run, metric: str, variant: str, value: float, **more: Any) -> Measurement:
    values: dict[str, Any] = {"settings": {}, "n": 1, "spread": None, "unit": "", **more}
    return Measurement(run=run, metric=metric, variant=variant, value=value, **values)


def a_curve(name: str, variant: str) -> Curve:
    return Curve(name=name, variant=variant, points=[(0, 1), (1, 2)])


def marks(chart: Chart) -> dict[str, tuple[Any, float]]:
    return {trace.name: (mark.x, mark.y) for trace in chart.traces for mark in trace.marks}


def test_declared_charts_come_first_in_their_order_then_the_other_series(run: Run) -> None:
    rows = [measured(run, "product speed", "ours", 2.0)]
    curves = [a_curve("size by time", "ours"), a_curve("size by share", "ours")]
    nothing = Curve(name="size by share", variant="theirs", points=[])
    found = charts(run, rows, [*curves, nothing])
    assert [len(chart.traces) for chart in found] == [1, 1, 1]
    assert [(chart.title, chart.look_for) for chart in found] == [
        ("Product speed", BARS.look_for),
        ("Size by share", CURVES.look_for),
        ("Size by time", ""),
    ]
    declared = declared_charts(run, rows, curves)
    assert [chart.title for chart in declared] == ["Product speed", "Size by share"]
    assert charts(run, [], []) == []


def test_bars_stand_in_the_declared_order_and_tell_roles_and_spread(run: Run) -> None:
    rows = [
        measured(run, "product speed", "noise", 0.5, unit="x"),
        measured(run, "product speed", "ours", 2.0, unit="x", n=3, spread=0.25),
        measured(run, "product speed", "theirs", 1.1, unit="x", settings={"batch": 8}),
    ]
    [chart] = charts(run, rows, [])
    names = ["1.1 x · theirs, 8 sequences", "2 x · ours", "0.5 x · noise"]
    assert [trace.name for trace in chart.traces] == names
    assert [trace.marks[0].hollow for trace in chart.traces] == [True, False, True]
    assert chart.rows == [
        ["theirs, 8 sequences", "baseline", "1.1"],
        ["ours", "method", "2 (median of 3, interquartile range 0.25)"],
        ["noise", "control", "0.5"],
    ]
    assert not any(mark.whisker for mark in chart.marks)
    assert (chart.x_label, chart.reference) == ("product speed (x dense)", 1)
    for sentence in (
        "Product speed: higher is better.",
        "The line at 1 is dense itself.",
        "Hatched bars are baselines and controls.",
        "Product speed is of that machine at that time, whose load was 3.5 when the run began.",
    ):
        assert sentence in chart.note


def test_a_trade_pairs_what_was_measured_whatever_the_settings(run: Run) -> None:
    rows = [
        measured(run, "perplexity", "ours", 20.0),
        measured(run, "perplexity", "theirs", 13.0),
        measured(run, "perplexity", "noise", 99.0),
        measured(run, "size", "ours", 3.0, settings={"code": "a"}),
        measured(run, "size", "ours", 4.0, settings={"code": "b"}),
        measured(run, "size", "theirs", 8.0),
    ]
    [chart] = charts(run, rows, [])
    assert marks(chart) == {"theirs": (8, 13), "ours, a": (3, 20), "ours, b": (4, 20)}
    assert "Perplexity is that of “ours” whatever the settings." in chart.note
    assert "at that time" not in chart.note


def test_a_trade_draws_what_has_no_settings_beside_settings_of_both_metrics(run: Run) -> None:
    rows = [
        measured(run, "perplexity", "ours", 20.0),
        measured(run, "perplexity", "ours", 30.0, settings={"code": "a"}),
        measured(run, "size", "ours", 3.0),
        measured(run, "size", "ours", 4.0, settings={"code": "a"}),
        measured(run, "size", "ours", 5.0, settings={"code": "b"}),
    ]
    [chart] = charts(run, rows, [])
    assert marks(chart) == {"ours": (3, 20), "ours, a": (4, 30)}
    assert "whatever the settings" not in chart.note


def test_a_variant_looks_the_same_in_all_charts_of_a_run(run: Run) -> None:
    rows = [
        measured(run, metric, variant, 1.0)
        for metric in ("size", "perplexity")
        for variant in ("ours", "theirs")
    ]
    found = charts(run, rows, [a_curve("size by share", "ours"), a_curve("size by time", "ours")])
    styles = {(trace.name, trace.style) for chart in found for trace in chart.traces}
    assert len(found) == 3
    assert len(styles) == 2


@pytest.mark.django_db
def test_the_page_of_a_study_begins_with_its_chart_and_verdict(client: Client) -> None:
    a_finished_run()
    page = html.unescape(client.get("/case-studies/sparsegpt/").content.decode())
    places = [
        page.index(words)
        for words in (
            SPARSEGPT.summary + "</p>",
            SPARSEGPT.charts[0].look_for,
            "Perplexity goes from 13 to 20.4.",
            SPARSEGPT.limits,
            'id="claims"',
            'id="start"',
            'id="measures"',
            'id="history"',
        )
    ]
    assert places == sorted(places)


@pytest.mark.django_db
def test_a_chart_grows_with_measurements_while_the_run_goes_on(client: Client) -> None:
    now = timezone.now()
    going_on = a_run(state=State.RUNNING, started=now, heartbeat=now)
    value = {"variant": "sparsegpt", "n": 1, "spread": None}
    for metric, unit in (("compression time", "s"), ("perplexity ratio", "x")):
        data = {"metric": metric, "unit": unit, "value": 2.5, **value}
        RunEvent.objects.create(run=going_on, at=now, kind="measurement", data=data)
    drawn = client.get(f"/runs/{going_on.pk}/news.json").json()["parts"]["charts"]
    assert SPARSEGPT.charts[0].look_for in html.unescape(drawn)
    assert "So far; more may come." in drawn
    assert SPARSEGPT.charts[0].look_for in html.unescape(
        client.get(going_on.get_absolute_url()).content.decode()
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "told"),
    [("", True), ("x=sparsity", False), ("baseline=sparsegpt", False), ("study=all", False)],
)
def test_dashboards_say_what_to_look_for_where_they_draw_the_same(
    client: Client, query: str, told: bool
) -> None:
    a_finished_run()
    page = html.unescape(client.get(f"/dashboards/?{query}").content.decode())
    assert (SPARSEGPT.charts[0].look_for in page) == told
