"""What the runs may be filtered by, with how many runs each choice leaves."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from casestudies.choices import Device


@dataclass(frozen=True)
class Option:
    """One choice; `count` is how many runs it leaves with the other filters as they are."""

    value: str
    label: str
    count: int
    chosen: bool


@dataclass(frozen=True)
class Facet:
    """One filter and the choices that exist."""

    key: str
    label: str
    open: str
    options: list[Option]


LABELS = {
    "hardware": ("Hardware", "all hardware"),
    "device": ("Device", "all devices"),
    "preset": ("Preset", "all presets"),
    "runs": ("Runs", "reference and made here"),
}
VALUES = {**dict(Device.choices), "reference": "reference runs", "own": "made here"}


def facets(
    counted: Iterable[tuple[Mapping[str, str], int]], filters: Mapping[str, str]
) -> list[Facet]:
    """Return the filters; `counted` is how many runs have each combination of values."""
    rows = list(counted)
    return [_facet(key, rows, filters) for key in LABELS]


def _facet(
    key: str, rows: list[tuple[Mapping[str, str], int]], filters: Mapping[str, str]
) -> Facet:
    others = [(name, value) for name, value in filters.items() if name != key]
    found: Counter[str] = Counter()
    for values, n in rows:
        found[values[key]] += n if all(values[name] == value for name, value in others) else 0
    chosen = filters.get(key, "")
    if chosen:
        found[chosen] += 0
    label, open_label = LABELS[key]
    options = [
        Option(value, VALUES.get(value, value) or "not reported", n, value == chosen)
        for value, n in found.items()
    ]
    return Facet(key, label, open_label, options)
