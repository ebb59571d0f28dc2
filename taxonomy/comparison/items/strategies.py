"""Strategies side by side."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlencode

from django.db import connection
from django.urls import reverse

from reviewapp.corpus.choices import COUNTED, Membership
from reviewapp.corpus.models import Publication
from reviewapp.ui.units import number
from taxonomy.comparison.table import Cell, Described, Item, Part, Row, Section, row, text
from taxonomy.models import Family, Group, Strategy


class PublicationCounts(NamedTuple):
    """The publications filed under a strategy; years and model sizes of those counted."""

    counted: int = 0
    extensions: int = 0
    first_year: int | None = None
    last_year: int | None = None
    # The largest model and, negated so that the oldest record wins a tie, its publication.
    largest: list[float] | None = None


FILED = f"""
SELECT e.strategy_id, count(p.id), count(*) - count(p.id), min(p.year), max(p.year),
       max(ARRAY[p.max_params_billion, -p.id]) FILTER (WHERE p.max_params_billion IS NOT NULL)
FROM taxonomy_evidence e
LEFT JOIN corpus_publication p
    ON p.id = e.publication_id AND p.membership <> '{Membership.EXTENSION}'
WHERE e.strategy_id = ANY (%s)
GROUP BY 1
"""  # noqa: S608 - made of constants


def describe_strategies(slugs: Sequence[str]) -> Described:
    """Return what is known of the strategies with these slugs, in this order."""
    rows = Strategy.objects.select_related("group__family").prefetch_related("classes")
    found = {strategy.slug: strategy for strategy in rows.filter(slug__in=slugs)}
    strategies = [found[slug] for slug in slugs]
    return Described(
        tuple(Item(s.slug, s.name, s.get_absolute_url(), s.group.name) for s in strategies),
        {strategy.pk: strategy.name for strategy in strategies},
        (
            Section("What it is", tuple(_descriptions(strategies))),
            Section("Evidence in the review", tuple(_evidence(strategies)), EVIDENCE_NOTE),
        ),
    )


EVIDENCE_NOTE = (
    "Only publications counted in the review; extensions are counted apart. A publication filed "
    "under several strategies counts in each."
)


def _graded(entry: Strategy | Group | Family) -> Cell:
    return Cell((Part(entry.name, grade=entry.grade, grade_meaning=entry.get_grade_display()),))


def _descriptions(strategies: Sequence[Strategy]) -> Iterable[Row]:
    yield row("Family", strategies, lambda s: _graded(s.group.family))
    yield row("Group", strategies, lambda s: _graded(s.group))
    yield row("Classes", strategies, lambda s: Cell(tuple(Part(c.name) for c in s.classes.all())))
    yield row("Grade", strategies, lambda s: text(f"{s.grade}: {s.get_grade_display()}"))
    yield row("Idea", strategies, lambda s: text(s.idea))
    yield row("What it trades", strategies, lambda s: text(s.trade))
    yield row("When it does not help", strategies, lambda s: text(s.not_when))
    if any(s.note for s in strategies):
        yield row("Note", strategies, lambda s: text(s.note, "there is no note"))


@lru_cache(4096)
def _publications_url(slug: str, *, extensions: bool = False) -> str:
    query = {"strategy": slug, "membership": (Membership.EXTENSION,) if extensions else COUNTED}
    return f"{reverse('publications')}?{urlencode(query, doseq=True)}"


def _evidence(strategies: Sequence[Strategy]) -> Iterable[Row]:
    filed = _filed(strategies)
    largest = _publications(-int(f.largest[1]) for f in filed.values() if f.largest)
    yield row("Publications", strategies, lambda s: _count(filed[s.pk].counted, s.slug))
    yield row(
        "Extensions",
        strategies,
        lambda s: _count(filed[s.pk].extensions, s.slug, extensions=True),
    )
    yield row("Years", strategies, lambda s: _years(filed[s.pk]))
    yield row("Largest model", strategies, lambda s: _largest(filed[s.pk].largest, largest))


def _filed(strategies: Iterable[Strategy]) -> dict[int, PublicationCounts]:
    found: dict[int, PublicationCounts] = defaultdict(PublicationCounts)
    with connection.cursor() as cursor:
        cursor.execute(FILED, [[strategy.pk for strategy in strategies]])
        found.update({strategy: PublicationCounts._make(rest) for strategy, *rest in cursor})
    return found


def _publications(ids: Iterable[int]) -> dict[int, Part]:
    rows = Publication.objects.filter(pk__in=list(ids)).only("key", "artifact_name", "year")
    return {p.pk: Part(f"{p.artifact_name} ({p.year})", p.get_absolute_url()) for p in rows}


def _count(count: int, slug: str, *, extensions: bool = False) -> Cell:
    href = _publications_url(slug, extensions=extensions) if count else ""
    return Cell((Part(f"{count:,}", href),), amount=count)


def _years(filed: PublicationCounts) -> Cell:
    if filed.first_year is None:
        return Cell(missing="no publication is counted")
    span = (filed.first_year, filed.last_year)
    return text("–".join(str(year) for year in dict.fromkeys(span)))


def _largest(largest: Sequence[float] | None, publications: dict[int, Part]) -> Cell:
    if largest is None:
        return Cell(missing="no publication reports a model size")
    source = publications[-int(largest[1])]
    return Cell((Part(f"{number(largest[0])} billion parameters", source.href, source.text),))
