"""A publication as a line to read and copy, and as tags that reference managers read off a page."""

import re

from reviewapp.corpus.choices import VenueKind
from reviewapp.corpus.citations.facts import arxiv, keywords, one_line, pages, venue
from reviewapp.corpus.models import Publication


def reference(publication: Publication) -> str:
    """Return a reference to read and to copy: authors, year, title, venue, address."""
    names = ", ".join(_initials(author) for author in publication.authors[:6])
    others = " et al." if len(publication.authors) > 6 else ""
    where = f"https://doi.org/{publication.doi}" if publication.doi else publication.url
    title = publication.title.rstrip(".")
    return (
        f"{names}{others} ({publication.published_year}). {title}. {_place(publication)}. {where}"
    )


def _initials(author: str) -> str:
    family, _, given = author.partition(", ")
    initials = "".join(name[0] for name in re.findall(r"[^\s.-]+", given))
    return f"{family} {initials}".strip()


def _place(publication: Publication) -> str:
    """Return "ICLR 2023", "IEEE Transactions 34(1), 1–12", or the preprint's identifier."""
    if publication.venue_kind == VenueKind.PREPRINT:
        return arxiv(publication) or publication.venue_name
    if publication.venue_kind != VenueKind.JOURNAL:
        return publication.short_venue
    number = f"({publication.number})" if publication.number else ""
    volume = f"{publication.venue_name} {publication.volume}{number}".strip()
    return ", ".join([volume, *filter(None, ["–".join(pages(publication))])])


VENUE_TAGS = {
    VenueKind.CONFERENCE: "citation_conference_title",
    VenueKind.WORKSHOP: "citation_conference_title",
    VenueKind.JOURNAL: "citation_journal_title",
    VenueKind.PREPRINT: "citation_technical_report_institution",
}


def page_tags(publication: Publication) -> list[tuple[str, str]]:
    """Return the names and contents of meta tags from which Zotero and its like take a citation.

    They are those that Highwire Press began and Google Scholar describes.
    """
    kind = VenueKind(publication.venue_kind)
    is_preprint = kind == VenueKind.PREPRINT
    month = f"/{publication.published_month:02}" if publication.published_month else ""
    tags = [
        ("citation_title", publication.title),
        *(("citation_author", author) for author in publication.authors),
        ("citation_publication_date", f"{publication.published_year}{month}"),
        (VENUE_TAGS[kind], venue(publication)),
        ("citation_technical_report_number", arxiv(publication) if is_preprint else ""),
        ("citation_volume", publication.volume),
        ("citation_issue", publication.number),
        ("citation_firstpage", publication.first_page),
        ("citation_lastpage", publication.last_page),
        ("citation_doi", publication.doi or ""),
        ("citation_arxiv_id", publication.arxiv_id or ""),
        ("citation_public_url", publication.url),
        *(("citation_keywords", keyword) for keyword in keywords(publication)),
    ]
    return [(name, one_line(content)) for name, content in tags if one_line(content)]
