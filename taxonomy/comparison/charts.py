"""Claims of one axis as dots, a line of them for each item and scope."""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import pandas as pd
from django.template.loader import render_to_string
from django.utils.safestring import SafeString
from django.utils.text import slugify

from reviewapp.ui.charts import Chart, Mark, Style, Trace
from reviewapp.ui.scales import kind_of
from taxonomy.choices import Direction, Scope
from taxonomy.claims.marks import Mark as ClaimMark
from taxonomy.claims.marks import marks_of
from taxonomy.comparison.claims import Claims, claims_of, examples, unit_of
from taxonomy.comparison.effects import circumstances, named
from taxonomy.comparison.selection import KindName
from taxonomy.models import Axis, Claim

MOST_CHARTS = 6
DOTS = 12  # of each item, axis and scope
STYLES: Mapping[str, Style] = {
    Scope.ISOLATED: Style("c1", "circle"),
    Scope.COMBINED: Style("c2", "square"),
    Scope.AGAINST_ANOTHER: Style("soft", "triangle"),
    Scope.SYSTEM: Style("soft", "cross"),
    Scope.DESCRIPTIVE: Style("soft", "star"),
}
COLUMNS = ["Item", "Scope", "Value", "Publication", "Metric", "Circumstances"]
Series = Mapping[str, Sequence[Claim]]


def axes_to_draw(claims: Claims) -> list[Axis]:
    """Return the axes on which at least two claims have a place, those of most items first."""
    drawn = {axis: _drawn(claims, axis) for axis in claims.axes}
    axes = [axis for axis, counts in drawn.items() if sum(counts) > 1]
    return sorted(axes, key=lambda axis: (-len(drawn[axis]), -sum(drawn[axis])))


def _drawn(claims: Claims, axis: Axis) -> list[int]:
    """Return how many claims have a place on the axis, for each item that has any."""
    found = claims.tallies[axis.pk].values()
    return [n for of in found if (n := sum(tally.drawn for tally in of.values()))]


def why_not_drawn(axes: Sequence[Axis]) -> str:
    """Return why there is no chart, or no further one; empty when everything is drawn."""
    if not axes:
        return "Nothing is drawn: no two claims of these can stand on one axis."
    if len(axes) > MOST_CHARTS:
        return f"{MOST_CHARTS} of {len(axes)} axes are drawn; the tables have them all."
    return ""


def charts_of(kind: KindName, names: Mapping[int, str], state: str) -> list[Chart]:
    """Return the charts of the items, by their names: one for each axis, of most items first."""
    claims = claims_of(kind, tuple(names), state)
    axes = axes_to_draw(claims)[:MOST_CHARTS]
    dots = examples(kind, tuple(names), [axis.pk for axis in axes], DOTS)
    charts = []
    for axis in axes:
        series = {
            name: dots[axis.pk, item] for item, name in names.items() if (axis.pk, item) in dots
        }
        if sum(len(marks_of(found)) for found in series.values()) > 1:
            charts.append(_chart(axis, series, sum(_drawn(claims, axis))))
    return charts


@lru_cache(64)
def charts_html(kind: KindName, names: tuple[tuple[int, str], ...], state: str) -> SafeString:
    """Return the charts as HTML: most of the page, and the same until the evidence changes."""
    charts = charts_of(kind, dict(names), state)
    return render_to_string("taxonomy/_compare_charts.html", {"charts": charts})


def _chart(axis: Axis, series: Series, total: int) -> Chart:
    drawn = [
        (name, scope, mark)
        for name, claims in series.items()
        for scope in STYLES
        for mark in marks_of(claim for claim in claims if claim.scope == scope)
    ]
    traces: dict[tuple[str, str], list[Mark]] = {}
    for name, scope, mark in drawn:
        traces.setdefault((name, scope), []).append(_dot(mark))
    return Chart(
        slug=slugify(f"axis {axis.pk} {axis}"),
        title=f"{axis}: {Direction(axis.quantity.direction).label}",
        kind="dots",
        table=pd.DataFrame([_row(*one) for one in drawn], columns=COLUMNS),
        traces=[
            Trace(f"{name}: {Scope(scope).label}", dots, STYLES[scope])
            for (name, scope), dots in traces.items()
        ],
        x_label=unit_of(axis),
        note=_note([mark for *_, mark in drawn], total),
    )


def _row(name: str, scope: str, mark: ClaimMark) -> tuple[str, ...]:
    claim = mark.claim
    return (
        name,
        Scope(scope).label,
        _stated(mark),
        named(claim),
        claim.metric,
        circumstances(claim),
    )


def _stated(mark: ClaimMark) -> str:
    return "; ".join(claim.as_stated for claim in mark.claims)


def _dot(mark: ClaimMark) -> Mark:
    return Mark(
        mark.high,
        label=(f"{_stated(mark)}: {named(mark.claim)}",),
        href=mark.claim.get_absolute_url(),
        whisker=(mark.low, mark.high) if mark.is_range else None,
        hollow=mark.is_best_case,
    )


def _note(marks: Sequence[ClaimMark], total: int) -> str:
    shown = sum(len(mark.claims) for mark in marks)
    publications = len({mark.claim.publication_id for mark in marks})
    said = "1 publication says" if publications == 1 else f"{publications} publications say"
    sentences = [f"Source: what {said}; each mark leads to its claim."]
    if any(mark.is_range for mark in marks):
        sentences.append("A line is a published range.")
    if any(mark.is_best_case for mark in marks):
        sentences.append("Hollow: “up to”.")
    if kind_of(mark.high for mark in marks) == "log":
        sentences.append("The axis is logarithmic.")
    if len({claim.pk for mark in marks for claim in mark.claims}) == shown < total:
        sentences.append(f"Drawn are the highest {shown:,} of {total:,}.")
    return " ".join(sentences)
