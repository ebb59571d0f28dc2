"""What studies gained, objective by objective: each value as a factor of its own baseline's."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from django.utils.text import capfirst, slugify

from casestudies.dashboards.charts.efficiency import SIGNS
from casestudies.dashboards.charts.plots import Axis, Plot, Point
from casestudies.dashboards.comparability import Member
from casestudies.dashboards.queries import Measured
from casestudies.lab.contract import Study
from casestudies.lab.metrics import HIGHER, Metric
from casestudies.models import Measurement
from casestudies.runs.pairing import by_key, measured_as
from taxonomy.choices import Objective

FACTOR = Axis("times as good as its own baseline", "x")
NOTE = (
    "Each row holds a variant against the baseline of its own study in the same run: to the right"
    " of 1 it is better. Rows of different studies have different models, texts and baselines, so"
    " their distances from each other say nothing."
)


def told_by(study: Study) -> list[Metric]:
    """Return the metrics by which the study tells its result that say what is better."""
    names = [one.metric for one in study.headline]
    for chart in study.charts:
        series = [s.metric for s in study.series if s.name == chart.series]
        names += [name for name in (chart.x, chart.y, *series) if name]
    metrics = (study.metric(name) for name in dict.fromkeys(names))
    return [metric for metric in metrics if metric.objective and metric.direction in SIGNS]


def by_objective(drawn: Iterable[tuple[Study, Sequence[Member]]], measured: Measured) -> list[Plot]:
    """Return a plot for each objective that some study speaks to, of each study's newest run."""
    points: dict[str, list[Point]] = {objective: [] for objective in Objective.values}
    for study, members in drawn:
        for metric in told_by(study) if members else []:
            rows = measured.get(members[0].run.pk, {}).get(metric.name, ())
            points[str(metric.objective)] += _factors(study, metric, members[0], rows)
    return [
        Plot(
            slug=f"objective-{slugify(objective)}",
            title=capfirst(Objective(objective).label),
            kind="factors",
            x=FACTOR,
            y=Axis("measured"),
            points=found,
            notes=[NOTE],
        )
        for objective, found in points.items()
        if found
    ]


def _factors(
    study: Study, metric: Metric, member: Member, rows: Sequence[Measurement]
) -> list[Point]:
    """Return each method under its last setting that has a baseline to hold it against."""
    roles = {variant.name: variant.role for variant in study.variants}
    found: dict[str, Point] = {}
    for row in sorted(rows, key=_by_settings):
        base = _baseline(metric, row, rows, roles)
        if roles.get(row.variant) in ("baseline", "control") or not base or row.value <= 0:
            continue
        factor = row.value / base.value if metric.direction == HIGHER else base.value / row.value
        name = f"{study.full_name}, {row.label}: {metric.name}, beside {base.name}"
        point = Point(member, name, row.variant, row.settings, factor, row.value, row.value)
        found[row.variant] = replace(point, n=row.n, spread=row.spread)
    return list(found.values())


def _by_settings(row: Measurement) -> list[tuple[str, bool, float, str]]:
    """Return what orders rows by their settings: the longest text, the largest size last."""
    return [
        (name, isinstance(value, str), 0.0 if isinstance(value, str) else float(value), str(value))
        for name, value in sorted(row.settings.items())
    ]


class _Base(NamedTuple):
    """What a value is held against."""

    name: str
    value: float


def _baseline(
    metric: Metric, row: Measurement, rows: Sequence[Measurement], roles: Mapping[str, str]
) -> _Base | None:
    """Return what the row's value is held against; 1 for what is a ratio already."""
    if metric.unit == "x" and metric.relative_to:
        return _Base(metric.relative_to, 1.0)
    of_metric = by_key(rows)
    for variant, role in roles.items():
        base = measured_as(of_metric, variant, row.settings) if role == "baseline" else None
        if base and base.value > 0:
            return _Base(variant, base.value)
    return None
