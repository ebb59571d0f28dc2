"""What is known of one strategy: its publications, what they claim, the strategies beside it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

import pandas as pd
from django.db.models import Count, Prefetch, Q, QuerySet, Sum, Window
from django.db.models.functions import RowNumber
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from reviewapp.corpus.choices import COUNTED, Membership
from reviewapp.ui.charts import Chart, Mark, Trace
from taxonomy.choices import Direction, Objective
from taxonomy.models import CLAIM_FIELDS, Claim, PublicationFacets, Strategy, TaxonomyClass

NEWEST = ("-publication__year", "-publication__month", "publication__key", "position")
SHOWN_OF_PUBLICATION = ("key", "artifact_name", "year", "published_year")
IN_REVIEW = Q(membership__in=COUNTED)
MOST_RELATED = 12
MOST_CHARTS = 12
MOST_BARS = 30
NOT_A_RANKING = (
    "Each number has its own baseline, hardware and conditions, so the bars are not a ranking; "
    "they stand in order of publication, newest first."
)
HATCHED = (
    " Hatched: the source gives a bound, a best case (“up to”), an end of a range or an"
    " approximation."
)
CLAIM_HEADER = (
    "strategy",
    "classes",
    "publication",
    "artifact",
    "year",
    "published_year",
    *CLAIM_FIELDS,
)


@dataclass(frozen=True)
class Hub:
    """The counts of one strategy, its charts and its neighbours.

    `unit_charts` has one chart for each objective, unit and direction with at least two claims;
    `left_out` is the number of those, with the fewest claims, that are in the table only.
    """

    publications: int
    claims: int
    extensions: int
    years: Chart | None
    unit_charts: list[Chart]
    left_out: int
    related: list[Any]

    @cached_property
    def unit_charts_html(self) -> SafeString:
        """Return the charts as HTML: most of the page, and the same until the evidence changes."""
        return render_to_string("taxonomy/_unit_charts.html", {"charts": self.unit_charts})


@lru_cache(maxsize=64)
def hub(strategy: int, state: str) -> Hub:
    """Return the hub of the strategy with this id, remembered while `revision()` says `state`."""
    facets = PublicationFacets.objects.filter(strategies__contains=[strategy])
    counts = facets.aggregate(
        publications=Count("pk", filter=IN_REVIEW),
        claims=Sum("claim_count", filter=IN_REVIEW, default=0),
        extensions=Count("pk", filter=~IN_REVIEW),
    )
    charts, left_out = _unit_charts(strategy)
    return Hub(
        **counts,
        years=_years_chart(facets.filter(IN_REVIEW)),
        unit_charts=charts,
        left_out=left_out,
        related=_related(strategy),
    )


def claims_of(strategy: int) -> QuerySet[Claim]:
    """Return the claims of the review's publications under the strategy, newest first."""
    return (
        Claim.objects.filter(publication__evidence__strategy=strategy)
        .exclude(publication__membership=Membership.EXTENSION)
        .select_related("publication")
        .only(*(f"publication__{name}" for name in SHOWN_OF_PUBLICATION), *CLAIM_FIELDS)
        .order_by(*NEWEST)
    )


def claim_rows(strategy: Strategy) -> list[tuple[Any, ...]]:
    """Return the same claims as plain rows, in the order of CLAIM_HEADER.

    The classes are a list: those of the publication. `year` is that of its first version.
    """
    classes = Prefetch("publication__classes", TaxonomyClass.objects.only("slug"))
    return [
        (
            strategy.slug,
            [found.slug for found in claim.publication.classes.all()],
            claim.publication.key,
            claim.publication.artifact_name,
            claim.publication.year,
            claim.publication.published_year,
            *(getattr(claim, name) for name in CLAIM_FIELDS),
        )
        for claim in claims_of(strategy.pk).prefetch_related(classes)
    ]


def _related(strategy: int) -> list[Any]:
    """Return slug, name and number of `shared` publications of the strategies nearest to it."""
    others = Strategy.objects.exclude(pk=strategy).filter(
        publications__facets__in=PublicationFacets.objects.filter(
            IN_REVIEW, strategies__contains=[strategy]
        )
    )
    counted = others.values("slug", "name").annotate(shared=Count("publications"))
    return list(counted.order_by("-shared", "name")[:MOST_RELATED])


def _years_chart(publications: QuerySet[PublicationFacets]) -> Chart | None:
    """Return the number of publications by year, with the years between; None without any."""
    counted = dict(publications.values_list("year").annotate(n=Count("pk")))
    if not counted:
        return None
    years = list(range(min(counted), max(counted) + 1))
    numbers = [counted.get(year, 0) for year in years]
    pairs = list(zip(years, numbers, strict=True))
    return Chart(
        slug="years",
        title="Publications by year",
        kind="columns",
        table=pd.DataFrame(pairs, columns=["Year", "Publications"]),
        traces=[Trace("", [Mark(year, n, (f"{year}: {n}",)) for year, n in pairs])],
        note="Counted are the review’s own publications, by year of their first version.",
    )


def _unit_charts(strategy: int) -> tuple[list[Chart], int]:
    """Return the charts of the MOST_CHARTS units with the most claims, and how many more there are.

    Units and directions are never mixed; of many claims the newest MOST_BARS are drawn.
    """
    unit = ["objective", "unit", "direction"]
    claims = (
        claims_of(strategy)
        .annotate(
            together=Window(Count("*"), partition_by=unit),
            place=Window(RowNumber(), partition_by=unit, order_by=list(NEWEST)),
        )
        .filter(together__gte=2, place__lte=MOST_BARS)
        .order_by(*unit, "place")
    )
    units = [list(g) for _, g in groupby(claims, lambda c: (c.objective, c.unit, c.direction))]
    kept = sorted(units, key=lambda unit: -unit[0].together)[:MOST_CHARTS]
    rank = {objective: place for place, objective in enumerate(Objective.values)}
    kept.sort(key=lambda unit: rank[unit[0].objective])
    return [_unit_chart(n, unit) for n, unit in enumerate(kept, start=1)], len(units) - len(kept)


def _unit_chart(n: int, claims: list[Any]) -> Chart:
    first = claims[0]
    objective, direction = Objective(first.objective).label, Direction(first.direction).label
    unit = "times the baseline (x)" if first.unit == "x" else first.unit
    cut = "" if first.together == len(claims) else f" The newest {len(claims)} of {first.together}."
    note = NOT_A_RANKING + ("" if all(c.is_exact for c in claims) else HATCHED) + cut
    return Chart(
        slug=f"claims-{n}",
        title=f"{objective} in {unit}: {direction}",
        kind="bars",
        table=_table(claims),
        traces=[_bar(claim) for claim in claims],
        note=note,
    )


def _bar(claim: Claim) -> Trace:
    name = f"{claim.publication.artifact_name}, {claim.metric}"
    mark = Mark(
        claim.value,
        label=(name, claim.as_stated),
        href=claim.publication.get_absolute_url(),
        hollow=not claim.is_exact,
    )
    return Trace(f"{claim.as_stated} · {name}", [mark])


def _table(claims: list[Claim]) -> pd.DataFrame:
    rows = [
        (c.publication.artifact_name, c.metric, c.as_stated, c.baseline or None) for c in claims
    ]
    return pd.DataFrame(rows, columns=["Publication", "Metric", "Reported", "Compared with"])
