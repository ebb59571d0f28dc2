"""The charts of a run: those by which its study tells its result, then its other curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from django.utils.text import capfirst, slugify

from casestudies.choices import State
from casestudies.lab.contract import Study, StudyChart
from casestudies.lab.metrics import Metric
from casestudies.lab.result import Curve
from casestudies.models import Measurement, Run
from casestudies.runs.pairing import Pair, pairs, whatever_settings
from reviewapp.ui.charts import LINES, Chart, Mark, Trace, stride, style_for, thinned, thinning
from reviewapp.ui.scales import logarithmic_axes
from reviewapp.ui.units import labelled, rounded, with_spread

HELD_AGAINST = ("baseline", "control")  # roles of what methods are compared with


def charts(run: Run, measured: Sequence[Measurement], curves: Sequence[Curve]) -> list[Chart]:
    """Return the charts that the run's study declares, in its order, then its other series.

    Those of which nothing was measured are left out.
    """
    study = run.definition
    if study is None:
        return []
    drawn = {chart.series for chart in study.charts}
    others = [s.name for s in study.series if s.name not in drawn]
    undeclared = [StudyChart("curves", "", series=name) for name in others]
    return _RunDrawing(run, study, measured, curves, [*study.charts, *undeclared]).charts()


def declared_charts(
    run: Run, measured: Sequence[Measurement], curves: Sequence[Curve]
) -> list[Chart]:
    """Return the charts by which the run's study tells its result, in its order."""
    study = run.definition
    return _RunDrawing(run, study, measured, curves, study.charts).charts() if study else []


def look_for(study: Study, *, x: str = "", y: str = "", series: str = "") -> str:
    """Return what the study says to look for in its chart of these; empty if it declares none."""
    declared = {(chart.x, chart.y, chart.series): chart.look_for for chart in study.charts}
    return declared.get((x, y, series), "")


@dataclass(frozen=True)
class _RunDrawing:
    """A run as it is to be drawn. A variant with its settings looks the same in all charts."""

    run: Run
    study: Study
    measured: Sequence[Measurement]
    curves: Sequence[Curve]
    wanted: Sequence[StudyChart]

    def charts(self) -> list[Chart]:
        draw = {"trade": self._trade, "bars": self._bars, "curves": self._lines}
        found = (draw[chart.kind](chart) for chart in self.wanted)
        return [chart for chart in found if chart.marks]

    def _trade(self, declared: StudyChart) -> Chart:
        """Return each variant by two metrics."""
        x, y = self.study.metric(declared.x), self.study.metric(declared.y)
        every = self._pairs(declared)
        found = thinned(every, stride(len(every)))
        rows = [
            (pair.named.label, self._role(pair.named), _cell(pair.x), _cell(pair.y))
            for pair in found
        ]
        return Chart(
            slug=f"trade-{slugify(f'{y.name}-{x.name}')}",
            title=capfirst(f"{y.name} against {x.name}"),
            kind="lines",
            table=pd.DataFrame(rows, columns=["Variant", "Role", _column(x), _column(y)]),
            traces=[self._dot(pair) for pair in found],
            x_label=_named(x),
            y_label=_named(y),
            look_for=declared.look_for,
            note=self._note(
                [x, y],
                *(whatever_settings(metric, found) for metric in (x, y)),
                logarithmic_axes([(pair.x.value, pair.y.value) for pair in found]),
                thinning(len(every)),
            ),
        )

    def _dot(self, pair: Pair) -> Trace:
        name = pair.named.label
        label = (name, *(f"{row.metric}: {_in_unit(row)}" for row in (pair.x, pair.y)))
        mark = Mark(pair.x.value, pair.y.value, label)
        return Trace(name, [mark], style_for(self._order[name]))

    def _bars(self, declared: StudyChart) -> Chart:
        """Return one metric of each variant, hatched where a method is held against it."""
        metric = self.study.metric(declared.y)
        rows = (row for row in self.measured if row.metric == metric.name)
        every = sorted(rows, key=lambda row: self._place(row.variant))
        found = thinned(every, stride(len(every)))
        base = metric.relative_to if metric.unit == "x" else ""
        return Chart(
            slug=f"bars-{slugify(metric.name)}",
            title=capfirst(metric.name),
            kind="bars",
            table=pd.DataFrame(
                [(row.label, self._role(row), _cell(row)) for row in found],
                columns=["Variant", "Role", _column(metric)],
            ),
            traces=[self._bar(row) for row in found],
            x_label=_named(metric),
            reference=1 if base else None,
            look_for=declared.look_for,
            note=self._note(
                [metric],
                f"The line at 1 is {base} itself." if base else "",
                _hatched({self._role(row) for row in found}),
                thinning(len(every)),
            ),
        )

    def _bar(self, row: Measurement) -> Trace:
        label = (row.label, _in_unit(row))
        mark = Mark(row.value, label=label, hollow=self._role(row) in HELD_AGAINST)
        return Trace(" · ".join(reversed(label)), [mark])

    def _lines(self, declared: StudyChart) -> Chart:
        """Return the curves of a series."""
        series = next(s for s in self.study.series if s.name == declared.series)
        metric, across = self.study.metric(series.metric), labelled(series.x, series.x_unit)
        every = self._curves(declared)
        points = sum(len(curve.points) for curve in every)
        found = [
            curve.model_copy(update={"points": thinned(curve.points, stride(points))})
            for curve in thinned(every, stride(len(every)))
        ]
        rows = [(self._label(curve), x, y) for curve in found for x, y in curve.points]
        return Chart(
            slug=f"curve-{slugify(series.name)}",
            title=capfirst(series.name),
            kind="lines",
            table=pd.DataFrame(
                [(label, rounded(x), rounded(y)) for label, x, y in rows],
                columns=["Variant", capfirst(across), _column(metric)],
            ),
            traces=[self._line(curve) for curve in found],
            x_label=across,
            y_label=_named(metric),
            look_for=declared.look_for,
            note=self._note(
                [metric], logarithmic_axes([(x, y) for _, x, y in rows]), thinning(points)
            ),
        )

    def _line(self, curve: Curve) -> Trace:
        """Return a curve, told by its mark and its line too, not by its colour alone."""
        name = self._label(curve)
        marks = [Mark(x, y, (name, f"{rounded(x)}: {rounded(y)}")) for x, y in curve.points]
        place = self._order[name]
        return Trace(name, marks, style_for(place), LINES[place % len(LINES)])

    def _pairs(self, declared: StudyChart) -> list[Pair]:
        xs, ys = (
            [row for row in self.measured if row.metric == name]
            for name in (declared.x, declared.y)
        )
        return sorted(pairs(xs, ys), key=lambda pair: self._place(pair.named.variant))

    def _curves(self, declared: StudyChart) -> list[Curve]:
        found = [c for c in self.curves if c.name == declared.series and c.points]
        return sorted(found, key=lambda curve: self._place(curve.variant))

    def _label(self, curve: Curve) -> str:
        return self.study.label(curve.variant, curve.settings)

    def _role(self, row: Measurement) -> str:
        return next((v.role for v in self.study.variants if v.name == row.variant), "")

    def _place(self, variant: str) -> int:
        """Return where the variant stands among those that the study declares."""
        names = [declared.name for declared in self.study.variants]
        return names.index(variant) if variant in names else len(names)

    @cached_property
    def _order(self) -> dict[str, int]:
        """Return the place of each variant with its settings, those of the first chart first.

        From it come colour, mark and line, which so are the same in all charts of the run.
        """
        labels: dict[str, None] = {}
        for chart in self.wanted:
            if chart.kind == "trade":
                labels |= dict.fromkeys(pair.named.label for pair in self._pairs(chart))
            elif chart.kind == "curves":
                labels |= dict.fromkeys(self._label(curve) for curve in self._curves(chart))
        return {label: place for place, label in enumerate(labels)}

    def _note(self, metrics: Sequence[Metric], *more: str) -> str:
        """Return whose numbers these are, in which direction they are better, and the rest."""
        run = self.run
        where = f" on {run.hardware}" if run.hardware else ""
        when = f", {run.started:%-d %B %Y}" if run.started else ""
        directions = (
            f"{capfirst(metric.name)}: {metric.direction}."
            for metric in metrics
            if metric.direction != "neither"
        )
        sentences = (
            f"{capfirst(run.label)}{where}{when}.",
            *directions,
            *more,
            _of_this_moment(metrics, run),
            _so_far(run),
        )
        return " ".join(filter(None, sentences))


def _named(metric: Metric) -> str:
    return labelled(metric.name, metric.unit_in_words)


def _column(metric: Metric) -> str:
    return str(capfirst(_named(metric)))


def _in_unit(row: Measurement) -> str:
    return f"{rounded(row.value)} {row.unit}".strip()


def _cell(row: Measurement) -> str:
    return with_spread(row.value, row.n, row.spread)


def _hatched(roles: set[str]) -> str:
    """Return in words which bars are hatched."""
    found = [f"{role}s" for role in HELD_AGAINST if role in roles]
    return f"Hatched bars are {' and '.join(found)}." if found else ""


def _of_this_moment(metrics: Sequence[Metric], run: Run) -> str:
    """Return in words that what is timed belongs to the machine and the moment."""
    timed = [metric.name for metric in metrics if metric.evidence == "timed"]
    if not timed:
        return ""
    load = run.environment.get("load")
    loaded = "" if load is None else f", whose load was {load:.2g} when the run began"
    are = "are" if len(timed) > 1 else "is"
    return f"{capfirst(' and '.join(timed))} {are} of that machine at that time{loaded}."


def _so_far(run: Run) -> str:
    if not run.over:
        return "So far; more may come."
    return "" if run.state == State.SUCCEEDED else "Only what was measured before the end."
