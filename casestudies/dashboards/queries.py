"""The runs that the dashboards draw, and what they measured."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db.models import Case, Count, F, Q, Value, When, Window
from django.db.models.functions import RowNumber

from casestudies.dashboards.facets import Values
from casestudies.lab.metrics import Metric
from casestudies.models import Measurement, Run
from casestudies.querysets import ORIGINS, RunQuerySet
from taxonomy.choices import Origin

MOST_RUNS = 200
RUNS = {
    "reference": ORIGINS[Origin.REFERENCE],
    "own": ORIGINS[Origin.HERE],
    "contributed": ORIGINS[Origin.CONTRIBUTED],
}
CONDITIONS = {
    "hardware": lambda value: Q(hardware=value),
    "device": lambda value: Q(device=value),
    "preset": lambda value: Q(preset=value),
    "runs": lambda value: RUNS[value],
    "tag": lambda value: Q(tags__contains=[value]),
}
# By the run's key, then the metric's name.
Measured = Mapping[int, Mapping[str, Sequence[Measurement]]]


def finished_runs(studies: Iterable[str], filters: Mapping[str, str]) -> RunQuerySet[Run]:
    """Return the runs with a result that pass the filters, latest first."""
    conditions = [CONDITIONS[name](value) for name, value in filters.items()]
    return Run.objects.succeeded().filter(*conditions, study__in=list(studies))


def newest(studies: Iterable[str], filters: Mapping[str, str]) -> list[Run]:
    """Return the newest runs of each study that pass, without their curves, latest first."""
    order = [F("finished").desc(), F("id").desc()]
    place = Window(RowNumber(), partition_by="study", order_by=order)
    found = finished_runs(studies, filters).alias(place=place).filter(place__lte=MOST_RUNS)
    return list(found.defer("series", "error", "step", "verdict"))


def counts(studies: Iterable[str]) -> list[tuple[Values, int]]:
    """Return for each combination of what may be filtered by how many runs have it."""
    rows = finished_runs(studies, {}).order_by().values("hardware", "device", "preset", "tags")
    kind = Case(*(When(chosen, then=Value(name)) for name, chosen in RUNS.items()))
    rows = rows.annotate(runs=kind, n=Count("*")).order_by("hardware", "preset", "tags")
    return [
        (
            {
                "hardware": [row["hardware"]],
                "device": [row["device"]],
                "preset": [row["preset"]],
                "runs": [row["runs"]],
                "tag": row["tags"],
            },
            row["n"],
        )
        for row in rows
    ]


def measured(runs: Iterable[Run], metrics: Iterable[Metric]) -> Measured:
    """Return what the runs measured of these metrics."""
    names, by_key = {metric.name for metric in metrics}, {run.pk: run for run in runs}
    found: dict[int, dict[str, list[Measurement]]] = {}
    for row in Measurement.objects.filter(run__in=by_key, metric__in=names):
        row.run = by_key[row.run_id]  # it is at hand, and each row's label asks for it
        found.setdefault(row.run_id, {}).setdefault(row.metric, []).append(row)
    return found


def curves(runs: Iterable[Run], name: str) -> dict[int, list[dict[str, Any]]]:
    """Return by run the curves of its series of this name, one for each variant."""
    stored = Run.objects.filter(pk__in=[run.pk for run in runs]).values_list("pk", "series")
    return {pk: [curve for curve in series if curve["name"] == name] for pk, series in stored}
