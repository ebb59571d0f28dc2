"""Write checked fixtures to the database: all in one transaction, the same result every time."""

from collections.abc import Iterable
from itertools import count
from typing import Any, TypeVar

from django.db import connection, models, transaction

from reviewapp.corpus.choices import CriterionKind
from reviewapp.corpus.models import (
    CaseStudy,
    Criterion,
    FlowNumber,
    Publication,
    Review,
    SourceDatabase,
    Tool,
)
from taxonomy.choices import SynonymKind
from taxonomy.loading.claim_writing import columns, load_claims
from taxonomy.loading.reading import Fixtures
from taxonomy.loading.schema import (
    ClassRow,
    PublicationRow,
    SynonymsFile,
    SynonymsRow,
)
from taxonomy.loading.venue_facts import VenueFacts
from taxonomy.models import (
    Evidence,
    Family,
    Group,
    Strategy,
    Synonym,
    TaxonomyClass,
)

Entry = TypeVar("Entry", TaxonomyClass, Family, Group, Strategy)

LOCK = 65_983  # any number of our own: two loads at once take turns


@transaction.atomic
def load(fixtures: Fixtures) -> Review:
    """Make the database equal to the fixtures and return the review.

    What the fixtures name is created or updated, with its links replaced; claims keep their rows.
    Taxonomy entries and claims that they no longer name are removed; other publications are left
    alone.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
    review = _load_review(fixtures)
    _load_taxonomy(fixtures)
    _load_synonyms(fixtures.synonyms)
    _load_publications(review, fixtures)
    _load_case_studies(review, fixtures)
    return review


def _load_review(fixtures: Fixtures) -> Review:
    file, row = fixtures.review, fixtures.review.review
    values = {
        **row.model_dump(include={"title", "authors", "venue", "volume", "year"}),
        "pages": row.pages or "",
        "arxiv_id": row.arxiv_id or "",
        "arxiv_licence": row.arxiv_licence or "",
        "doi": row.doi or "",
        "period_from": row.period.from_,
        "period_to": row.period.to,
        "period_grade": row.period.grade,
        "guideline": row.reporting_guideline.value,
        "guideline_edition": row.reporting_guideline.edition or "",
        "guideline_grade": row.reporting_guideline.grade,
        "research_questions": file.research_questions or [],
        "database_count": file.databases.count,
        "named_note": file.named_publications.note,
        "not_established": file.not_established,
    }
    review, _ = Review.objects.update_or_create(slug=row.slug, defaults=values)
    _replace(review, FlowNumber, ({"key": k, **n.model_dump()} for k, n in file.flow.items()))
    _replace(review, SourceDatabase, (d.model_dump() for d in file.databases.named))
    _replace(review, Tool, (t.model_dump() for t in file.tools))
    criteria = [(CriterionKind.INCLUSION, c) for c in file.criteria.inclusion]
    criteria += [(CriterionKind.EXCLUSION, c) for c in file.criteria.exclusion]
    _replace(review, Criterion, ({"kind": kind, **c.model_dump()} for kind, c in criteria))
    return review


def _replace(review: Review, model: type[models.Model], rows: Iterable[dict[str, object]]) -> None:
    model._default_manager.filter(review=review).delete()
    model._default_manager.bulk_create(model(review=review, **row) for row in rows)


def _load_taxonomy(fixtures: Fixtures) -> None:
    texts = fixtures.definitions
    positions = count()
    classes = {
        row.slug: _put(TaxonomyClass, row, next(positions), definition=texts.classes[row.slug])
        for row in fixtures.taxonomy.classes
    }
    for family_row in fixtures.taxonomy.families:
        definition = texts.families[family_row.slug]
        family = _put(Family, family_row, next(positions), definition=definition)
        for group_row in family_row.groups:
            definition = texts.groups[group_row.slug]
            group = _put(Group, group_row, next(positions), definition=definition, family=family)
            for row in group_row.strategies:
                strategy_texts = texts.strategies[row.slug].model_dump()
                strategy = _put(
                    Strategy, row, next(positions), group=group, note=row.note, **strategy_texts
                )
                strategy.classes.set([classes[slug] for slug in row.classes])
    _remove_unnamed(fixtures)


def _put(model: type[Entry], row: ClassRow, position: int, **values: object) -> Entry:
    """Create or update an entry of the taxonomy and return it."""
    defaults = {"name": row.name, "grade": row.grade, "position": position, **values}
    return model._default_manager.update_or_create(slug=row.slug, defaults=defaults)[0]


def _remove_unnamed(fixtures: Fixtures) -> None:
    texts = fixtures.definitions
    Strategy.objects.exclude(slug__in=texts.strategies).delete()
    Group.objects.exclude(slug__in=texts.groups).delete()
    Family.objects.exclude(slug__in=texts.families).delete()
    TaxonomyClass.objects.exclude(slug__in=texts.classes).delete()


def _load_synonyms(file: SynonymsFile) -> None:
    strategies = Strategy.objects.in_bulk(field_name="slug")
    listed: list[tuple[Strategy | None, str, SynonymsRow]] = [
        (strategies[slug], strategies[slug].name, row) for slug, row in file.strategies.items()
    ]
    listed += [(None, term.head, term) for term in file.terms]
    Synonym.objects.all().delete()
    Synonym.objects.bulk_create(
        Synonym(strategy=strategy, head=head, kind=kind, text=text)
        for strategy, head, row in listed
        for kind in SynonymKind.values
        for text in getattr(row, kind)
    )


def _load_publications(review: Review, fixtures: Fixtures) -> None:
    rows = fixtures.publications
    records = [_publication(review, row, fixtures.venues[row.key]) for row in rows]
    Publication.objects.bulk_create(
        records,
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=columns(Publication, "key"),
    )
    ids = dict(Publication.objects.filter(key__in=[r.key for r in rows]).values_list("key", "id"))
    _link(rows, ids)
    load_claims(fixtures, ids)


def _publication(review: Review, row: PublicationRow, facts: VenueFacts) -> Publication:
    same = row.model_dump(
        exclude={
            "venue_type",
            "models",
            "code_url",
            "membership",
            "fields_from_general_knowledge",
            "classes",
            "strategies",
            "claims",
        }
    )
    return Publication(
        review=review,
        venue_kind=row.venue_type,
        models_used=row.models,
        code_url=row.code_url or "",
        membership=row.membership.status,
        membership_grade=row.membership.grade or "",
        from_general_knowledge=row.fields_from_general_knowledge,
        **_appeared(facts),
        **same,
    )


def _appeared(facts: VenueFacts) -> dict[str, Any]:
    """Return the columns that say where and when a publication appeared."""
    venue, first, pages = facts.venue, facts.first_version, facts.venue.pages
    return {
        "venue_name": venue.name,
        "venue_acronym": venue.acronym or "",
        "venue_track": venue.track or "",
        "volume": venue.volume or "",
        "number": venue.number or "",
        "first_page": pages.first if pages else "",
        "last_page": (pages.last if pages else None) or "",
        "published_year": facts.published.year,
        "published_month": facts.published.month,
        "venue_confidence": facts.confidence,
        "venue_note": facts.note or "",
        "first_version_year": first.year if first else None,
        "first_version_month": first.month if first else None,
        "first_version_confidence": first.confidence if first else "",
    }


def _link(rows: list[PublicationRow], ids: dict[str, int]) -> None:
    """Replace the publications' links to strategies and classes."""
    strategies = dict(Strategy.objects.values_list("slug", "id"))
    Evidence.objects.filter(publication__in=ids.values()).delete()
    Evidence.objects.bulk_create(
        Evidence(publication_id=ids[row.key], strategy_id=strategies[slug])
        for row in rows
        for slug in row.strategies
    )
    classes = dict(TaxonomyClass.objects.values_list("slug", "id"))
    through = TaxonomyClass.publications.through
    through.objects.filter(publication__in=ids.values()).delete()
    through.objects.bulk_create(
        through(publication_id=ids[row.key], taxonomyclass_id=classes[slug])
        for row in rows
        for slug in row.classes
    )


def _load_case_studies(review: Review, fixtures: Fixtures) -> None:
    publications = {p.key: p for p in Publication.objects.filter(review=review).only("key")}
    _replace(
        review,
        CaseStudy,
        (
            {
                "publication": publications[row.publication],
                "subject": row.subject,
                "subject_grade": row.grade_subject,
                "aim": row.aim,
                "aim_grade": row.grade_aim,
            }
            for row in fixtures.review.case_studies
        ),
    )
