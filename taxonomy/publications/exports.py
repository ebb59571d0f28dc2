"""Files of publications with their evidence, made while they are sent."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.db.models import Prefetch

from reviewapp.corpus.citations import bibtex, bibtex_comment, ris
from reviewapp.corpus.models import Publication
from reviewapp.corpus.querysets import PublicationQuerySet
from reviewapp.ui.export import Provenance, csv_lines, json_parts
from taxonomy.models import CLAIM_FIELDS, Claim, Strategy

BATCH = 1000

FIELDS = (
    "key",
    "title",
    "authors",
    "year",
    "month",
    "venue",
    "venue_kind",
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
    claims = Prefetch("claims", Claim.objects.order_by("publication", "position"))
    strategies = Prefetch("strategies", Strategy.objects.only("slug", "name"))
    found = publications.defer("search", "claims_text")
    return found.prefetch_related("classes", strategies, claims)


def in_batches(publications: PublicationQuerySet) -> Iterator[Publication]:
    """Yield the publications with their evidence, a batch at a time."""
    yield from with_evidence(publications).iterator(chunk_size=BATCH)


def parts(extension: str, publications: Iterable[Publication], about: Provenance) -> Iterator[str]:
    """Yield the file of that kind ("csv", "json", "bib" or "ris") in parts."""
    if extension == "csv":
        yield from csv_lines(HEADER, map(_row, publications), about)
    elif extension == "json":
        yield from json_parts("publications", map(record, publications), about)
    elif extension == "bib":
        yield bibtex_comment(about.line)
        yield from (f"{bibtex([publication])}\n" for publication in publications)
    else:
        yield from (f"{ris([publication], about.line)}\n" for publication in publications)


HEADER = (*FIELDS, "classes", "strategies", "claims")


def _row(publication: Publication) -> list[Any]:
    """Return the cells of a row: several values in one cell are parted by semicolons."""
    values = [getattr(publication, field) for field in FIELDS]
    values += [[c.slug for c in publication.classes.all()]]
    values += [[s.slug for s in publication.strategies.all()]]
    cells = ["; ".join(value) if isinstance(value, list) else value for value in values]
    return [*cells, len(publication.claims.all())]


def record(publication: Publication) -> dict[str, Any]:
    """Return everything known of a publication; null is what no source reports."""
    claims = publication.claims.all()
    return {
        **{field: _reported(getattr(publication, field)) for field in FIELDS},
        "in_review": publication.in_review,
        "classes": [c.slug for c in publication.classes.all()],
        "strategies": [s.slug for s in publication.strategies.all()],
        "claims": [{f: _reported(getattr(claim, f)) for f in CLAIM_FIELDS} for claim in claims],
    }


def _reported(value: Any) -> Any:
    return None if value == "" else value
