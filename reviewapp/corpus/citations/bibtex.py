"""BibTeX in ASCII, for the classic styles as for biblatex."""

import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote

from bibtexparser import Library, write_string
from bibtexparser.middlewares import default_unparse_stack
from bibtexparser.model import Block, Entry, Field
from bibtexparser.writer import BibtexFormat

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
from reviewapp.corpus.citations.latex import latex, uncut
from reviewapp.corpus.models import Publication, Review

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
ENTRY_TYPES = {
    VenueKind.CONFERENCE: ("inproceedings", "booktitle"),
    VenueKind.WORKSHOP: ("inproceedings", "booktitle"),
    VenueKind.JOURNAL: ("article", "journal"),
    VenueKind.PREPRINT: ("misc", "howpublished"),
}


def bibtex(publications: Iterable[Publication]) -> str:
    """Return BibTeX, one entry a publication under its key; prefetch `strategies` for keywords.

    The title stands in double braces: no style may change its capitals. Year and month are those
    of the version that the venue published; the first version is in the note.
    """
    return _written(_entry(publication) for publication in publications)


def review_bibtex(review: Review) -> str:
    """Return the entry of a review that appeared in a journal."""
    texts = {
        "author": " and ".join(_name(author) for author in review.authors),
        "title": f"{{{latex(review.title)}}}",
        "journal": latex(review.venue),
        "volume": str(review.volume or ""),
        "pages": latex(review.pages).replace("-", "--"),
        "year": str(review.year),
        "doi": review.doi,
        "eprint": review.arxiv_id,
        "eprinttype": "arxiv" if review.arxiv_id else "",
    }
    key = f"{review.authors[0].partition(',')[0].lower()}{review.year}peak"
    return _written([Entry("article", key, _fields(texts))])


def _written(entries: Iterable[Entry]) -> str:
    blocks: list[Block] = list(entries)
    layout = BibtexFormat()
    layout.indent, layout.block_separator = "  ", "\n"
    stack = default_unparse_stack(allow_inplace_modification=True)
    return str(write_string(Library(blocks), unparse_stack=stack, bibtex_format=layout))


def bibtex_comment(text: str) -> str:
    """Return a comment line; BibTeX would read an at sign as the start of an entry."""
    return f"% {one_line(text).replace('@', '%40')}\n\n"


def _entry(publication: Publication) -> Entry:
    kind, place = ENTRY_TYPES[VenueKind(publication.venue_kind)]
    texts = {
        "author": " and ".join(_name(author) for author in publication.authors),
        "title": f"{{{latex(publication.title)}}}",
        place: latex(venue(publication)),
        "volume": latex(publication.volume),
        "number": latex(publication.number),
        "pages": "--".join(map(latex, pages(publication))),
        "year": str(publication.published_year),
        "doi": re.sub(r"[{}\\]", lambda found: quote(found[0]), publication.doi or ""),
        "eprint": publication.arxiv_id or "",
        "eprinttype": "arxiv" if publication.arxiv_id else "",
        "url": web_address(publication.url),
        "keywords": latex(", ".join(keywords(publication))),
        "note": latex(_note(publication)),
        "annote": latex(publication.summary),
    }
    fields = _fields(texts)
    if publication.published_month:
        # A bare name, which every style prints in its own language.
        month = MONTHS[publication.published_month - 1]
        fields.append(Field("month", month, enclosing="no-enclosing"))
    return Entry(kind, publication.key, fields)


def _fields(texts: Mapping[str, str]) -> list[Field]:
    return [Field(name, text) for name, text in texts.items() if text]


def _name(author: str) -> str:
    """Return "Family, Given"; braces keep a part together that BibTeX would take apart."""
    family, comma, given = one_line(author).partition(", ")
    if not comma:
        alone = re.search(r"[\s,]", family) or family.lower() in ("and", "others")
        return f"{{{latex(family)}}}" if alone else uncut(family)
    return ", ".join(
        f"{{{latex(part)}}}" if re.search(r",|\band\b", part, re.IGNORECASE) else uncut(part)
        for part in (family, given)
    )


def _note(publication: Publication) -> str:
    """Return the preprint's identifier, which classic styles print nowhere else."""
    if publication.venue_kind == VenueKind.PREPRINT:
        return arxiv(publication)
    return first_version(publication)
