"""How many publications each choice of a facet would show, given the other facets."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import Count, F, Func, QuerySet
from django.db.models.expressions import RawSQL

from reviewapp.corpus.choices import Membership
from taxonomy.models import PublicationFacets
from taxonomy.publications.facets import Filter
from taxonomy.publications.filter import PublicationFilter

# Facets counted together in one query by the combinations of their values. The filters inside a
# group are applied to those combinations afterwards: each facet is counted without its own.
# Objectives and strategies have too many combinations, so each of their values is a row.
# What is in no group, because there is nothing to count, filters every group.
GROUPS = (
    ("year", "venue", "artifact", "code", "membership", "confidence"),
    ("class", "family"),
    ("objective",),
    ("strategy",),
)


@dataclass(frozen=True)
class Counts:
    """Publications per stored value of each facet, and those that pass every filter."""

    by_facet: dict[str, Counter[Any]]
    total: int
    counted: int  # of the total, those in the review's own set


def count(shown: PublicationFilter) -> Counts:
    """Count every facet in one query."""
    filters = {chosen.key: chosen for chosen in shown.filters}
    groups = [[filters[key] for key in keys] for keys in GROUPS]
    by_facet: dict[str, Counter[Any]] = {key: Counter() for key in filters}
    for number, values, n in _combinations(shown, groups):
        for chosen, value in _counted(groups[number], values):
            for one in value if isinstance(value, list) else [value]:
                by_facet[chosen.key][one] += n
    # Every publication has one membership, so what passes its filter is everything shown.
    membership = filters["membership"]
    shown_by_membership = {
        value: n for value, n in by_facet["membership"].items() if membership.passes(value)
    }
    total = sum(shown_by_membership.values())
    return Counts(by_facet, total, total - shown_by_membership.get(Membership.EXTENSION, 0))


def _counted(group: list[Filter], values: list[Any]) -> list[tuple[Filter, Any]]:
    """Return the facets of the group that count a combination: those whose others all pass it."""
    pairs = list(zip(group, values, strict=True))
    failed = [chosen for chosen, value in pairs if chosen.active and not chosen.passes(value)]
    if not failed:
        return pairs
    return [pair for pair in pairs if failed == [pair[0]]]


def _combinations(
    shown: PublicationFilter, groups: list[list[Filter]]
) -> Iterator[tuple[int, list[Any], int]]:
    """Yield, for each group by its number, values that occur together and how often.

    One statement counts all groups: the text, which is dear to match, is matched once for all.
    """
    statements: list[str] = []
    params: list[Any] = []
    with_found = ""
    if shown.search:
        matching = shown.search.publications().order_by().values("pk")
        sql, params = _statement(matching)
        with_found = f"WITH found (id) AS MATERIALIZED ({sql})"
    for number, group in enumerate(groups):
        sql, more = _statement(_grouped(shown, group))
        # Both parts of this text are ours: every value is a parameter.
        statements.append(f"SELECT {number}, json_agg(row_to_json(g)) FROM ({sql}) AS g")  # noqa: S608
        params = [*params, *more]
    with connection.cursor() as cursor:
        cursor.execute(f"{with_found} {' UNION ALL '.join(statements)}", params)
        for number, combinations in cursor.fetchall():
            for combination in combinations or []:
                *values, n = combination.values()
                yield number, values, n


def _statement(queryset: QuerySet[Any]) -> tuple[str, list[Any]]:
    sql, params = queryset.query.sql_with_params()
    return sql, list(params)


def _grouped(shown: PublicationFilter, group: list[Filter]) -> QuerySet[Any, Any]:
    """Return the combinations of the group's values with their numbers, without its filters."""
    rows = PublicationFacets.objects.filter(
        *(chosen.condition for chosen in shown.active if chosen not in group)
    )
    if shown.search:
        rows = rows.filter(publication__in=RawSQL("SELECT id FROM found", ()))
    if len(group) == 1:
        value = Func(F(group[0].column), function="unnest")
        return rows.annotate(value=value).values_list("value").annotate(n=Count("*"))
    return rows.values_list(*(chosen.column for chosen in group)).annotate(n=Count("*"))
