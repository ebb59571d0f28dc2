"""Citations that other programs read back exactly."""

import json
import re
import string
import unicodedata
from typing import Any

import bibtexparser
import pybtex
import pytest
import rispy
from bibtexparser.middlewares import SeparateCoAuthors
from citeproc import Citation, CitationItem, CitationStylesBibliography, CitationStylesStyle
from citeproc import formatter as citeproc_formatter
from citeproc.source.json import CiteProcJSON
from hypothesis import given
from hypothesis import strategies as st
from pybtex.bibtex.names import format_name
from pybtex.database import Entry, parse_string
from pylatexenc.latex2text import LatexNodes2Text, MacroTextSpec, get_default_latex_context_db

from reviewapp.corpus.citations.bibtex import bibtex, bibtex_comment
from reviewapp.corpus.citations.csl import csl, csl_parts
from reviewapp.corpus.citations.facts import one_line
from reviewapp.corpus.citations.reference import page_tags, reference
from reviewapp.corpus.citations.ris import ris
from reviewapp.corpus.models import Publication
from tests.factories import unsaved_publication

SPECIAL = "\\{}%&$#_~^\"'`-–?!@,;=<>| \n\r\t\x0b\x1c\x85\u2028ÍñçŁșễß’×王и"
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
    return composed(str(LatexNodes2Text(latex_context=known).latex_to_text(latex)))


def composed(text: str) -> str:
    """The text on one line, each letter with its accents as one character, as it is written."""
    return unicodedata.normalize("NFC", one_line(text))


def cited(**values: Any) -> Publication:
    """A publication without strategies, which needs no database."""
    publication = unsaved_publication(pk=1, **values)
    vars(publication)["_prefetched_objects_cache"] = {"strategies": []}
    return publication


def gptq(**values: Any) -> Publication:
    """One that appeared at a conference the year after its first version."""
    facts = {
        "key": "frantar2022gptq",
        "year": 2022,
        "month": 10,
        "venue_name": "International Conference on Learning Representations",
        "venue_acronym": "ICLR",
        "published_year": 2023,
        "published_month": 5,
        "first_version_year": 2022,
        "first_version_month": 10,
        "first_version_confidence": "high",
        "arxiv_id": "2210.17323",
        "membership": "named",
    }
    return cited(**{**facts, **values})


def article(**values: Any) -> Publication:
    """One that appeared in a journal."""
    facts = {
        "venue_kind": "journal",
        "venue_name": "IEEE Transactions on Parallel and Distributed Systems",
        "venue_acronym": "TPDS",
        "volume": "34",
        "number": "5",
        "first_page": "1466",
        "last_page": "1478",
    }
    return gptq(**{**facts, **values})


def preprint(**values: Any) -> Publication:
    """One that is cited as it stands on arXiv."""
    facts = {"venue_kind": "preprint", "venue_name": "arXiv", "venue_acronym": ""}
    return gptq(**{**facts, "published_year": 2022, "published_month": 10, **values})


def entry(publication: Publication) -> Any:
    library = bibtexparser.parse_string(bibtex([publication]))
    assert not library.failed_blocks
    return library.entries[0]


def fields_of(publication: Publication) -> dict[str, str]:
    return {field.key: field.value for field in entry(publication).fields}


def pybtex_entry(publication: Publication) -> Entry:
    entries = parse_string(bibtex([publication]), "bibtex").entries
    assert len(entries) == 1
    return entries[publication.key]


def record(publication: Publication) -> dict[str, Any]:
    records: list[dict[str, Any]] = rispy.loads(ris([publication], "where it is from"))
    assert len(records) == 1
    return records[0]


# What is written is what is read, whatever it is


@given(title=HOSTILE, venue=HOSTILE)
def test_bibtex_gives_back_any_title(title: str, venue: str) -> None:
    publication = cited(title=title, venue_name=venue, venue_acronym="")
    fields = entry(publication).fields_dict
    printed = fields["title"].value
    assert printed.startswith("{")
    assert printed.endswith("}")
    assert as_text(printed) == composed(title)
    if one_line(venue):
        assert as_text(fields["booktitle"].value) == composed(venue)
    assert as_text(pybtex_entry(publication).fields["title"]) == composed(title)


@given(title=HOSTILE, summary=HOSTILE, author=HOSTILE)
def test_ris_gives_back_any_text(title: str, summary: str, author: str) -> None:
    fields = record(cited(title=title, summary=summary, authors=[author, "Roe, R"]))
    assert fields.get("title", "") == one_line(title)
    assert fields.get("abstract", "") == one_line(summary)
    assert fields["authors"] == [one_line(author), "Roe, R"]
    assert fields["notes"] == ["where it is from"]


@given(title=HOSTILE, summary=HOSTILE, author=HOSTILE)
def test_csl_json_gives_back_any_text(title: str, summary: str, author: str) -> None:
    publication = cited(title=title, summary=summary, authors=[author, "Roe, R"])
    [item] = json.loads("".join(csl_parts([publication])))
    assert item.get("title", "") == one_line(title)
    assert item.get("abstract", "") == one_line(summary)
    assert item["author"][-1] == {"family": "Roe", "given": "R"}
    assert ", ".join(item["author"][0].values()) == one_line(author)


@given(title=HOSTILE, author=HOSTILE)
def test_braces_of_an_entry_are_balanced_as_bibtex_counts_them(title: str, author: str) -> None:
    text = bibtex([cited(title=title, authors=[author, "Roe, R"])])
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


@given(title=HOSTILE, author=HOSTILE)
def test_letters_that_latex_has_a_command_for_are_ascii(title: str, author: str) -> None:
    for text in (title, author):
        latin = "".join(c for c in text if ord(c) < 0x180 and (c.isascii() or c.isalpha()))
        accented = "".join(c for c in latin if unicodedata.decomposition(c)[:1] not in ("", "<"))
        assert entry(cited(title=f"x{accented}")).fields_dict["title"].value.isascii()


# Names


def test_authors_stay_who_they_are() -> None:
    authors = ["Yazdani Aminabadi, Reza", "Dettmers, Tim", "Google Brain and Friends", "OpenAI"]
    authors += ["Müller & Söhne, Jürgen", "d'Alembert, Jean", "Land and Sea, Ann", "others"]
    authors += ["Goiri, Íñigo", "Nguyễn, Ánh", "王, 伟", "Șerban, Ștefan", "O’Neil, Ørjan"]
    text = bibtex([cited(authors=authors)])
    library = bibtexparser.parse_string(text, append_middleware=[SeparateCoAuthors()])
    names = library.entries[0].fields_dict["author"].value
    assert [as_text(name) for name in names] == authors


@pytest.mark.parametrize(
    ("author", "short"),
    [
        ("Goiri, Íñigo", "Í. Goiri"),
        ("García, Álvaro Émile", "Á. É. García"),
        ("Škoda, Łukasz", "Ł. Škoda"),
        ("Nguyễn, Ánh", "Á. Nguyễn"),
        ("Şahin, Çağla", "Ç. Şahin"),
        ("O’Neil, Ørjan", "Ø. O’Neil"),
        ("王, 伟", "伟. 王"),
        ("Google Brain and Friends", "Google Brain and Friends"),
    ],
)
def test_a_style_that_abbreviates_names_cuts_no_letter_in_two(author: str, short: str) -> None:
    [person] = pybtex_entry(cited(authors=[author])).persons["author"]
    # As abbrv.bst asks for it, by pybtex's transcription of BibTeX's own function.
    printed = format_name(str(person), "{f.~}{vv~}{ll}{, jj}")
    assert as_text(re.sub(r"(?<!\\)~", " ", printed)) == short


# Where and when


def test_year_and_venue_are_those_of_the_version_that_is_cited() -> None:
    fields = fields_of(gptq())
    assert fields["booktitle"] == "International Conference on Learning Representations (ICLR)"
    assert (fields["year"], fields["month"]) == ("2023", "may")
    assert (fields["eprint"], fields["eprinttype"]) == ("2210.17323", "arxiv")
    assert fields["note"] == "First version: arXiv:2210.17323, October 2022"
    risen = record(gptq())
    assert risen["secondary_title"] == fields["booktitle"]
    assert (risen["year"], risen["date"]) == ("2023", "2023/05//")
    assert risen["notes"] == [f"{fields['note']}; where it is from"]
    item = csl(gptq())
    assert item["container-title"] == fields["booktitle"]
    assert "container-title-short" not in item, "which is a journal's"
    assert item["issued"] == {"date-parts": [[2023, 5]]}
    assert item["note"] == fields["note"]


def test_a_list_says_of_a_publication_whose_it_is_and_when_it_appeared() -> None:
    one, several = cited(authors=["Doe, Jane"]), cited(authors=["Doe, Jane", "Roe, R"])
    assert (one.short_authors, several.short_authors) == ("Doe", "Doe et al.")
    assert (gptq().published, gptq(published_month=None).published) == ("May 2023", "2023")


def test_volume_number_and_pages_have_fields_of_their_own() -> None:
    fields = fields_of(article())
    assert fields["journal"] == "IEEE Transactions on Parallel and Distributed Systems"
    assert "booktitle" not in fields
    assert (fields["volume"], fields["number"]) == ("34", "5")
    assert fields["pages"] == "1466--1478"
    risen = record(article())
    assert risen["secondary_title"] == fields["journal"]
    assert (risen["volume"], risen["number"]) == ("34", "5")
    assert (risen["start_page"], risen["end_page"]) == ("1466", "1478")
    item = csl(article())
    assert (item["volume"], item["issue"], item["page"]) == ("34", "5", "1466-1478")
    assert risen["alternate_title2"] == item["container-title-short"] == "TPDS"
    assert reference(article()).endswith("Systems 34(5), 1466–1478. https://example.org/paper")


@pytest.mark.parametrize(
    ("unknown", "place"),
    [
        ({"number": ""}, "Distributed Systems 34, 1466–1478"),
        ({"last_page": ""}, "Distributed Systems 34(5), 1466"),
        ({"first_page": "", "last_page": ""}, "Distributed Systems 34(5)"),
        (dict.fromkeys(["volume", "number", "first_page", "last_page"], ""), "Distributed Systems"),
    ],
)
def test_a_reference_says_of_a_place_in_a_journal_what_is_known(
    unknown: dict[str, str], place: str
) -> None:
    assert reference(article(**unknown)).endswith(f"{place}. https://example.org/paper")


def test_what_is_not_known_is_left_out() -> None:
    publication = gptq(published_month=None, arxiv_id=None, first_version_year=None)
    publication.first_version_month = None
    fields = fields_of(publication)
    assert not fields.keys() & {"month", "volume", "number", "pages", "eprint", "eprinttype"}
    assert not fields.keys() & {"doi", "note"}
    assert record(publication)["date"] == "2023///"
    assert csl(publication)["issued"] == {"date-parts": [[2023]]}
    assert dict(page_tags(publication))["citation_publication_date"] == "2023"
    assert not csl(publication).keys() & {"volume", "issue", "page", "DOI", "note", "archive"}
    assert rispy.loads(ris([publication]))[0].get("notes") is None


@pytest.mark.parametrize(
    ("publication", "entry_type", "ris_type", "csl_type"),
    [
        (gptq(), "inproceedings", "CONF", "paper-conference"),
        (gptq(venue_kind="workshop"), "inproceedings", "CONF", "paper-conference"),
        (article(), "article", "JOUR", "article-journal"),
        (preprint(), "misc", "RPRT", "article"),
    ],
)
def test_the_type_follows_the_kind_of_venue(
    publication: Publication, entry_type: str, ris_type: str, csl_type: str
) -> None:
    assert entry(publication).entry_type == entry_type
    assert record(publication)["type_of_reference"] == ris_type
    assert csl(publication)["type"] == csl_type


def test_a_preprint_is_one_of_arxiv_and_has_no_earlier_version() -> None:
    fields = fields_of(preprint())
    assert (fields["howpublished"], fields["note"]) == ("arXiv", "arXiv:2210.17323")
    risen = record(preprint())
    assert (risen["publisher"], risen["issn"]) == ("arXiv", "arXiv:2210.17323")
    assert risen["type_of_work"] == "Preprint"
    item = csl(preprint())
    assert (item["publisher"], item["number"]) == ("arXiv", "arXiv:2210.17323")
    assert "container-title" not in item
    assert "(2022). An Example. arXiv:2210.17323." in reference(preprint())
    assert "(2022). An Example. arXiv. " in reference(preprint(arxiv_id=None))
    assert dict(page_tags(preprint()))["citation_technical_report_number"] == "arXiv:2210.17323"
    assert "citation_technical_report_number" not in dict(page_tags(gptq()))


def test_identifiers_are_written_as_they_are() -> None:
    publication = cited(
        arxiv_id="2301.00774", doi="10.1000/a_b(1)<2>", url="https://example.org/a;b?c=%20_d"
    )
    assert entry(publication).key == "doe2023example"
    assert fields_of(publication)["doi"] == "10.1000/a_b(1)<2>"
    risen = record(publication)
    assert risen["id"] == csl(publication)["id"] == "doe2023example"
    assert risen["doi"] == csl(publication)["DOI"] == "10.1000/a_b(1)<2>"
    assert risen["accession_number"] == "arXiv:2301.00774"
    assert risen["urls"] == ["https://example.org/a%3Bb?c=%20_d"]


def test_what_would_end_a_field_of_bibtex_is_written_as_addresses_write_it() -> None:
    publication = cited(doi="10.1000/{a}\\b")
    assert fields_of(publication)["doi"] == "10.1000/%7Ba%7D%5Cb"
    assert csl(publication)["DOI"] == "10.1000/{a}\\b"


@pytest.mark.parametrize("membership", ["named", "reconstructed", "extension"])
def test_the_membership_is_a_keyword(membership: str) -> None:
    publication = cited(membership=membership)
    assert fields_of(publication)["keywords"].split(", ")[-1] == membership
    assert record(publication)["keywords"][-1] == membership
    assert csl(publication)["keyword"].split(", ")[-1] == membership
    assert ("citation_keywords", membership) in page_tags(publication)


# Other programs make of it what a reader expects


@pytest.mark.parametrize(
    ("publication", "expected"),
    [
        (gptq(), ["Í. Goiri.", "An Example.", "Learning Representations (ICLR)", "May 2023."]),
        (article(), ["IEEE Transactions", "34(5):1466–1478, May 2023."]),
        (preprint(), ["arXiv, October 2022. arXiv:2210.17323."]),
    ],
)
def test_pybtex_prints_the_entry_in_a_classic_style(
    publication: Publication, expected: list[str]
) -> None:
    publication.authors = ["Goiri, Íñigo"]
    printed = pybtex.format_from_string(
        bibtex([publication]), "plain", output_backend="plaintext", abbreviate_names=True
    )
    for part in expected:
        assert part in one_line(printed)


@pytest.mark.parametrize(
    ("publication", "expected"),
    [
        (gptq(), ["Goiri, Í. (2023) “An Example”, ", "Learning Representations (ICLR)"]),
        (article(), ["Goiri, Í. (2023)", "Distributed Systems, 34(5), pp. 1466–1478."]),
        (preprint(), ["Goiri, Í. (2022) “An Example”. arXiv."]),
    ],
)
def test_a_citation_processor_prints_the_item(
    publication: Publication, expected: list[str]
) -> None:
    publication.authors = ["Goiri, Íñigo"]
    source = CiteProcJSON(json.loads("".join(csl_parts([publication]))))
    style = CitationStylesStyle("harvard-cite-them-right", validate=False)
    bibliography = CitationStylesBibliography(style, source, citeproc_formatter.plain)
    bibliography.register(Citation([CitationItem(publication.key)]))
    printed = str(bibliography.bibliography()[0])
    for part in expected:
        assert part in printed


def test_an_empty_list_is_one_in_csl_json_too() -> None:
    assert json.loads("".join(csl_parts([]))) == []


def test_a_comment_can_not_start_an_entry() -> None:
    comment = bibtex_comment("from /publications/?q=@misc{x,\n@misc{y,")
    assert "@" not in comment
    assert comment.count("\n") == 2


def test_a_reference_reads_as_in_a_bibliography() -> None:
    publication = cited(authors=["Frantar, Elias", "van der Berg, Jan-Piet"], doi="10.1000/1")
    assert reference(publication) == (
        "Frantar E, van der Berg JP (2023). An Example. MLSys 2023. https://doi.org/10.1000/1"
    )


def test_of_more_than_six_authors_a_reference_names_six() -> None:
    names = [f"Doe, {letter}" for letter in "ABCDEFG"]
    six = "Doe A, Doe B, Doe C, Doe D, Doe E, Doe F"
    assert reference(cited(authors=names[:6])).startswith(f"{six} (2023). ")
    assert reference(cited(authors=names)).startswith(f"{six} et al. (2023). ")


# Tags of a page


def test_a_page_tells_reference_managers_what_it_cites() -> None:
    tags = page_tags(article(authors=["Doe, Jane", "Roe, R"], doi="10.1000/1"))
    assert [content for name, content in tags if name == "citation_author"] == [
        "Doe, Jane",
        "Roe, R",
    ]
    once = dict(tags)
    assert once["citation_title"] == "An Example"
    assert once["citation_publication_date"] == "2023/05"
    assert once["citation_journal_title"].startswith("IEEE Transactions")
    assert (once["citation_volume"], once["citation_issue"]) == ("34", "5")
    assert (once["citation_firstpage"], once["citation_lastpage"]) == ("1466", "1478")
    assert (once["citation_doi"], once["citation_arxiv_id"]) == ("10.1000/1", "2210.17323")
    assert "citation_conference_title" in dict(page_tags(gptq()))
    assert dict(page_tags(preprint()))["citation_technical_report_institution"] == "arXiv"


def test_only_one_kind_of_venue_is_named() -> None:
    kinds = {"citation_journal_title", "citation_conference_title"}
    kinds |= {"citation_technical_report_institution"}
    for publication in (gptq(), article(), preprint()):
        assert len(kinds & dict(page_tags(publication)).keys()) == 1
