"""Points to draw, each with its run, and the table and the exports of exactly these points."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

import pandas as pd
from django.utils.html import format_html

from casestudies.dashboards.comparability import Member
from casestudies.models import Run
from casestudies.studies.results import settings_of
from reviewapp.ui.units import labelled, rounded, with_spread


@dataclass(frozen=True)
class Axis:
    """What an axis shows."""

    name: str
    unit: str = ""

    @property
    def label(self) -> str:
        return labelled(self.name, self.unit)


@dataclass(frozen=True)
class Point:
    """One mark: a variant of a run, with its settings in words, and `base` without them.

    `settings` are the conditions of the study under which it was measured, by name.

    `x` is a number, or a time where the axis is time.

    `measured` is the value behind `y`, with how many values it is the median of and their
    interquartile range; both are None for a point of a curve. `efficient` is None when that
    is not asked.
    """

    member: Member
    variant: str
    base: str
    settings: Mapping[str, Any]
    x: Any
    y: float
    measured: float
    n: int | None = None
    spread: float | None = None
    efficient: bool | None = None

    @property
    def run(self) -> Run:
        return self.member.run


@dataclass(frozen=True)
class Plot:
    """A chart to be drawn, with what a reader must know to read it.

    `kind` says how: as single marks, as lines of a group's runs, as lines of single runs, or each
    point as a row with its `x`, a factor of what it is held against.
    `better` says in which direction `x` is better, for the line through efficient marks.
    """

    slug: str
    title: str
    kind: Literal["marks", "over runs", "of runs", "factors"]
    x: Axis
    y: Axis
    points: Sequence[Point]
    notes: Sequence[str] = ()
    better: str = ""
    look_for: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """Return the points as a reader wants them, their runs as links."""
        return pd.DataFrame(self._rows(), columns=self._header())

    @cached_property
    def relative(self) -> bool:
        """Return whether the vertical axis shows something other than what was measured."""
        return any(point.y != point.measured for point in self.points)

    @cached_property
    def judged(self) -> bool:
        """Return whether the points are told apart by their efficiency."""
        return any(point.efficient is not None for point in self.points)

    def _header(self) -> list[str]:
        return [
            "Run",
            "Variant",
            self.x.label.capitalize(),
            self.y.label.capitalize(),
            *(["Measured"] if self.relative else []),
            *(["Pareto-efficient"] if self.judged else []),
            "Settings",
            "Hardware",
            "Finished",
            "Group",
        ]

    def _rows(self) -> list[list[Any]]:
        return [
            [
                format_html('<a href="{}">{}</a>', point.run.get_absolute_url(), point.run.label),
                point.variant,
                when(point.x) if isinstance(point.x, datetime) else rounded(point.x),
                *([rounded(point.y)] if self.relative else []),
                with_spread(point.measured, point.n, point.spread),
                *(["yes" if point.efficient else "no"] if self.judged else []),
                settings_of(point.run),
                point.run.hardware or None,
                when(point.run.finished),
                point.member.number,
            ]
            for point in self.points
        ]

    @property
    def records(self) -> list[dict[str, Any]]:
        """Return the points in full, for an export."""
        return [self._record(point) for point in self.points]

    def _record(self, point: Point) -> dict[str, Any]:
        group = point.member.group
        run = point.run
        return {
            "chart": self.title,
            "run_id": run.pk,
            "run": run.label,
            "run_address": run.get_absolute_url(),
            "origin": run.origin,
            "study": run.study,
            "preset": run.preset,
            "settings": settings_of(run),
            "seed": run.seed,
            "device": run.device,
            "hardware": run.hardware,
            "commit": run.commit,
            "note": run.note,
            "tags": run.tags,
            "parameters": run.parameters,
            "precision": group.precision,
            "model": str(group.model),
            "text": str(group.text),
            "finished": run.finished.isoformat() if run.finished else None,
            "group": group.key,
            "variant": point.variant,
            "variant_name": point.base,
            "conditions": dict(point.settings),
            "x_name": self.x.name,
            "x_unit": self.x.unit,
            "x": point.x.isoformat() if isinstance(point.x, datetime) else point.x,
            "y_name": self.y.name,
            "y_unit": self.y.unit,
            "y": point.y,
            "y_measured": point.measured,
            "n": point.n,
            "spread": point.spread,
            "efficient": point.efficient,
        }


def when(moment: datetime | None) -> str | None:
    """Return a time to the minute, as everything here in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC" if moment else None
