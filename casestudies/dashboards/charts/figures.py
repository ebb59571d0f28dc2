"""Plots as charts. A variant keeps its colour and symbol from chart to chart."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from casestudies.dashboards.charts.plots import Plot, Point, when
from reviewapp.ui.charts import Chart, Line, Mark, Step, Style, Trace, stride, style_for, thinning
from reviewapp.ui.units import rounded

TOGETHER = "Drawn together on request: not comparable"

K = TypeVar("K")


def chart(plot: Plot, order: Sequence[str]) -> Chart:
    """Return the plot as a chart; `order` is that of all variants on the page."""
    left_out = thinning(len(plot.points))
    plot = _thinned(plot)
    if plot.kind == "factors":
        return _factors(plot, left_out)
    together = len({point.member.number for point in plot.points}) > 1
    return Chart(
        slug=plot.slug,
        title=plot.title,
        kind="lines",
        table=plot.table,
        traces=_Drawing(plot, order).traces(),
        x_label=plot.x.label,
        x_note=TOGETHER if together else "",
        y_label=plot.y.label,
        look_for=plot.look_for,
        note=" ".join(filter(None, [*plot.notes, left_out])),
    )


def _thinned(plot: Plot) -> Plot:
    """Return the plot with as many points as a page bears, all that are efficient among them."""
    step = stride(len(plot.points))
    if step == 1:
        return plot
    points = [p for n, p in enumerate(plot.points) if n % step == 0 or p.efficient]
    return replace(plot, points=points)


def _factors(plot: Plot, note: str) -> Chart:
    """Return the points as rows, each with its factor of the baseline."""
    return Chart(
        slug=plot.slug,
        title=plot.title,
        kind="dots",
        table=plot.table,
        traces=[_row(point) for point in plot.points],
        x_label=plot.x.label,
        reference=1,
        note=note,
    )


def _row(point: Point) -> Trace:
    factor = f"{rounded(point.x)} x"
    mark = Mark(point.x, label=(point.variant, factor), href=point.run.get_absolute_url())
    return Trace(f"{factor} · {point.variant}", [mark])


@dataclass(frozen=True)
class _Drawing:
    plot: Plot
    order: Sequence[str]

    def traces(self) -> list[Trace]:
        if self.plot.kind == "marks":
            return self._marks()
        if self.plot.kind == "over runs":
            return self._lines(lambda point: point.member.number, None)
        newest = max((p.run for p in self.plot.points), key=lambda run: (run.finished, run.pk))
        return self._lines(lambda point: point.run.pk, newest.pk)

    def _marks(self) -> list[Trace]:
        """Return a trace for each variant, its marks hollow where not efficient, and the front."""
        found = [
            Trace(variant, [self._mark(p) for p in _efficient_first(points)], self._style(variant))
            for variant, points in self._by_variant()
        ]
        front = sorted({(p.x, p.y) for p in self.plot.points if p.efficient})
        return [*found, _front(front, self.plot.better)] if len(front) > 1 else found

    def _lines(self, part: Callable[[Point], int], solid: int | None) -> list[Trace]:
        """Return the points of each variant and part joined, all but the part `solid` dashed."""
        found: list[Trace] = []
        for variant, points in self._by_variant():
            for key, joined in _parts(points, part).items():
                marks, whole = [self._mark(point) for point in joined], solid in (None, key)
                line: Line = "solid" if whole else "dash"
                found.append(Trace(variant, marks, self._style(variant), line, faint=not whole))
        return found

    def _by_variant(self) -> list[tuple[str, list[Point]]]:
        found = _parts(self.plot.points, lambda point: point.variant)
        return [(variant, found[variant]) for variant in self.order if variant in found]

    def _style(self, variant: str) -> Style:
        return style_for(self.order.index(variant))

    def _mark(self, point: Point) -> Mark:
        run, x, y = point.run, self.plot.x, self.plot.y
        across = when(point.x) if isinstance(point.x, datetime) else rounded(point.x)
        label = (
            f"{point.variant}, {run.label}",
            f"{x.name}: {across} {x.unit}".strip(),
            f"{y.name}: {rounded(point.y)} {y.unit}".strip(),
            f"{run.hardware}, {when(run.finished)}",
        )
        hollow = point.efficient is False
        return Mark(point.x, point.y, label, run.get_absolute_url(), hollow=hollow)


def _parts(points: Iterable[Point], part: Callable[[Point], K]) -> dict[K, list[Point]]:
    found: dict[K, list[Point]] = {}
    for point in points:
        found.setdefault(part(point), []).append(point)
    return found


def _efficient_first(points: Iterable[Point]) -> list[Point]:
    return sorted(points, key=lambda point: not point.efficient)


def _front(front: Sequence[tuple[Any, float]], better: str) -> Trace:
    # What a mark dominates lies on the side of it where the horizontal axis is worse.
    step: Step = "hv" if better == "lower is better" else "vh"
    marks = [Mark(x, y) for x, y in front]
    return Trace("Pareto-efficient", marks, Style("soft", ""), "dot", step)
