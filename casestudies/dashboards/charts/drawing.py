"""Which points each chart has, and what a reader must know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from casestudies.dashboards.charts.efficiency import SIGNS, efficient_by
from casestudies.dashboards.charts.plots import Axis, Plot, Point
from casestudies.dashboards.comparability import Member
from casestudies.dashboards.queries import Measured
from casestudies.lab.contract import Series, Study
from casestudies.lab.metrics import Metric
from casestudies.models import Measurement, Run
from casestudies.runs.charts import look_for
from casestudies.runs.pairing import Key, by_key, measured_as, pairs, whatever_settings
from reviewapp.ui.scales import logarithmic_axes

MOST_OVERLAID = 10


@dataclass(frozen=True)
class Subject:
    """What is drawn: runs, latest first, and what they measured.

    With a `baseline`, values are divided by that variant's in the same run. `names` has, where
    several studies are drawn, what each is called before its variants.
    """

    members: Sequence[Member]
    measured: Measured
    baseline: str = ""
    names: Mapping[str, str] | None = None

    def name(self, measurement: Measurement) -> str:
        """Return what the measurement's variant is called in the chart."""
        label = measurement.label
        return f"{self.names[measurement.run.study]}: {label}" if self.names else label

    def of(self, run: Run, metric: Metric) -> Sequence[Measurement]:
        """Return what the run measured of the metric."""
        return self.measured.get(run.pk, {}).get(metric.name, ())

    def axis(self, metric: Metric) -> Axis:
        if self.baseline:
            return Axis(f"{metric.name}, relative to {self.baseline}", "x")
        return Axis(metric.name, metric.unit_in_words)

    def title(self, text: str) -> str:
        ending = f", relative to {self.baseline}" if self.baseline else ""
        return text[:1].upper() + text[1:] + ending

    def divisor(self, value: Measurement) -> float | None:
        """Return what the value is divided by, None when it cannot be."""
        if not self.baseline:
            return 1.0
        rows = self._by_key[value.run_id, value.metric]
        found = measured_as(rows, self.baseline, value.settings)
        return found.value if found and found.value > 0 else None

    @cached_property
    def _by_key(self) -> dict[tuple[int, str], Mapping[Key, Measurement]]:
        return {
            (run, metric): by_key(rows)
            for run, of_run in self.measured.items()
            for metric, rows in of_run.items()
        }

    def left_out(self, metric: Metric) -> list[str]:
        """Return in words how many runs cannot be shown relative to the baseline."""
        n = sum(
            any(self.divisor(row) is None for row in self.of(member.run, metric))
            for member in self.members
        )
        if not n:
            return []
        have = "1 run has" if n == 1 else f"{n} runs have"
        return [f"{have} no {metric.name} of “{self.baseline}” above zero to divide by."]

    def points(self, member: Member, named: Measurement, x: Any, up: Measurement) -> list[Point]:
        """Return the mark of a variant, called as `named` is, at `x` and the value of `up`.

        The list is empty when the value cannot be shown relative to the baseline.
        """
        divisor = self.divisor(up)
        if divisor is None:
            return []
        name, y = self.name(named), up.value / divisor
        base, settings = named.variant, named.settings
        return [Point(member, name, base, settings, x, y, up.value, up.n, up.spread)]


def pareto(subject: Subject, x: Metric, y: Metric, slug: str, title: str) -> Plot:
    """Return each variant of each run by two metrics, with those that nothing else beats."""
    found = [
        (member, pair)
        for member in subject.members
        for pair in pairs(subject.of(member.run, x), subject.of(member.run, y))
    ]
    points = [
        point
        for member, pair in found
        for point in subject.points(member, pair.named, pair.x.value, pair.y)
    ]
    if marks := efficient_by(x, y, [(point.x, point.y) for point in points]):
        points = [replace(p, efficient=mark) for p, mark in zip(points, marks, strict=True)]
    inherited = (whatever_settings(metric, [pair for _, pair in found]) for metric in (x, y))
    notes = [
        "Each mark is one variant of one run.",
        *_directions(x, y),
        *_settings(subject.members),
        *filter(None, inherited),
        *subject.left_out(y),
        *_scales(points),
    ]
    axes = Axis(x.name, x.unit_in_words), subject.axis(y)
    return Plot(slug, subject.title(title), "marks", *axes, points, notes, x.direction)


def _directions(x: Metric, y: Metric) -> list[str]:
    undirected = [metric.name for metric in (x, y) if metric.direction not in SIGNS]
    if undirected:
        return [
            f"No mark counts as efficient: neither more nor less {' or '.join(undirected)} is"
            " better by itself."
        ]
    return [
        f"For {x.name}, {x.direction}; for {y.name}, {y.direction}.",
        "Filled marks, joined by the dotted line, are Pareto-efficient: no other mark is as good"
        " on both axes and better on one.",
    ]


def _settings(members: Sequence[Member]) -> list[str]:
    """Return in words in which parameters runs of the same study differ."""
    first: dict[str, Mapping[str, Any]] = {}
    names: dict[str, None] = {}
    for run in (member.run for member in members):
        usual = first.setdefault(run.study, run.parameters)
        names |= dict.fromkeys(name for name in usual if run.parameters.get(name) != usual[name])
    different = [name.replace("_", " ") for name in names]
    if not different:
        return []
    return [f"The runs differ in {', '.join(different)}; the table has each one’s settings."]


def _scales(points: Sequence[Point]) -> list[str]:
    return list(filter(None, [logarithmic_axes((point.x, point.y) for point in points)]))


def over_time(subject: Subject, y: Metric) -> Plot:
    """Return each variant's values of the metric, run after run."""
    points = [
        point
        for member in reversed(subject.members)
        for up in subject.of(member.run, y)
        for point in subject.points(member, up, member.run.finished, up)
    ]
    notes = [
        "The runs in the order in which they ended.",
        *_settings(subject.members),
        *subject.left_out(y),
        *_scales(points),
    ]
    if len({point.run.pk for point in points}) == 1:
        notes.append("There is one run so far, hence no line.")
    title = subject.title(f"{y.name} over the runs")
    axes = Axis("finished"), subject.axis(y)
    return Plot("over-time", title, "over runs", *axes, points, notes)


def overlaid(
    members: Sequence[Member], study: Study, series: Series, found: Mapping[int, Any]
) -> Plot:
    """Return the newest runs' curves of a study's series; `found` has them by run."""
    newest = members[:MOST_OVERLAID]
    points = [
        Point(member, study.label(variant, settings), variant, settings, x, y, y)
        for member in newest
        for curve in found.get(member.run.pk, [])
        for variant, settings in [(curve["variant"], curve["settings"])]
        for x, y in curve["points"]
    ]
    notes = _scales(points)
    if len(newest) > 1:
        notes.insert(0, "The newest run’s lines are solid, those of the others dashed.")
    if len(members) > MOST_OVERLAID:
        notes.append(f"Drawn are the newest {MOST_OVERLAID} of {len(members)} runs.")
    metric = study.metric(series.metric)
    axes = Axis(series.x, series.x_unit), Axis(metric.name, metric.unit_in_words)
    title, hint = series.name.capitalize(), look_for(study, series=series.name)
    return Plot("curves", title, "of runs", *axes, points, notes, look_for=hint)
