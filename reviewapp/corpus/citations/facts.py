"""What every format says of a publication, as plain text."""

import re
from urllib.parse import quote

from reviewapp.corpus.choices import VenueKind
from reviewapp.corpus.models import Publication


def one_line(text: str) -> str:
    """Return the text with each run of white space and control characters as one space."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def web_address(url: str) -> str:
    """Return the address with the characters encoded that end a field or a list of addresses."""
    return quote(one_line(url), safe="%/:?#[]@!$&'()*+,=~")


def arxiv(publication: Publication) -> str:
    """Return "arXiv:2309.06180", which no spreadsheet or data frame takes for a number, or ""."""
    return f"arXiv:{publication.arxiv_id}" if publication.arxiv_id else ""


def venue(publication: Publication) -> str:
    """Return the venue's name, without year; but for a journal with its acronym and track."""
    name = one_line(publication.venue_name)
    if publication.venue_kind == VenueKind.JOURNAL:
        return name  # a journal is known by its name alone
    acronym, track = one_line(publication.venue_acronym), one_line(publication.venue_track)
    return f"{name}{f' ({acronym})' if acronym else ''}{f', {track}' if track else ''}"


def pages(publication: Publication) -> list[str]:
    """Return the first and the last page, one of them, or none, as far as they are known."""
    known = (one_line(publication.first_page), one_line(publication.last_page))
    return [page for page in known if page]


def first_version(publication: Publication) -> str:
    """Return "First version: arXiv:2210.17323, October 2022", or what of that is known, or ""."""
    known = [part for part in (arxiv(publication), publication.first_version) if part]
    return f"First version: {', '.join(known)}" if publication.first_version else ""


def keywords(publication: Publication) -> list[str]:
    """Return its strategies and how it relates to the review: named, reconstructed, extension."""
    names = [one_line(strategy.name) for strategy in publication.strategies.all()]
    return [*names, publication.membership]
