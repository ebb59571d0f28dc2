"""Which values of a run belong together when two of its metrics are drawn against each other.

A variant may be measured of one metric under settings, and of another without: what it has without
settings holds whatever they are. So rounded weights lose as much in whichever code they are stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.text import capfirst

from casestudies.lab.metrics import Metric
from casestudies.models import Measurement


class Pair(NamedTuple):
    """The values of two metrics that belong together; `named` has their variant and settings."""

    named: Measurement
    x: Measurement
    y: Measurement


def pairs(xs: Sequence[Measurement], ys: Sequence[Measurement]) -> Iterator[Pair]:
    """Yield a pair for each variant with its settings, of one run's values of two metrics."""
    rows = (*xs, *ys)
    for named in {_key(row): row for row in rows}.values():
        x = measured_as(xs, named.variant, named.settings)
        y = measured_as(ys, named.variant, named.settings)
        if x and y and not _is_part(named, rows):
            yield Pair(named, x, y)


def measured_as(
    rows: Sequence[Measurement], variant: str, settings: Mapping[str, Any]
) -> Measurement | None:
    """Return the variant's value with these settings, or what it has whatever the settings."""
    found = {_key(row): row for row in rows}
    return found.get((variant, frozenset(settings.items()))) or found.get((variant, frozenset()))


def whatever_settings(metric: Metric, found: Sequence[Pair]) -> str:
    """Return in words of which variants one value of the metric stands for all settings."""
    values = (
        (pair.named, value)
        for pair in found
        for value in (pair.x, pair.y)
        if value.metric == metric.name
    )
    names = {named.variant: None for named, value in values if named.settings != value.settings}
    if not names:
        return ""
    variants = " and ".join(f"“{name}”" for name in names)
    return f"{capfirst(metric.name)} is that of {variants} whatever the settings."


def _key(row: Measurement) -> tuple[str, frozenset[Any]]:
    return row.variant, frozenset(row.settings.items())


def _is_part(named: Measurement, rows: Sequence[Measurement]) -> bool:
    """Return whether the variant stands here with more settings too, which have its value."""
    mine = named.settings.items()
    return any(row.variant == named.variant and mine < row.settings.items() for row in rows)
