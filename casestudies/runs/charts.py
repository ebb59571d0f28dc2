"""The curves of a run, each series one chart with a curve for each variant."""

from collections.abc import Iterable
from html import escape
from typing import Any

import pandas as pd
from django.utils.text import capfirst, slugify

from casestudies.choices import State
from casestudies.lab.contract import Series
from casestudies.lab.metrics import Metric
from casestudies.lab.result import Curve
from casestudies.models import Run
from reviewapp.ui.charts import Chart
from reviewapp.ui.units import labelled, rounded

# A variant is told by its mark and its line too, not by its colour alone.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
LOGARITHMIC_FROM = 30  # times the smallest value


def charts(run: Run, curves: Iterable[Curve]) -> list[Chart]:
    """Return a chart for each series that the study declares and that has points."""
    by_name: dict[str, list[Curve]] = {}
    for curve in curves:
        if curve.points:
            by_name.setdefault(curve.name, []).append(curve)
    study = run.definition
    declared = study.series if study else ()
    metrics = {metric.name: metric for metric in study.metrics} if study else {}
    return [
        _chart(run, series, metrics[series.metric], by_name[series.name])
        for series in declared
        if series.name in by_name
    ]


def _chart(run: Run, series: Series, metric: Metric, curves: list[Curve]) -> Chart:
    across, up = labelled(series.x, series.x_unit), labelled(metric.name, metric.unit_in_words)
    rows = [(_label(run, curve), *point) for curve in curves for point in curve.points]
    values = [row[2] for row in rows]
    logarithmic = min(values) > 0 and max(values) > LOGARITHMIC_FROM * min(values)
    figure = {
        "data": [_trace(n, _label(run, curve), curve) for n, curve in enumerate(curves)],
        "layout": {
            "height": 340,
            "xaxis": {"title": {"text": across}},
            "yaxis": {"title": {"text": up}, "type": "log" if logarithmic else "linear"},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            "showlegend": True,
        },
    }
    shown = [(variant, rounded(x), rounded(y)) for variant, x, y in rows]
    table = pd.DataFrame(shown, columns=["Variant", capfirst(across), capfirst(up)])
    return Chart(
        f"curve-{slugify(series.name)}",
        capfirst(series.name),
        figure,
        table,
        _note(run, metric, logarithmic),
    )


def _label(run: Run, curve: Curve) -> str:
    study = run.definition
    return study.label(curve.variant, curve.settings) if study else curve.variant


def _trace(number: int, label: str, curve: Curve) -> dict[str, Any]:
    points, name = curve.points, escape(label)
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        "marker": {"symbol": SYMBOLS[number % len(SYMBOLS)], "size": 8},
        "line": {"dash": DASHES[number % len(DASHES)]},
        "hovertemplate": f"{name}<br>%{{x}}: %{{y:.4g}}<extra></extra>",
    }


def _note(run: Run, metric: Metric, logarithmic: bool) -> str:
    better = "" if metric.direction == "neither" else f", {metric.direction}"
    scale = " The vertical axis is logarithmic." if logarithmic else ""
    so_far = "" if run.state == State.SUCCEEDED else " Only what was measured before the end."
    if not run.over:
        so_far = " So far; more may come."
    where = f" on {run.hardware}" if run.hardware else ""
    when = f", {run.started:%-d %B %Y}" if run.started else ""
    return f"{capfirst(run.label)}{where}{when}{better}.{scale}{so_far}"
