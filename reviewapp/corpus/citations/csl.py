"""CSL-JSON, which Zotero, pandoc and citation processors read."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from reviewapp.corpus.choices import VenueKind
from reviewapp.corpus.citations.facts import (
    arxiv,
    first_version,
    keywords,
    one_line,
    pages,
    venue,
    web_address,
)
from reviewapp.corpus.models import Publication

CSL_TYPES = {
    VenueKind.CONFERENCE: "paper-conference",
    VenueKind.WORKSHOP: "paper-conference",
    VenueKind.JOURNAL: "article-journal",
    VenueKind.PREPRINT: "article",  # "an unpublished article, such as a preprint"
}


def csl_parts(publications: Iterable[Publication], source: str = "") -> Iterator[str]:
    """Yield a JSON list in parts, one item a publication; prefetch `strategies` for keywords."""
    separator = "[\n"
    for publication in publications:
        yield separator + json.dumps(csl(publication, source), ensure_ascii=False)
        separator = ",\n"
    yield "[]\n" if separator == "[\n" else "\n]\n"


def csl(publication: Publication, source: str = "") -> dict[str, Any]:
    """Return the publication as an item of CSL-JSON; what is not known is left out."""
    kind = VenueKind(publication.venue_kind)
    is_preprint, is_journal = kind == VenueKind.PREPRINT, kind == VenueKind.JOURNAL
    values: dict[str, Any] = {
        "id": publication.key,
        "type": CSL_TYPES[kind],
        "author": [_name(author) for author in publication.authors],
        "title": one_line(publication.title),
        "container-title": "" if is_preprint else venue(publication),
        "container-title-short": one_line(publication.venue_acronym) if is_journal else "",
        "publisher": one_line(publication.venue_name) if is_preprint else "",
        "genre": "Preprint" if is_preprint else "",
        "number": arxiv(publication) if is_preprint else "",
        "volume": one_line(publication.volume),
        "issue": one_line(publication.number),
        "page": "-".join(pages(publication)),
        "issued": {"date-parts": [_date(publication)]},
        "DOI": publication.doi or "",
        "URL": web_address(publication.url),
        "archive": "arXiv" if publication.arxiv_id else "",
        "archive_location": publication.arxiv_id or "",
        "keyword": ", ".join(keywords(publication)),
        "abstract": one_line(publication.summary),
        "note": first_version(publication),
        "source": one_line(source),
    }
    return {name: value for name, value in values.items() if value}


def _name(author: str) -> dict[str, str]:
    family, comma, given = one_line(author).partition(", ")
    return {"family": family, "given": given} if comma else {"literal": family}


def _date(publication: Publication) -> list[int]:
    known = (publication.published_year, publication.published_month)
    return [part for part in known if part]
