"""What the runs may be filtered by, with how many runs each choice leaves."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from casestudies.choices import Device

# By the name of a filter all values that a run has, which are several tags.
Values = Mapping[str, Collection[str]]


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
    "runs": ("Runs", "wherever they were made"),
    "tag": ("Tag", "all tags"),
}
VALUES = {
    **dict(Device.choices),
    **{"reference": "reference runs", "own": "made here", "contributed": "contributed"},
}


def passes(values: Values, filters: Mapping[str, str]) -> bool:
    """Return whether runs with these values pass all the filters."""
    return all(value in values[name] for name, value in filters.items())


def facets(counted: Iterable[tuple[Values, int]], filters: Mapping[str, str]) -> list[Facet]:
    """Return the filters; `counted` is how many runs have each combination of values.

    As long as no run carries a tag there is none for tags.
    """
    rows = list(counted)
    found = [_facet(key, rows, filters) for key in LABELS]
    return [facet for facet in found if facet.options or facet.key != "tag"]


def _facet(key: str, rows: list[tuple[Values, int]], filters: Mapping[str, str]) -> Facet:
    others = {name: value for name, value in filters.items() if name != key}
    found: Counter[str] = Counter()
    for values, n in rows:
        counts = n if passes(values, others) else 0
        found.update(dict.fromkeys(values[key], counts))
    chosen = filters.get(key, "")
    if chosen:
        found[chosen] += 0
    label, open_label = LABELS[key]
    options = [
        Option(value, VALUES.get(value, value) or "not reported", n, value == chosen)
        for value, n in found.items()
    ]
    return Facet(key, label, open_label, options)
