"""Charts as data: from one come the drawing (svg.py), the Plotly figure (plotly.py), the table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeVar

import pandas as pd

from reviewapp.ui.scales import Scale, Value, scale_for

# "dots" and "bars" have a row for each trace, with marks along one axis; "columns" and "lines"
# have two axes.
ChartKind = Literal["dots", "bars", "columns", "lines"]
Symbol = Literal["circle", "square", "diamond", "triangle", "cross", "star", ""]
Tone = Literal["c1", "c2", "c3", "c4", "c5", "c6", "soft"]  # a colour of the stylesheet
Line = Literal["solid", "dash", "dot", "dashdot", "longdash", "longdashdot", ""]
Step = Literal["hv", "vh", ""]

SYMBOLS: tuple[Symbol, ...] = ("circle", "square", "diamond", "triangle", "cross", "star")
TONES: tuple[Tone, ...] = ("c1", "c2", "c3", "c4", "c5", "c6")
LINES: tuple[Line, ...] = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")

MOST_MARKS = 1_000  # that a chart draws; of tens of thousands a page would be megabytes

T = TypeVar("T")


def stride(marks: int) -> int:
    """Return which of so many marks are drawn: 1 for each, 2 for every second, and so on."""
    return max(1, -(-marks // MOST_MARKS))


def thinned(marks: Sequence[T], stride: int) -> Sequence[T]:
    """Return every so-manieth of the marks, and the last."""
    return marks if stride == 1 or not marks else [*marks[:-1:stride], marks[-1]]


def thinning(marks: int) -> str:
    """Return in words that not all of so many marks are drawn; empty where they are."""
    if (step := stride(marks)) == 1:
        return ""
    return f"Of {marks:,} numbers one in {step} is drawn and in the table; the files have all."


@dataclass(frozen=True)
class Style:
    """By what a trace is known; without a symbol, only its line is drawn."""

    tone: Tone = "c1"
    symbol: Symbol = "circle"


def style_for(place: int) -> Style:
    """Return the style of the trace at a place in the order of all; the first 36 differ."""
    round_, tone = divmod(place, len(TONES))
    return Style(TONES[tone], SYMBOLS[(place + round_) % len(SYMBOLS)])


@dataclass(frozen=True)
class Mark:
    """A value at `x`, in charts with two axes at `x` and `y`.

    `label` tells in lines what it is. `whisker` has the ends of one, along the axis of the value.
    A hollow mark, or a hatched bar, differs from the others; the chart's note says in what.
    """

    x: Value
    y: float = 0.0
    label: tuple[str, ...] = ()
    href: str = ""
    whisker: tuple[float, float] | None = None
    hollow: bool = False


@dataclass(frozen=True)
class Trace:
    """Marks that belong together, joined by a line where it has one.

    With a `step`, the line goes horizontally then vertically ("hv") or the other way round.
    A faint one stands behind the others.
    """

    name: str
    marks: Sequence[Mark]
    style: Style = Style()
    line: Line = ""
    step: Step = ""
    faint: bool = False


@dataclass(frozen=True, kw_only=True)
class Chart:
    """What is drawn and how, the table of the same numbers, and how to read both."""

    slug: str
    title: str
    kind: ChartKind
    table: pd.DataFrame
    traces: Sequence[Trace] = ()
    x_label: str = ""
    x_note: str = ""  # below the label
    y_label: str = ""
    reference: float | None = None  # across rows, the value that the others are held against
    note: str = ""
    look_for: str = ""

    @property
    def marks(self) -> list[Mark]:
        return [mark for trace in self.traces for mark in trace.marks]

    @property
    def in_rows(self) -> bool:
        return self.kind in ("dots", "bars")

    @cached_property
    def across(self) -> Scale:
        values: list[Value] = [mark.x for mark in self.marks]
        ends = _whisker_ends(self.marks) if self.in_rows else []
        references = [] if self.reference is None else [self.reference]
        return scale_for([*values, *ends, *references], from_zero=self.kind == "bars")

    @cached_property
    def up(self) -> Scale:
        values: list[Value] = [mark.y for mark in self.marks]
        return scale_for([*values, *_whisker_ends(self.marks)], from_zero=self.kind == "columns")

    @property
    def legend(self) -> list[Trace]:
        """Return one trace of each name, where the reader has to look up which is which."""
        if self.kind != "lines":
            return []
        first: dict[str, Trace] = {}
        for trace in self.traces:
            first.setdefault(trace.name, trace)
        return list(first.values())

    @property
    def figure_id(self) -> str:
        return f"{self.slug}-figure"

    @property
    def header(self) -> list[str]:
        return [str(column) for column in self.table.columns]

    @cached_property
    def rows(self) -> list[list[Any]]:
        values: list[list[Any]] = self.table.astype(object).values.tolist()
        return values


def _whisker_ends(marks: Iterable[Mark]) -> list[float]:
    return [end for mark in marks for end in mark.whisker or ()]
