"""Files of publications with their evidence, made while they are sent."""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from django.db.models import Prefetch

from reviewapp.corpus.citations.facts import arxiv
from reviewapp.corpus.citations.files import CITATIONS
from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import PublicationQuerySet
from reviewapp.ui.export import Provenance, csv_lines, json_parts
from taxonomy.claims.reading import with_all_but_publication
from taxonomy.claims.records import ClaimFactsSerializer
from taxonomy.models import Claim, Strategy

BATCH = 1000

FIELDS = (
    "key",
    "title",
    "authors",
    "year",
    "month",
    "venue",
    "venue_kind",
    "venue_name",
    "venue_acronym",
    "venue_track",
    "volume",
    "number",
    "first_page",
    "last_page",
    "published_year",
    "published_month",
    "venue_confidence",
    "venue_note",
    "first_version_year",
    "first_version_month",
    "first_version_confidence",
    "arxiv_id",
    "doi",
    "url",
    "code_url",
    "artifact_name",
    "artifact_kind",
    "membership",
    "membership_grade",
    "confidence",
    "from_general_knowledge",
    "summary",
    "limitation",
    "limitation_basis",
    "hardware",
    "models_used",
    "max_params_billion",
    "sources",
)


def with_evidence(publications: PublicationQuerySet) -> PublicationQuerySet:
    """Return the publications, each to be read with its classes, strategies and claims."""
    claims = Prefetch("claims", Claim.objects.order_by("publication_id", "position"))
    strategies = Prefetch("strategies", Strategy.objects.only("slug", "name"))
    found = publications.defer("search", "claims_text")
    return found.prefetch_related("classes", strategies, claims)


def with_claims(publications: PublicationQuerySet) -> PublicationQuerySet:
    """Return the publications with their evidence and everything that is known of their claims."""
    claims = with_all_but_publication(Claim.objects.order_by("publication_id", "position"))
    found = publications.defer("search", "claims_text")
    strategies = Prefetch("strategies", Strategy.objects.only("slug", "name"))
    return found.prefetch_related("classes", strategies, Prefetch("claims", claims))


def in_batches(publications: PublicationQuerySet, extension: str) -> Iterator[Publication]:
    """Yield the publications with what a file of that kind says of them, a batch at a time."""
    read = with_claims if extension == "json" else with_evidence
    yield from read(publications).iterator(chunk_size=BATCH)


def parts(extension: str, publications: Iterable[Publication], about: Provenance) -> Iterator[str]:
    """Return the file of that kind, "csv", "json" or one of CITATIONS, in parts."""
    if extension == "csv":
        return csv_lines(HEADER, map(_row, publications), about)
    if extension == "json":
        return json_parts("publications", map(record, publications), about)
    return CITATIONS[extension](publications, about)


HEADER = (*FIELDS, "classes", "strategies", "claims", "claim_codes")


def _row(publication: Publication) -> list[Any]:
    """Return the values of a row.

    An arXiv identifier says that it is one; as a number, 2309.06180 would lose a zero.
    """
    known = {field: getattr(publication, field) for field in FIELDS}
    values = list({**known, "arxiv_id": arxiv(publication)}.values())
    values += [[c.slug for c in publication.classes.all()]]
    values += [[s.slug for s in publication.strategies.all()]]
    codes = [f"{publication.key}-{claim.position}" for claim in publication.claims.all()]
    return [*values, len(codes), codes]


def record(publication: Publication) -> dict[str, Any]:
    """Return everything known of a publication, which `with_claims` read; null is not reported."""
    serializer = _of_claims()
    return {
        **{field: _reported(getattr(publication, field)) for field in FIELDS},
        "in_review": publication.in_review,
        "classes": [c.slug for c in publication.classes.all()],
        "strategies": [s.slug for s in publication.strategies.all()],
        "claims": [serializer.to_representation(claim) for claim in publication.claims.all()],
    }


@cache
def _of_claims() -> Any:
    """Return what writes claims, made once: making its fields costs as much as ten claims."""
    return ClaimFactsSerializer()


def _reported(value: Any) -> Any:
    return None if value == "" else value
