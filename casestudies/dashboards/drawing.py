"""Which points each chart has, and what a reader must know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from casestudies.dashboards.comparability import Member
from casestudies.dashboards.efficiency import SIGNS, efficient_by
from casestudies.dashboards.figures import scale
from casestudies.dashboards.plots import Axis, Plot, Point
from casestudies.dashboards.queries import Measured
from casestudies.lab.contract import Metric, Series
from casestudies.models import Measurement, Run

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

    def name(self, run: Run, variant: str) -> str:
        return f"{self.names[run.study]}: {variant}" if self.names else variant

    def of(self, run: Run, metric: Metric) -> Mapping[str, Measurement]:
        """Return by variant what the run measured of the metric."""
        return self.measured.get(run.pk, {}).get(metric.name, {})

    def axis(self, metric: Metric) -> Axis:
        if self.baseline:
            return Axis(f"{metric.name}, relative to {self.baseline}", "x")
        return Axis(metric.name, metric.unit)

    def title(self, text: str) -> str:
        ending = f", relative to {self.baseline}" if self.baseline else ""
        return text[:1].upper() + text[1:] + ending

    def divisor(self, run: Run, metric: Metric) -> float | None:
        """Return what the run's values of the metric are divided by, None when they cannot be."""
        if not self.baseline:
            return 1.0
        found = self.of(run, metric).get(self.baseline)
        return found.value if found and found.value > 0 else None

    def left_out(self, metric: Metric) -> list[str]:
        """Return in words how many runs cannot be shown relative to the baseline."""
        n = sum(self.divisor(member.run, metric) is None for member in self.members)
        if not n:
            return []
        have = "1 run has" if n == 1 else f"{n} runs have"
        return [f"{have} no {metric.name} of “{self.baseline}” above zero to divide by."]


def pareto(subject: Subject, x: Metric, y: Metric, slug: str, title: str) -> Plot:
    """Return each variant of each run by two metrics, with those that nothing else beats."""
    points = [point for member in subject.members for point in _pairs(subject, member, x, y)]
    if marks := efficient_by(x, y, [(point.x, point.y) for point in points]):
        points = [replace(p, efficient=mark) for p, mark in zip(points, marks, strict=True)]
    notes = [
        "Each mark is one variant of one run.",
        *_directions(x, y),
        *_settings(subject.members),
        *_inherited(subject, (x, y), points),
        *subject.left_out(y),
        *_scales(points),
    ]
    axes = Axis(x.name, x.unit), subject.axis(y)
    return Plot(slug, subject.title(title), "marks", *axes, points, notes, x.direction)


def _pairs(subject: Subject, member: Member, x: Metric, y: Metric) -> list[Point]:
    xs, ys = subject.of(member.run, x), subject.of(member.run, y)
    divisor = subject.divisor(member.run, y)
    if divisor is None:
        return []
    return [
        _point(member, subject.name(member.run, variant), across.value, up, divisor)
        for variant in {**xs, **ys}
        if (across := _value(xs, variant)) and (up := _value(ys, variant))
    ]


def _value(found: Mapping[str, Measurement], variant: str) -> Measurement | None:
    """Return the variant's value; "gptq, rans" has that of "gptq" where it has none of its own."""
    return found.get(variant) or found.get(variant.partition(", ")[0])


def _inherited(subject: Subject, metrics: Sequence[Metric], points: Sequence[Point]) -> list[str]:
    """Return in words, with an example, that variants stand at the value of what they store."""
    for point in points:
        whole = point.variant
        part = whole.partition(", ")[0]
        if any(whole not in (found := subject.of(point.run, m)) and part in found for m in metrics):
            return [f"Where only “{part}” was measured, “{whole}” stands at its value."]
    return []


def _point(member: Member, name: str, x: Any, up: Measurement, divisor: float) -> Point:
    return Point(member, name, x, up.value / divisor, up.value, up.n, up.spread)


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
    horizontal, vertical = scale([p.x for p in points]), scale([p.y for p in points])
    if horizontal == vertical == "log":
        return ["Both axes are logarithmic."]
    axes = {"horizontal": horizontal, "vertical": vertical}
    return [f"The {name} axis is logarithmic." for name, kind in axes.items() if kind == "log"]


def over_time(subject: Subject, y: Metric) -> Plot:
    """Return each variant's values of the metric, run after run."""
    points = [
        _point(member, subject.name(member.run, variant), member.run.finished, up, divisor)
        for member in reversed(subject.members)
        if (divisor := subject.divisor(member.run, y))
        for variant, up in subject.of(member.run, y).items()
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
    members: Sequence[Member], series: Series, unit: str, found: Mapping[int, Any]
) -> Plot:
    """Return the newest runs' curves of a series; `found` has them by run, `unit` is y's."""
    newest = members[:MOST_OVERLAID]
    points = [
        Point(member, curve["variant"], x, y, y)
        for member in newest
        for curve in found.get(member.run.pk, [])
        for x, y in curve["points"]
    ]
    notes = _scales(points)
    if len(newest) > 1:
        notes.insert(0, "The newest run’s lines are solid, those of the others dashed.")
    if len(members) > MOST_OVERLAID:
        notes.append(f"Drawn are the newest {MOST_OVERLAID} of {len(members)} runs.")
    axes = Axis(series.x, series.x_unit), Axis(series.metric, unit)
    return Plot("curves", series.name.capitalize(), "of runs", *axes, points, notes)
