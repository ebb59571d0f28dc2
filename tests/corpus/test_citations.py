"""BibTeX and RIS that other programs read back exactly."""

import string
from typing import Any

import bibtexparser
import pytest
import rispy
from bibtexparser.middlewares import SeparateCoAuthors
from hypothesis import given
from hypothesis import strategies as st
from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db

from reviewapp.corpus.citations import bibtex, bibtex_comment, one_line, reference, ris
from reviewapp.corpus.models import Publication
from tests.factories import unsaved_publication

SPECIAL = "\\{}%&$#_~^\"'`-–?!@,;=<>| \n\r\t\x0b\x1c\x85\u2028"
HOSTILE = st.text(
    st.one_of(
        st.sampled_from(SPECIAL + string.ascii_letters),
        st.characters(exclude_categories=("Cs", "Co", "Cn"), exclude_characters="\0"),
    ),
    max_size=80,
)


def as_text(latex: str) -> str:
    """What LaTeX prints; the library's circumflex is a letter of its own."""
    known = get_default_latex_context_db()
    known.add_context_category(
        "exact", macros=[MacroTextSpec("textasciicircum", "^")], prepend=True
    )
    return str(LatexNodes2Text(latex_context=known).latex_to_text(latex))


def cited(**values: Any) -> Publication:
    """A publication without strategies, which needs no database."""
    publication = unsaved_publication(pk=1, **values)
    vars(publication)["_prefetched_objects_cache"] = {"strategies": []}
    return publication


def entry(publication: Publication) -> Any:
    library = bibtexparser.parse_string(bibtex([publication]))
    assert not library.failed_blocks
    return library.entries[0]


def record(publication: Publication) -> dict[str, Any]:
    records: list[dict[str, Any]] = rispy.loads(ris([publication], "where it is from"))
    assert len(records) == 1
    return records[0]


@given(title=HOSTILE, venue=HOSTILE)
def test_bibtex_gives_back_any_title(title: str, venue: str) -> None:
    fields = entry(cited(title=title, venue=venue)).fields_dict
    printed = fields["title"].value
    assert printed.startswith("{")
    assert printed.endswith("}")
    assert as_text(printed) == one_line(title)
    if one_line(venue):
        assert as_text(fields["booktitle"].value) == one_line(venue)


@given(title=HOSTILE, summary=HOSTILE, author=HOSTILE)
def test_ris_gives_back_any_text(title: str, summary: str, author: str) -> None:
    fields = record(cited(title=title, summary=summary, authors=[author, "Roe, R"]))
    assert fields.get("title", "") == one_line(title)
    assert fields.get("abstract", "") == one_line(summary)
    assert fields["authors"] == [one_line(author), "Roe, R"]
    assert fields["notes"] == ["where it is from"]


@given(title=HOSTILE)
def test_braces_of_an_entry_are_balanced_as_bibtex_counts_them(title: str) -> None:
    text = bibtex([cited(title=title)])
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


def test_authors_stay_who_they_are() -> None:
    authors = ["Yazdani Aminabadi, Reza", "Dettmers, Tim", "Google Brain and Friends", "OpenAI"]
    authors += ["Müller & Söhne, Jürgen", "d'Alembert, Jean", "Land and Sea, Ann"]
    text = bibtex([cited(authors=authors)])
    library = bibtexparser.parse_string(text, append_middleware=[SeparateCoAuthors()])
    names = library.entries[0].fields_dict["author"].value
    assert [as_text(name) for name in names] == authors


@pytest.mark.parametrize(
    ("kind", "entry_type", "field", "ris_type", "ris_field"),
    [
        ("conference", "inproceedings", "booktitle", "CPAPER", "secondary_title"),
        ("workshop", "inproceedings", "booktitle", "CPAPER", "secondary_title"),
        ("journal", "article", "journal", "JOUR", "journal_name"),
        ("preprint", "misc", "howpublished", "UNPB", "secondary_title"),
    ],
)
def test_the_type_follows_the_kind_of_venue(
    kind: str, entry_type: str, field: str, ris_type: str, ris_field: str
) -> None:
    publication = cited(venue="Somewhere", venue_kind=kind)
    assert entry(publication).entry_type == entry_type
    assert entry(publication).fields_dict[field].value == "Somewhere"
    assert record(publication)["type_of_reference"] == ris_type
    assert record(publication)[ris_field] == "Somewhere"


def test_identifiers_and_dates_are_written_as_they_are() -> None:
    publication = cited(
        arxiv_id="2301.00774", doi="10.1000/a_b(1)<2>", url="https://example.org/a;b?c=%20_d"
    )
    fields = {field.key: field.value for field in entry(publication).fields}
    assert entry(publication).key == "doe2023example"
    assert fields["eprint"] == "2301.00774"
    assert fields["archiveprefix"] == "arXiv"
    assert fields["doi"] == "10.1000/a_b(1)<2>"
    assert (fields["year"], fields["month"]) == ("2023", "may")
    fields = record(publication)
    assert fields["id"] == "doe2023example"
    assert fields["doi"] == "10.1000/a_b(1)<2>"
    assert fields["accession_number"] == "arXiv:2301.00774"
    assert fields["urls"] == ["https://example.org/a%3Bb?c=%20_d"]
    assert (fields["year"], fields["date"]) == ("2023", "2023/05//")


def test_a_comment_can_not_start_an_entry() -> None:
    comment = bibtex_comment("from /publications/?q=@misc{x,\n@misc{y,")
    assert "@" not in comment
    assert comment.count("\n") == 2


def test_a_reference_reads_as_in_a_bibliography() -> None:
    publication = cited(authors=["Frantar, Elias", "van der Berg, Jan-Piet"], doi="10.1000/1")
    assert reference(publication) == (
        "Frantar E, van der Berg JP (2023). An Example. MLSys 2023. https://doi.org/10.1000/1"
    )
