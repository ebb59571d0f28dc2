"""The curves of a run, each series one chart with a curve for each variant."""

from collections.abc import Iterable

import pandas as pd
from django.utils.text import capfirst, slugify

from casestudies.choices import State
from casestudies.lab.contract import Series
from casestudies.lab.metrics import Metric
from casestudies.lab.result import Curve
from casestudies.models import Run
from reviewapp.ui.charts import LINES, Chart, Mark, Trace, style_for
from reviewapp.ui.scales import kind_of
from reviewapp.ui.units import labelled, rounded


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
    shown = [(variant, rounded(x), rounded(y)) for variant, x, y in rows]
    return Chart(
        slug=f"curve-{slugify(series.name)}",
        title=capfirst(series.name),
        kind="lines",
        table=pd.DataFrame(shown, columns=["Variant", capfirst(across), capfirst(up)]),
        traces=[_line(n, _label(run, curve), curve) for n, curve in enumerate(curves)],
        x_label=across,
        y_label=up,
        note=_note(run, metric, kind_of(y for _, _, y in rows) == "log"),
    )


def _label(run: Run, curve: Curve) -> str:
    study = run.definition
    return study.label(curve.variant, curve.settings) if study else curve.variant


def _line(place: int, name: str, curve: Curve) -> Trace:
    """Return a curve, told by its mark and its line too, not by its colour alone."""
    marks = [Mark(x, y, (name, f"{rounded(x)}: {rounded(y)}")) for x, y in curve.points]
    return Trace(name, marks, style_for(place), LINES[place % len(LINES)])


def _note(run: Run, metric: Metric, logarithmic: bool) -> str:
    better = "" if metric.direction == "neither" else f", {metric.direction}"
    scale = " The vertical axis is logarithmic." if logarithmic else ""
    so_far = "" if run.state == State.SUCCEEDED else " Only what was measured before the end."
    if not run.over:
        so_far = " So far; more may come."
    where = f" on {run.hardware}" if run.hardware else ""
    when = f", {run.started:%-d %B %Y}" if run.started else ""
    return f"{capfirst(run.label)}{where}{when}{better}.{scale}{so_far}"
