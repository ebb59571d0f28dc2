"""What a run measured as a table: a row for each metric and setting, a column for each variant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from casestudies.lab.contract import Study
from casestudies.models import Measurement, Run
from reviewapp.ui.units import labelled


@dataclass(frozen=True)
class PivotRow:
    """One metric under one setting, and what each variant has of it, in the columns' order."""

    metric: str
    setting: str
    cells: Sequence[Measurement | None]


@dataclass(frozen=True)
class Pivot:
    """The variants that were measured, and a row for each metric and setting."""

    variants: Sequence[str]
    rows: Sequence[PivotRow]


def pivot(run: Run, measured: Sequence[Measurement]) -> Pivot:
    """Return the measurements of a run with its study's variants as columns, in their order."""
    study = run.definition
    declared = [variant.name for variant in study.variants] if study else []
    found = dict.fromkeys(row.variant for row in measured)
    variants = [name for name in declared if name in found]
    variants += [name for name in found if name not in declared]
    units = {metric.name: metric.unit_in_words for metric in study.metrics} if study else {}
    found_at: dict[Any, dict[str, Measurement]] = {}
    for row in measured:
        key = row.metric, frozenset(row.settings.items())
        found_at.setdefault(key, {})[row.variant] = row
    return Pivot(variants, [_row(study, units, variants, of) for of in found_at.values()])


def _row(
    study: Study | None,
    units: Mapping[str, str],
    variants: Sequence[str],
    of_variants: Mapping[str, Measurement],
) -> PivotRow:
    """Return the row of measurements that share a metric and settings."""
    first = next(iter(of_variants.values()))
    declared = study.conditions(first.settings) if study else ""
    known = {setting.name for setting in study.settings} if study else set()
    others = [f"{name} {value}" for name, value in first.settings.items() if name not in known]
    return PivotRow(
        labelled(first.metric, units.get(first.metric, first.unit)),
        ", ".join(filter(None, (declared, *others))),
        [of_variants.get(name) for name in variants],
    )
