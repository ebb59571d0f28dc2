"""A sweep as it stands: its runs by value, what sums each up, and in what they differ else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from casestudies.choices import State
from casestudies.dashboards.comparability import grouped
from casestudies.lab.contract import Headline, Study
from casestudies.models import Measurement, Run, Sweep

NUMBERS = ("integer", "number")


@dataclass(frozen=True)
class Row:
    """A run of the sweep; `measured` has what the headline's columns name, None without it."""

    run: Run
    value: Any
    measured: Sequence[Measurement | None]

    @property
    def percent(self) -> int:
        return int(100 * self.run.done)


@dataclass(frozen=True)
class SweepNow:
    """A sweep at one moment, its runs in the order of their values."""

    sweep: Sweep
    runs: Sequence[Run]

    @property
    def study(self) -> Study | None:
        return self.sweep.definition

    @property
    def over(self) -> bool:
        """Return whether all runs have ended."""
        return all(run.over for run in self.runs)

    @property
    def with_result(self) -> list[Run]:
        return [run for run in self.runs if run.state == State.SUCCEEDED]

    @property
    def without_result(self) -> list[Run]:
        return [run for run in self.runs if run.state != State.SUCCEEDED]

    @property
    def numeric(self) -> bool:
        """Return whether the values are numbers, which have places on an axis."""
        return self._schema.get("type") in NUMBERS

    @property
    def unit(self) -> str:
        return str(self._schema.get("unit", ""))

    @property
    def meaning(self) -> str:
        """Return what the study says of the parameter."""
        return str(self._schema.get("description", ""))

    @property
    def columns(self) -> Sequence[Headline]:
        """Return what each column of the table has."""
        return self.study.headline if self.study else ()

    def name(self, study: Study, run: Run, row: Measurement) -> str:
        """Return of what the row is, without the setting that is the value of its run."""
        own = (self.sweep.parameter, run.swept_value)
        return study.label(row.variant, dict(one for one in row.settings.items() if one != own))

    @cached_property
    def rows(self) -> list[Row]:
        return [
            Row(run, run.swept_value, [self._measured(run, column) for column in self.columns])
            for run in self.runs
        ]

    def _measured(self, run: Run, column: Headline) -> Measurement | None:
        """Return the run's number of the column, under the run's own value where that is one."""
        if self.sweep.parameter in column.settings:
            own = {self.sweep.parameter: run.swept_value}
            column = replace(column, settings={**column.settings, **own})
        return column.among(run.measurements.all())

    @cached_property
    def other_differences(self) -> list[str]:
        """Return the names of all that keeps results apart, beside the parameter that varies."""
        groups = list(grouped(self.with_result))
        names = [name for group in groups[1:] for name in group.differences(groups[0])]
        return [name for name in dict.fromkeys(names) if name != self.sweep.parameter_in_words]

    @property
    def cautions(self) -> list[str]:
        """Return what a reader must know before taking the numbers as findings."""
        return list(dict.fromkeys(run.caution for run in self.with_result if run.caution))

    @property
    def _schema(self) -> dict[str, Any]:
        schemas = self.study.schemas if self.study else {}
        return schemas.get(self.sweep.parameter, {})


def of_metric(run: Run, metric: str) -> list[Measurement]:
    """Return what the run measured of the metric, variant by variant.

    A variant's value without settings stands for it; where it has none, each of its settings does.
    """
    rows = [row for row in run.measurements.all() if row.metric == metric]
    plain = {row.variant for row in rows if not row.settings}
    return [row for row in rows if not row.settings or row.variant not in plain]


def sweep_now(sweep: Sweep) -> SweepNow:
    """Return how the sweep stands; a constant number of queries."""
    runs = Run.objects.filter(sweep=sweep).select_related("owner", "contribution").defer("series")
    return SweepNow(sweep, sweep.ordered(list(runs.prefetch_related("measurements"))))
