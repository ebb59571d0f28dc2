"""How values lie along an axis: linear, logarithmic or in time, and where its ticks are."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Value = float | datetime
ScaleKind = Literal["linear", "log", "date"]
Tick = tuple[float, str]  # a coordinate and what is written there

# From here on, numbers that differ by this factor leave no room for the small ones.
LOGARITHMIC_FROM = 50
MOST_TICKS = 7
MARGIN = 0.04  # of the axis beyond its outermost values, so that no mark is cut
# Beyond it, differences, and round numbers nearby, are no longer finite.
MOST_DECADES = 300
LARGEST = 10.0**MOST_DECADES

MINUTE, HOUR, DAY, MONTH = 60, 3_600, 86_400, 2_629_746
STEPS = [
    *(n * MINUTE for n in (1, 5, 15, 30)),
    *(n * HOUR for n in (1, 3, 6, 12)),
    *(n * DAY for n in (1, 2, 5, 10)),
]
MONTHS = (1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200)


def kind_of(values: Iterable[Value]) -> ScaleKind:
    """Return the kind of axis on which all of the values can be told apart."""
    found = list(values)
    if any(isinstance(value, datetime) for value in found):
        return "date"
    numbers = [value for value in found if not isinstance(value, datetime)]
    return "log" if numbers and 0 < min(numbers) * LOGARITHMIC_FROM < max(numbers) else "linear"


def logarithmic_axes(points: Iterable[tuple[Value, Value]]) -> str:
    """Return in words which axes of a chart of these points are logarithmic; empty for none."""
    found = list(points)
    kinds = {"horizontal": kind_of(x for x, _ in found), "vertical": kind_of(y for _, y in found)}
    axes = [axis for axis, kind in kinds.items() if kind == "log"]
    if len(axes) == 2:
        return "Both axes are logarithmic."
    return f"The {axes[0]} axis is logarithmic." if axes else ""


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, which are coordinates: numbers, their log10, or seconds."""

    kind: ScaleKind
    low: float
    high: float

    def share(self, value: Value) -> float:
        """Return where the value lies, from 0 at the axis' beginning to 1 at its end."""
        return self._share(_coordinate(self.kind, value))

    @property
    def ticks(self) -> list[tuple[float, str]]:
        """Return the share and the text of each tick."""
        ticks = {"linear": _linear_ticks, "log": _log_ticks, "date": _date_ticks}[self.kind]
        return [(self._share(at), text) for at, text in ticks(self.low, self.high)]

    def _share(self, coordinate: float) -> float:
        return (coordinate - self.low) / (self.high - self.low)


def scale_for(values: Sequence[Value], from_zero: bool = False) -> Scale:
    """Return the scale on which the values fit; bars, which have a length, begin at zero."""
    kind: ScaleKind = "linear" if from_zero else kind_of(values)
    found = [_coordinate(kind, value) for value in values] or [0.0]
    low, high = min(found), max(found)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-280):
        around = DAY / 2 if kind == "date" else abs(low) / 10 or 1.0
        return Scale(kind, low if from_zero else low - around, high + around)
    margin = MARGIN * (high - low)
    return Scale(
        kind,
        low if from_zero and low == 0 else low - margin,
        high if from_zero and high == 0 else high + margin,
    )


def _coordinate(kind: ScaleKind, value: Value) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    if kind == "log":
        return max(-MOST_DECADES, min(MOST_DECADES, math.log10(value)))
    return max(-LARGEST, min(LARGEST, value))


def short(value: float) -> str:
    """Return a round number for a tick: "0.25", "10,000", "2.5M"."""
    if value and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.10g}"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:,.10g}{letter}"
    return f"{value:,.10g}"


def _linear_ticks(low: float, high: float) -> list[Tick]:
    rough = (high - low) / MOST_TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10) if power * n >= rough * 0.999)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [(n * step, short(n * step)) for n in places]


def _log_ticks(low: float, high: float) -> list[Tick]:
    first, last = max(-MOST_DECADES, math.floor(low)), min(MOST_DECADES, math.ceil(high))
    decades = range(first, last + 1)
    for leading in ((1, 2, 5), (1,)):
        ticks = [
            (at, short(n * 10.0**decade))
            for decade in decades
            for n in leading
            if low <= (at := decade + math.log10(n)) <= high
        ]
        if len(ticks) <= MOST_TICKS:
            return ticks
    return ticks[:: math.ceil(len(ticks) / MOST_TICKS)]


def _date_ticks(low: float, high: float) -> list[Tick]:
    rough = (high - low) / MOST_TICKS
    step = next((step for step in STEPS if step >= rough), None)
    if step is None:
        return _month_ticks(low, high, rough)
    places = range(math.ceil(low / step), math.floor(high / step) + 1)
    form = "%-d %b %H:%M" if step < DAY else "%-d %b %Y"
    return [(n * step, datetime.fromtimestamp(n * step, UTC).strftime(form)) for n in places]


def _month_ticks(low: float, high: float, rough: float) -> list[Tick]:
    step = next((n for n in MONTHS if n * MONTH >= rough), MONTHS[-1])
    first, last = (datetime.fromtimestamp(end, UTC) for end in (low, high))
    months = range(-(-(12 * first.year + first.month) // step) * step, 12 * last.year + 12, step)
    starts = [datetime(n // 12, n % 12 + 1, 1, tzinfo=UTC) for n in months]
    form = "%b %Y" if step < 12 else "%Y"
    return [
        (start.timestamp(), start.strftime(form))
        for start in starts
        if low <= start.timestamp() <= high
    ]
