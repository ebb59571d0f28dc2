"""Where each mark of the chart stands, in per cent of the width of its plot."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reviewapp.ui.units import rounded
from taxonomy.choices import Qualifier
from taxonomy.claims.evidence.gathering import MOST_DRAWN, Evidence, Group, Measured, Row
from taxonomy.claims.evidence.wording import TIMES, spelled
from taxonomy.claims.marks import Mark

CHARACTER = 7.2  # px of a value's text
GAP = 14  # px between a mark and its value
WIDE, NARROW = 470, 290  # px of a plot on a screen and on a phone
MOST_TICKS = 7
BELOW_LOWEST = 0.88
BEYOND = {Qualifier.AT_LEAST, Qualifier.MORE_THAN}


@dataclass(frozen=True)
class Label:
    """Where a value is written: `at` the end of its mark, to its left or right, on which screens.

    `screens` is "wide", "narrow", or empty for both.
    """

    at: float
    is_left: bool
    screens: str


@dataclass(frozen=True)
class Shape:
    """A mark from `low` to `high` (per cent) with its value in words and how it is drawn.

    A best case is hollow with a stem from 1 ×; what may be more has an arrow.
    """

    kind: str
    value: str
    low: float
    high: float
    labels: tuple[Label, ...]
    hollow: bool = False
    arrow: bool = False

    @property
    def is_range(self) -> bool:
        return self.low != self.high


@dataclass(frozen=True)
class Dot:
    """A line of a panel: a claim, or the two ends of a range, with what is drawn for it.

    `conditions` are said where two lines of the panel would read alike.
    """

    row: Row
    shape: Shape
    conditions: str


@dataclass(frozen=True)
class Here:
    """A line of a panel for what was measured here."""

    measured: Measured
    shape: Shape


@dataclass(frozen=True)
class Tick:
    at: float
    factor: int


@dataclass(frozen=True)
class Panel:
    """One axis of the chart. `slower` is the width left of 1 ×, 0 where nothing stands there."""

    group: Group
    dots: tuple[Dot, ...]
    here: tuple[Here, ...]
    slower: float
    left_out: int


@dataclass(frozen=True)
class DotPlot:
    """All panels on one range of factors, so that they line up; `one` is where 1 × stands."""

    panels: tuple[Panel, ...]
    ticks: tuple[Tick, ...]
    one: float

    @property
    def has_here(self) -> bool:
        """Whether anything that was measured here is drawn."""
        return any(panel.here for panel in self.panels)


@dataclass(frozen=True)
class Scale:
    """Factors as per cent of the width, by their logarithm."""

    start: float
    end: float

    def at(self, value: float) -> float:
        """Return where a factor stands, in per cent."""
        whole = math.log2(self.end) - math.log2(self.start)
        return round(100 * (math.log2(value) - math.log2(self.start)) / whole, 2)


def plot_of(evidence: Evidence) -> DotPlot | None:
    """Return the chart; None where no axis has two marks."""
    if not evidence.panels:
        return None
    scale = _scale(evidence.panels)
    return DotPlot(
        tuple(_panel(group, scale) for group in evidence.panels), _ticks(scale), scale.at(1)
    )


def _ends(group: Group) -> list[float]:
    drawn: list[Mark | Measured] = [*group.marks[:MOST_DRAWN], *group.measured[:MOST_DRAWN]]
    return [end for one in drawn for end in (one.low, one.high)]


def _scale(groups: Sequence[Group]) -> Scale:
    """Return the range from 1 ×, or what is lower, to the next power of two."""
    ends = [end for group in groups for end in _ends(group)]
    lowest, highest = min(ends), max(*ends, 2)
    start = 1 if lowest >= 1 else BELOW_LOWEST * lowest
    return Scale(start, 2.0 ** math.ceil(math.log2(highest)))


def _ticks(scale: Scale) -> tuple[Tick, ...]:
    powers = round(math.log2(scale.end))
    step = math.ceil((powers + 1) / MOST_TICKS)
    return tuple(Tick(scale.at(2**n), 2**n) for n in range(0, powers + 1, step))


def _panel(group: Group, scale: Scale) -> Panel:
    rows = {row.claim.pk: row for row in group.rows}
    marks = group.marks[:MOST_DRAWN]
    drawn = [rows[mark.claim.pk] for mark in marks]
    alike = Counter(_label(row) for row in drawn)
    return Panel(
        group,
        tuple(
            Dot(row, _shape(mark, scale), row.claim.conditions if alike[_label(row)] > 1 else "")
            for mark, row in zip(marks, drawn, strict=True)
        ),
        tuple(Here(one, _here(one, scale)) for one in group.measured[:MOST_DRAWN]),
        scale.at(1) if min(_ends(group)) < 1 else 0,
        len(group.marks) - len(marks),
    )


def _label(row: Row) -> tuple[str, str, str]:
    return row.claim.publication.artifact_name, row.claim.hardware, row.claim.model


def _shape(mark: Mark, scale: Scale) -> Shape:
    qualifier = mark.claim.qualifier
    low, high, value = scale.at(mark.low), scale.at(mark.high), spelled(mark)
    arrow = qualifier in BEYOND
    return Shape(
        kind=mark.claim.scope,
        value=value,
        low=low,
        high=high,
        labels=_labels(low, high, value, GAP + 8 * arrow),
        hollow=mark.is_best_case,
        arrow=arrow,
    )


def _here(measured: Measured, scale: Scale) -> Shape:
    low, high = scale.at(measured.low), scale.at(measured.high)
    ends = dict.fromkeys(map(rounded, (measured.low, measured.high)))
    value = " to ".join(ends) + TIMES
    return Shape("here", value, low, high, _labels(low, high, value, GAP))


def _labels(low: float, high: float, value: str, gap: int) -> tuple[Label, ...]:
    """Return where the value stands on a wide and on a narrow plot, once if that is the same."""
    wide, narrow = (_is_left(low, high, value, gap, width) for width in (WIDE, NARROW))
    if wide == narrow:
        return (_placed(low, high, "", is_left=wide),)
    return (
        _placed(low, high, "wide", is_left=wide),
        _placed(low, high, "narrow", is_left=narrow),
    )


def _placed(low: float, high: float, screens: str, *, is_left: bool) -> Label:
    return Label(low if is_left else high, is_left, screens)


def _is_left(low: float, high: float, value: str, gap: int, width: int) -> bool:
    """Whether a value would leave a plot of this width at the right, and has more room left."""
    right = (100 - high) / 100 * width
    return right < gap + CHARACTER * len(value) and right < low / 100 * width
