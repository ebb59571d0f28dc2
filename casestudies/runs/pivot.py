"""What a run measured as a table: a row for each metric and setting, a column for each variant."""

from collections.abc import Sequence
from dataclasses import dataclass

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
    cells: dict[tuple[str, str], dict[str, Measurement]] = {}
    for row in measured:
        setting = study.conditions(row.settings) if study else ""
        metric = labelled(row.metric, units.get(row.metric, row.unit))
        cells.setdefault((metric, setting), {})[row.variant] = row
    rows = [
        PivotRow(metric, setting, [values.get(name) for name in variants])
        for (metric, setting), values in cells.items()
    ]
    return Pivot(variants, rows)
