"""The charts of a sweep: each headline metric by the values of the parameter that varies."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd
from django.utils.html import format_html
from django.utils.text import capfirst, slugify

from casestudies.lab.contract import Study
from casestudies.lab.metrics import Metric
from casestudies.models import Measurement, Run
from casestudies.sweeps.reading import SweepNow, of_metric
from reviewapp.ui.charts import LINES, Chart, Mark, Trace, style_for
from reviewapp.ui.scales import logarithmic_axes
from reviewapp.ui.units import labelled, rounded, with_spread


class Point(NamedTuple):
    """One value of the metric; `name` says of what, which is a line of the chart."""

    run: Run
    name: str
    x: Any
    row: Measurement


def charts(now: SweepNow) -> list[Chart]:
    """Return a chart for each headline metric of the study of which anything was measured."""
    study = now.study
    if study is None:
        return []
    metrics = [study.metric(name) for name in dict.fromkeys(one.metric for one in study.headline)]
    points = {metric.name: _points(now, study, metric) for metric in metrics}
    # In all charts of the page the same name looks the same.
    names = list(dict.fromkeys(point.name for found in points.values() for point in found))
    return [
        _chart(now, metric, points[metric.name], names) for metric in metrics if points[metric.name]
    ]


def _chart(now: SweepNow, metric: Metric, points: list[Point], names: list[str]) -> Chart:
    parameter = labelled(now.sweep.parameter_in_words, now.unit)
    measured = labelled(metric.name, metric.unit_in_words)
    scales = logarithmic_axes([(p.x, p.row.value) for p in points]) if now.numeric else ""
    return Chart(
        slug=f"sweep-{slugify(metric.name)}",
        title=f"{capfirst(metric.name)} by {now.sweep.parameter_in_words}",
        kind="lines" if now.numeric else "dots",
        table=_table(points, capfirst(parameter), capfirst(measured)),
        traces=_lines(points, names) if now.numeric else _rows(points),
        x_label=parameter if now.numeric else measured,
        y_label=measured if now.numeric else "",
        note=_note(now, metric, scales),
    )


def _points(now: SweepNow, study: Study, metric: Metric) -> list[Point]:
    """Return the points variant by variant, in the study's order, each variant's by value.

    What was measured on other hardware, or else in another way, is another line.
    """
    place = {variant.name: n for n, variant in enumerate(study.variants)}
    apart = "hardware" in now.other_differences
    found = [
        Point(run, f"{name}, {run.hardware}" if apart else name, run.swept_value, row)
        for run in now.with_result
        for row in of_metric(run, metric.name)
        for name in [now.name(study, run, row)]
    ]
    return sorted(found, key=lambda p: (place.get(p.row.variant, len(place)), p.name))


def _lines(points: list[Point], names: list[str]) -> list[Trace]:
    drawn = {point.name for point in points}
    return [
        Trace(
            name,
            [_mark(point.x, point) for point in points if point.name == name],
            style_for(place),
            LINES[place % len(LINES)],
        )
        for place, name in enumerate(names)
        if name in drawn
    ]


def _mark(x: Any, point: Point) -> Mark:
    label = (point.name, f"{point.x}: {_in_unit(point.row)}")
    return Mark(x, point.row.value, label, href=point.run.get_absolute_url())


def _rows(points: list[Point]) -> list[Trace]:
    """Return each point as a row: values that are no numbers have no place on an axis."""
    return [
        Trace(
            f"{point.x}: {point.name}",
            [
                Mark(
                    point.row.value,
                    label=(f"{point.x}: {point.name}", _in_unit(point.row)),
                    href=point.run.get_absolute_url(),
                )
            ],
        )
        for point in points
    ]


def _table(points: list[Point], parameter: str, measured: str) -> pd.DataFrame:
    rows = [
        (
            point.row.label,
            point.x,
            with_spread(point.row.value, point.row.n, point.row.spread),
            point.run.hardware or None,
            format_html('<a href="{}">{}</a>', point.run.get_absolute_url(), point.run.label),
        )
        for point in points
    ]
    # Numbers beside texts would make floats of integers.
    header = ["Variant", parameter, measured, "Hardware", "Run"]
    return pd.DataFrame(rows, columns=header, dtype=object)


def _in_unit(row: Measurement) -> str:
    return f"{rounded(row.value)} {row.unit}".strip()


def _note(now: SweepNow, metric: Metric, scales: str) -> str:
    """Return whose numbers these are, in which direction they are better, and what is missing."""
    hardware = list(dict.fromkeys(run.hardware for run in now.with_result if run.hardware))
    where = f" on {' and on '.join(hardware)}" if hardware else ""
    sentences = (
        f"{capfirst(now.sweep.label)}, {now.sweep.preset} preset{where}.",
        "" if metric.direction == "neither" else f"{capfirst(metric.name)}: {metric.direction}.",
        "It is timed, hence of that machine at that time." if metric.evidence == "timed" else "",
        scales,
        *_missing(now),
    )
    return " ".join(filter(None, sentences))


def _missing(now: SweepNow) -> Iterator[str]:
    without = [f"{run.swept_value} ({run.shown_state})" for run in now.without_result]
    if without:
        yield f"Without a result: {', '.join(without)}."
