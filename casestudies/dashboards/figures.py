"""Plots as Plotly figures. A variant keeps its colour and symbol from chart to chart."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from django.utils.html import escape

from casestudies.dashboards.plots import Plot, Point, when
from reviewapp.ui.charts import Chart
from reviewapp.ui.units import rounded

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6")
# From here on, numbers that differ by this factor leave no room for the small ones.
LOGARITHMIC_FROM = 50
# Beyond this factor, a logarithmic axis has no room for other labels than powers of ten.
FEW_LABELS_FROM = 100_000
FONT = {"size": 13}
HALF_A_DAY = timedelta(hours=12)
TOGETHER = "Drawn together on request: not comparable"

Figure = dict[str, Any]
K = TypeVar("K")


def chart(plot: Plot, order: Sequence[str]) -> Chart:
    """Return the plot as a chart; `order` is that of all variants on the page."""
    figure = {"data": _Drawing(plot, order).traces(), "layout": _layout(plot)}
    return Chart(plot.slug, plot.title, figure, plot.table, " ".join(plot.notes))


@dataclass(frozen=True)
class _Drawing:
    plot: Plot
    order: Sequence[str]

    def traces(self) -> list[Figure]:
        if self.plot.kind == "marks":
            return self._marks()
        if self.plot.kind == "over runs":
            return self._lines(lambda point: point.member.number, None)
        newest = max((p.run for p in self.plot.points), key=lambda run: (run.finished, run.pk))
        return self._lines(lambda point: point.run.pk, newest.pk)

    def _marks(self) -> list[Figure]:
        """Return each point as a mark, hollow where it is not efficient."""
        traces: list[Figure] = []
        for variant, points in self._by_variant():
            points.sort(key=lambda point: not point.efficient)
            for hollow, alike in _parts(points, lambda point: point.efficient is False).items():
                traces.append(
                    {
                        **self._look(variant, alike),
                        "showlegend": alike[0] is points[0],
                        "mode": "markers",
                        "marker": {"size": 12, "symbol": self._symbol(variant, hollow)},
                    }
                )
        front = sorted({(p.x, p.y) for p in self.plot.points if p.efficient})
        return [*traces, _stepped_line(front, self.plot.better)] if len(front) > 1 else traces

    def _lines(self, part: Callable[[Point], int], solid: int | None) -> list[Figure]:
        """Return the points of each variant and part joined, all but the part `solid` dashed."""
        traces: list[Figure] = []
        for variant, points in self._by_variant():
            for key, joined in _parts(points, part).items():
                whole = solid in (None, key)
                traces.append(
                    {
                        **self._look(variant, joined),
                        "showlegend": joined[0] is points[0],
                        "mode": "lines+markers",
                        "line": {"dash": "solid" if whole else "dash", "width": 2 if whole else 1},
                        "marker": {"size": 8 if whole else 6, "symbol": self._symbol(variant)},
                    }
                )
        return traces

    def _by_variant(self) -> list[tuple[str, list[Point]]]:
        found = _parts(self.plot.points, lambda point: point.variant)
        return [(variant, found[variant]) for variant in self.order if variant in found]

    def _look(self, variant: str, points: Sequence[Point]) -> Figure:
        place = self.order.index(variant)
        return {
            "type": "scatter",
            "name": escape(variant),
            "legendgroup": escape(variant),
            "x": [p.x.isoformat() if isinstance(p.x, datetime) else p.x for p in points],
            "y": [p.y for p in points],
            "text": [self._hover(p) for p in points],
            "customdata": [p.run.get_absolute_url() for p in points],
            "hovertemplate": "%{text}<extra></extra>",
            "meta": {"colour": COLOURS[place % len(COLOURS)]},
        }

    def _symbol(self, variant: str, hollow: bool = False) -> str:
        # Variants that share a colour have different symbols.
        place = self.order.index(variant)
        symbol = SYMBOLS[(place + place // len(COLOURS)) % len(SYMBOLS)]
        return f"{symbol}-open" if hollow else symbol

    def _hover(self, point: Point) -> str:
        run, x, y = point.run, self.plot.x, self.plot.y
        across = when(point.x) if isinstance(point.x, datetime) else rounded(point.x)
        rows = [
            f"{escape(point.variant)}, {escape(run.label)}",
            f"{escape(x.name)}: {across} {escape(x.unit)}",
            f"{escape(y.name)}: {rounded(point.y)} {escape(y.unit)}",
            f"{escape(run.hardware)}, {when(run.finished)}",
        ]
        return "<br>".join(rows)


def _parts(points: Iterable[Point], part: Callable[[Point], K]) -> dict[K, list[Point]]:
    found: dict[K, list[Point]] = {}
    for point in points:
        found.setdefault(part(point), []).append(point)
    return found


def _stepped_line(front: Sequence[tuple[Any, float]], better: str) -> Figure:
    # What a mark dominates lies on the side of it where the horizontal axis is worse.
    step = "hv" if better == "lower is better" else "vh"
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "Pareto-efficient",
        "x": [x for x, _ in front],
        "y": [y for _, y in front],
        "line": {"shape": step, "dash": "dot", "width": 1.5},
        "meta": {"colour": "soft"},
        "hoverinfo": "skip",
    }


def scale(values: Iterable[Any]) -> str:
    """Return the kind of axis on which all of the values can be told apart."""
    found = list(values)
    if any(isinstance(value, datetime) for value in found):
        return "date"
    return "log" if found and 0 < min(found) * LOGARITHMIC_FROM < max(found) else "linear"


def _axis(label: str, values: Sequence[Any]) -> Figure:
    axis: Figure = {"type": scale(values), "title": {"text": label, "font": FONT}}
    if axis["type"] == "log" and max(values) < FEW_LABELS_FROM * min(values):
        axis["dtick"] = "D2"  # labels at 1, 2 and 5
    if axis["type"] == "date" and len(set(values)) == 1:
        # Around a single moment the axis would count milliseconds.
        axis["range"] = [(values[0] + side * HALF_A_DAY).isoformat() for side in (-1, 1)]
    return axis


def _layout(plot: Plot) -> Figure:
    """Return the axes and the legend; what cannot be compared is said below the axis."""
    below = str(escape(plot.x.label))
    if len({point.member.number for point in plot.points}) > 1:
        below += f"<br>{TOGETHER}"
    return {
        "height": 400,
        "xaxis": _axis(below, [p.x for p in plot.points]),
        "yaxis": _axis(escape(plot.y.label), [p.y for p in plot.points]),
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "showlegend": True,
    }
