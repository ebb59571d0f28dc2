"""RIS, with the types that reference managers map to what the publication is."""

from collections.abc import Iterable
from typing import Any

from rispy import RisWriter

from reviewapp.corpus.choices import VenueKind
from reviewapp.corpus.citations.facts import (
    arxiv,
    first_version,
    keywords,
    one_line,
    venue,
    web_address,
)
from reviewapp.corpus.models import Publication

# CONF, not CPAPER: Zotero reads both as a conference paper, JabRef only CONF as @inproceedings.
# RPRT, not UNPB or GEN: RIS has no type for a preprint. Zotero reads UNPB and GEN as a journal
# article; RPRT is a report to Zotero, EndNote and JabRef, with arXiv as its institution.
RIS_TYPES = {
    VenueKind.CONFERENCE: ("CONF", "secondary_title"),
    VenueKind.WORKSHOP: ("CONF", "secondary_title"),
    VenueKind.JOURNAL: ("JOUR", "secondary_title"),
    VenueKind.PREPRINT: ("RPRT", "publisher"),
}


class _Writer(RisWriter):
    def set_header(self, count: int) -> str:
        """Return no number before a record: other readers of RIS stumble over it."""
        return ""


def ris(publications: Iterable[Publication], note: str = "") -> str:
    """Return RIS, one record a publication, each with `note`; prefetch `strategies` for keywords.

    Every value is one line: white space and control characters become single spaces.
    """
    text: str = _Writer().formats([_record(publication, note) for publication in publications])
    return text


def _record(publication: Publication, note: str) -> dict[str, Any]:
    kind, place = RIS_TYPES[VenueKind(publication.venue_kind)]
    is_preprint = publication.venue_kind == VenueKind.PREPRINT
    is_journal = publication.venue_kind == VenueKind.JOURNAL
    month = f"{publication.published_month:02}" if publication.published_month else ""
    values: dict[str, Any] = {
        "type_of_reference": kind,
        "id": publication.key,
        "authors": [one_line(author) for author in publication.authors],
        "title": one_line(publication.title),
        place: venue(publication),
        "alternate_title2": one_line(publication.venue_acronym) if is_journal else "",
        "volume": one_line(publication.volume),
        "number": one_line(publication.number),
        "start_page": one_line(publication.first_page),
        "end_page": one_line(publication.last_page),
        "year": str(publication.published_year),
        "date": f"{publication.published_year}/{month}//",
        "doi": publication.doi or "",
        "accession_number": arxiv(publication),
        "issn": arxiv(publication) if is_preprint else "",  # of a report: its number
        "type_of_work": "Preprint" if is_preprint else "",
        "urls": [web_address(publication.url)],
        "abstract": one_line(publication.summary),
        "keywords": keywords(publication),
        "notes": ["; ".join(filter(None, (first_version(publication), one_line(note))))],
    }
    return {name: value for name, value in values.items() if value not in ("", [""])}
