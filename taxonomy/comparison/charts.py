"""Claims of one measure as dots, one line of them for each item."""

from collections.abc import Mapping, Sequence

import pandas as pd
from django.utils.text import slugify

from reviewapp.ui.charts import Chart, Mark, Trace
from reviewapp.ui.scales import kind_of
from taxonomy.comparison.claims import Claimed, Measure

MOST_CHARTS = 4
# How many claims of each measure each item has.
Counts = Mapping[Measure, Mapping[int, int]]


def measures_to_draw(counts: Counts) -> list[Measure]:
    """Return the measures of which at least two items have claims, those of most claims first."""
    shared = [measure for measure, found in counts.items() if len(found) > 1]
    shared.sort(key=lambda measure: (-len(counts[measure]), -sum(counts[measure].values())))
    return shared[:MOST_CHARTS]


def why_not_drawn(counts: Counts) -> str:
    """Return why there is no chart, or no further one; empty when everything is drawn."""
    shared = sum(len(found) > 1 for found in counts.values())
    if not counts:
        return "Nothing is drawn: there are no claims."
    if not shared:
        return (
            "Nothing is drawn: no two of these have claims about the same objective in the same "
            "unit and direction."
        )
    if shared > MOST_CHARTS:
        return f"{MOST_CHARTS} of {shared} comparable measures are drawn; the table has them all."
    return ""


def claims_chart(measure: Measure, series: Mapping[str, Sequence[Claimed]], total: int) -> Chart:
    """Return the chart of the claims of each item; `total` is how many claims there are."""
    shown = [claim for claims in series.values() for claim in claims]
    rows = [(name, *_table_row(claim)) for name, claims in series.items() for claim in claims]
    title = f"{measure.label}: {measure.direction_label}"
    return Chart(
        slug=slugify(title),
        title=title,
        kind="dots",
        table=pd.DataFrame(rows, columns=COLUMNS),
        traces=[Trace(name, [_dot(claim) for claim in claims]) for name, claims in series.items()],
        x_label=measure.unit,
        note=_note(shown, total),
    )


COLUMNS = ["Item", "Value", "Publication", "Metric", "Baseline", "Conditions", "Source"]


def _table_row(claim: Claimed) -> Sequence[str | None]:
    conditions = "; ".join(t for t in (claim.conditions, claim.hardware, claim.model) if t)
    return (
        claim.quantity,
        claim.publication,
        claim.metric,
        claim.baseline or None,
        conditions or None,
        claim.source,
    )


def _dot(claim: Claimed) -> Mark:
    return Mark(
        claim.value,
        label=(f"{claim.quantity}: {claim.publication}",),
        href=claim.href,
        hollow=not claim.is_exact,
    )


def _note(shown: Sequence[Claimed], total: int) -> str:
    sentences = ["Each dot is one claim with its own baseline, hardware and conditions."]
    if not all(claim.is_exact for claim in shown):
        sentences.append("A hollow dot is a bound (“up to”), the end of a range or approximate.")
    if kind_of(claim.value for claim in shown) == "log":
        sentences.append("The axis is logarithmic.")
    if len(shown) < total:
        sentences.append(
            f"Drawn are {len(shown):,} of {total:,} claims: the highest of each and its lowest."
        )
    return " ".join(sentences)
