"""Citations of publications: BibTeX, RIS, and a line to copy."""

import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from bibtexparser import Library, write_string
from bibtexparser.middlewares import default_unparse_stack
from bibtexparser.model import Block, Entry, Field
from bibtexparser.writer import BibtexFormat
from rispy import RisWriter

from reviewapp.corpus.choices import VenueKind
from reviewapp.corpus.models import Publication

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

# Braces are written as commands because BibTeX counts every brace, escaped or not.
LATEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\ensuremath{\lbrace}",
        "}": r"\ensuremath{\rbrace}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{character: f"\\{character}" for character in "%&$#_"},
    }
)
# TeX reads these as one sign: -- a dash, '' and `` quotation marks, ?` and !` Spanish marks.
LIGATURE = re.compile(r"(?<=-)(?=-)|(?<=')(?=')|(?<=[`?!])(?=`)")

ENTRY_TYPES = {
    VenueKind.CONFERENCE: ("inproceedings", "booktitle"),
    VenueKind.WORKSHOP: ("inproceedings", "booktitle"),
    VenueKind.JOURNAL: ("article", "journal"),
    VenueKind.PREPRINT: ("misc", "howpublished"),
}
RIS_TYPES = {
    VenueKind.CONFERENCE: ("CPAPER", "secondary_title"),
    VenueKind.WORKSHOP: ("CPAPER", "secondary_title"),
    VenueKind.JOURNAL: ("JOUR", "journal_name"),
    VenueKind.PREPRINT: ("UNPB", "secondary_title"),
}


def one_line(text: str) -> str:
    """Return the text with each run of white space and control characters as one space."""
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def latex(text: str) -> str:
    """Return one line of LaTeX that prints the text; letters beyond ASCII stay as they are."""
    return LIGATURE.sub("{}", one_line(text).translate(LATEX))


def reference(publication: Publication) -> str:
    """Return a reference to read and to copy: authors, year, title, venue, address."""
    names = ", ".join(_initials(author) for author in publication.authors[:6])
    others = " et al." if len(publication.authors) > 6 else ""
    where = f"https://doi.org/{publication.doi}" if publication.doi else publication.url
    title = publication.title.rstrip(".")
    return f"{names}{others} ({publication.year}). {title}. {publication.venue}. {where}"


def _initials(author: str) -> str:
    family, _, given = author.partition(", ")
    initials = "".join(name[0] for name in re.findall(r"[^\s.-]+", given))
    return f"{family} {initials}".strip()


def bibtex(publications: Iterable[Publication]) -> str:
    """Return BibTeX, one entry a publication under its key; prefetch `strategies` for keywords.

    The title stands in double braces: no style may change its capitals.
    """
    entries: list[Block] = [_entry(publication) for publication in publications]
    layout = BibtexFormat()
    layout.indent, layout.block_separator = "  ", "\n"
    stack = default_unparse_stack(allow_inplace_modification=True)
    return str(write_string(Library(entries), unparse_stack=stack, bibtex_format=layout))


def bibtex_comment(text: str) -> str:
    """Return a comment line; BibTeX would read an at sign as the start of an entry."""
    return f"% {one_line(text).replace('@', '%40')}\n\n"


def _entry(publication: Publication) -> Entry:
    kind, venue = ENTRY_TYPES[VenueKind(publication.venue_kind)]
    texts = {
        "author": " and ".join(_bibtex_name(author) for author in publication.authors),
        "title": f"{{{latex(publication.title)}}}",
        venue: latex(publication.venue),
        "year": str(publication.year),
        "doi": re.sub(r"[{}\\]", lambda found: quote(found[0]), publication.doi or ""),
        "eprint": publication.arxiv_id or "",
        "archiveprefix": "arXiv" if publication.arxiv_id else "",
        "url": web_address(publication.url),
        "keywords": latex(", ".join(_keywords(publication))),
        "note": _bibtex_note(publication),
        "annote": latex(publication.summary),
    }
    fields = [Field(name, text) for name, text in texts.items() if text]
    if publication.month:
        # A bare name, which every style prints in its own language.
        fields.insert(4, Field("month", MONTHS[publication.month - 1], enclosing="no-enclosing"))
    return Entry(kind, publication.key, fields)


def _bibtex_name(author: str) -> str:
    """Return "Family, Given"; braces keep a part together that BibTeX would take apart."""
    family, comma, given = one_line(author).partition(", ")
    if not comma:
        return f"{{{latex(family)}}}" if re.search(r"[\s,]", family) else latex(family)
    return ", ".join(
        f"{{{latex(part)}}}" if re.search(r",|\band\b", part, re.IGNORECASE) else latex(part)
        for part in (family, given)
    )


def _bibtex_note(publication: Publication) -> str:
    preprint = publication.venue_kind == VenueKind.PREPRINT and publication.arxiv_id
    return f"arXiv:{publication.arxiv_id}" if preprint else ""


def _keywords(publication: Publication) -> list[str]:
    return [one_line(strategy.name) for strategy in publication.strategies.all()]


def web_address(url: str) -> str:
    """Return the address with the characters encoded that end a field or a list of addresses."""
    return quote(one_line(url), safe="%/:?#[]@!$&'()*+,=~")


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
    kind, venue = RIS_TYPES[VenueKind(publication.venue_kind)]
    month = f"{publication.month:02}" if publication.month else ""
    values: dict[str, Any] = {
        "type_of_reference": kind,
        "id": publication.key,
        "authors": [one_line(author) for author in publication.authors],
        "title": one_line(publication.title),
        venue: one_line(publication.venue),
        "year": str(publication.year),
        "date": f"{publication.year}/{month}//",
        "doi": publication.doi or "",
        "accession_number": f"arXiv:{publication.arxiv_id}" if publication.arxiv_id else "",
        "urls": [web_address(publication.url)],
        "abstract": one_line(publication.summary),
        "keywords": _keywords(publication),
        "notes": [one_line(note)] if note else [],
    }
    return {name: value for name, value in values.items() if value}
