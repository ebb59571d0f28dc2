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
from reviewapp.ui.charts import Chart
from reviewapp.ui.units import number
from taxonomy.choices import Objective
from taxonomy.comparison.charts import claims_chart, measures_to_draw, why_not_drawn
from taxonomy.comparison.claim_rows import CLAIMS_NOTE, claim_rows, source_part
from taxonomy.comparison.claims import Claimed, Measure, Summary, examples, summaries
from taxonomy.comparison.measured import measured_section
from taxonomy.comparison.selection import STRATEGY
from taxonomy.comparison.table import Cell, ComparisonTable, Item, Part, Row, Section, row, text
from taxonomy.models import Family, Group, Strategy

SOURCES_SHOWN = 5
HARDWARE_SHOWN = 6
DOTS_PER_ITEM = 40

Summaries = dict[Measure, dict[int, Summary]]


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

HARDWARE = f"""
SELECT e.strategy_id, hardware.name, count(*)
FROM taxonomy_evidence e
JOIN corpus_publication p ON p.id = e.publication_id AND p.membership <> '{Membership.EXTENSION}'
CROSS JOIN unnest(p.hardware) AS hardware (name)
WHERE e.strategy_id = ANY (%s)
GROUP BY 1, 2
ORDER BY 3 DESC, 2
"""  # noqa: S608 - made of constants


def compare_strategies(slugs: Sequence[str]) -> ComparisonTable:
    """Return the comparison of the strategies with these slugs, in this order."""
    rows = Strategy.objects.select_related("group__family").prefetch_related("classes")
    found = {strategy.slug: strategy for strategy in rows.filter(slug__in=slugs)}
    strategies = [found[slug] for slug in slugs]
    claimed = summaries([strategy.pk for strategy in strategies])
    items = [Item(s.slug, s.name, s.get_absolute_url(), s.group.name) for s in strategies]
    return ComparisonTable(
        tuple(items),
        (
            Section("What it is", tuple(_descriptions(strategies))),
            Section("Evidence in the review", tuple(_evidence(strategies, claimed)), EVIDENCE_NOTE),
            Section("Reported claims", tuple(_claims(strategies, claimed)), CLAIMS_NOTE),
            measured_section(STRATEGY, slugs),
        ),
        lambda: list(_charts(strategies, claimed)),
        why_not_drawn(_counts(claimed)),
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
def _publications_url(slug: str, *, objective: str = "", extensions: bool = False) -> str:
    query = {"strategy": slug, "membership": (Membership.EXTENSION,) if extensions else COUNTED}
    about = {"objective": objective} if objective else {}
    return f"{reverse('publications')}?{urlencode({**query, **about}, doseq=True)}"


def _evidence(strategies: Sequence[Strategy], claimed: Summaries) -> Iterable[Row]:
    filed, hardware = _filed(strategies), _hardware(strategies)
    largest = _publications(-int(f.largest[1]) for f in filed.values() if f.largest)
    yield row("Publications", strategies, lambda s: _count(filed[s.pk].counted, s.slug))
    yield row(
        "Extensions",
        strategies,
        lambda s: _count(filed[s.pk].extensions, s.slug, extensions=True),
    )
    yield row("Years", strategies, lambda s: _years(filed[s.pk]))
    yield row("Hardware seen", strategies, lambda s: _hardware_cell(hardware[s.pk]))
    yield row("Largest model", strategies, lambda s: _largest(filed[s.pk].largest, largest))
    yield row("Objectives with claims", strategies, lambda s: _objectives(s, claimed))


def _filed(strategies: Iterable[Strategy]) -> dict[int, PublicationCounts]:
    found: dict[int, PublicationCounts] = defaultdict(PublicationCounts)
    with connection.cursor() as cursor:
        cursor.execute(FILED, [[strategy.pk for strategy in strategies]])
        found.update({strategy: PublicationCounts._make(rest) for strategy, *rest in cursor})
    return found


def _hardware(strategies: Iterable[Strategy]) -> dict[int, list[tuple[str, int]]]:
    found: dict[int, list[tuple[str, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(HARDWARE, [[strategy.pk for strategy in strategies]])
        for strategy, name, count in cursor:
            found[strategy].append((name, count))
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


def _hardware_cell(seen: Sequence[tuple[str, int]]) -> Cell:
    if not seen:
        return Cell(missing="no publication names its hardware")
    parts = [Part(f"{name} ×{count:,}") for name, count in seen[:HARDWARE_SHOWN]]
    rest = len(seen) - len(parts)
    return Cell((*parts, Part(f"and {rest} more")) if rest else tuple(parts))


def _largest(largest: Sequence[float] | None, publications: dict[int, Part]) -> Cell:
    if largest is None:
        return Cell(missing="no publication reports a model size")
    source = publications[-int(largest[1])]
    return Cell((Part(f"{number(largest[0])} billion parameters", source.href, source.text),))


def _objectives(strategy: Strategy, claimed: Summaries) -> Cell:
    counts: dict[str, int] = defaultdict(int)
    for measure, of_strategies in claimed.items():
        if strategy.pk in of_strategies:
            counts[measure.objective] += of_strategies[strategy.pk].count
    if not counts:
        return Cell(missing="no publication makes a claim")
    return Cell(
        tuple(
            Part(f"{Objective(o).label} ×{n:,}", _publications_url(strategy.slug, objective=o))
            for o, n in counts.items()
        )
    )


def _counts(claimed: Summaries) -> dict[Measure, dict[int, int]]:
    return {m: {pk: found[pk].count for pk in found} for m, found in claimed.items()}


def _claims(strategies: Sequence[Strategy], claimed: Summaries) -> Iterable[Row]:
    names = {strategy.pk: strategy.name for strategy in strategies}
    slugs = {strategy.pk: strategy.slug for strategy in strategies}
    sources = examples(claimed, SOURCES_SHOWN)

    def cell(measure: Measure, pk: int) -> Cell:
        href = _publications_url(slugs[pk], objective=measure.objective)
        return _claims_cell(claimed[measure][pk], sources[measure, pk], href)

    return claim_rows(names, _counts(claimed), cell)


def _claims_cell(summary: Summary, sources: Sequence[Claimed], href: str) -> Cell:
    highest, lowest = sources[0], sources[-1]
    one = summary.lowest == summary.highest
    ends = number(summary.lowest) + ("" if one else f"–{number(summary.highest)}")
    claims = "1 claim" if summary.count == 1 else f"{summary.count:,} claims"
    of_ends = f"lowest {lowest.publication}, highest {highest.publication}"
    headline = f"{ends} {highest.unit} in {claims}"
    return Cell(
        (Part(headline, href, highest.publication if one else of_ends),),
        amount=summary.count,
        amount_of="claims",
        details=tuple(map(source_part, sources)),
        more=summary.count - len(sources),
    )


def _charts(strategies: Sequence[Strategy], claimed: Summaries) -> Iterable[Chart]:
    wanted = {measure: claimed[measure] for measure in measures_to_draw(_counts(claimed))}
    dots = examples(wanted, DOTS_PER_ITEM)
    for measure, found in wanted.items():
        series = {s.name: dots[measure, s.pk] for s in strategies if s.pk in found}
        yield claims_chart(measure, series, sum(summary.count for summary in found.values()))
