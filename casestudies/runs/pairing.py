"""Which values of a run belong together when two of its metrics are drawn against each other.

A variant may be measured of one metric under settings, and of another without: what it has without
settings holds whatever they are. So rounded weights lose as much in whichever code they are stored.
Where both metrics have a value without settings, those two belong together and stand for no others.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from django.utils.text import capfirst

from casestudies.lab.metrics import Metric
from casestudies.models import Measurement

# A variant and the items of its settings.
Key = tuple[str, frozenset[tuple[str, Any]]]


class Pair(NamedTuple):
    """The values of two metrics that belong together; `named` has their variant and settings."""

    named: Measurement
    x: Measurement
    y: Measurement


def pairs(xs: Sequence[Measurement], ys: Sequence[Measurement]) -> Iterator[Pair]:
    """Yield a pair for each variant with its settings, of one run's values of two metrics."""
    of_x, of_y = by_key(xs), by_key(ys)
    for key, named in {**of_x, **of_y}.items():
        x = of_x.get(key) or _whatever(named, of_x, of_y)
        y = of_y.get(key) or _whatever(named, of_y, of_x)
        if x and y:
            yield Pair(named, x, y)


def by_key(rows: Iterable[Measurement]) -> dict[Key, Measurement]:
    """Return one metric's values by their variant and settings."""
    return {_key(row.variant, row.settings): row for row in rows}


def measured_as(
    found: Mapping[Key, Measurement], variant: str, settings: Mapping[str, Any]
) -> Measurement | None:
    """Return the variant's value with these settings, or what it has whatever the settings."""
    return found.get(_key(variant, settings)) or found.get(_key(variant, {}))


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


def _key(variant: str, settings: Mapping[str, Any]) -> Key:
    return variant, frozenset(settings.items())


def _whatever(
    named: Measurement, found: Mapping[Key, Measurement], other: Mapping[Key, Measurement]
) -> Measurement | None:
    """Return the variant's value whatever its settings; None if the other metric has one too."""
    key = _key(named.variant, {})
    return None if key in other else found.get(key)
