"""Files of exactly the publications that the page shows."""

import csv
import io
import json
import re

import bibtexparser
import pandas as pd
import pytest
import rispy
from django.test import Client
from pybtex.database import parse_string
from pylatexenc.latex2text import LatexNodes2Text

from reviewapp.corpus.models import Publication, Review
from tests.factories import publication

pytestmark = pytest.mark.django_db

QUERY = "class=inference&from=2022&sort=title"


def export(client: Client, extension: str, query: str = QUERY, *, encoding: str = "utf-8") -> str:
    response = client.get(f"/publications/export.{extension}?{query}")
    assert response.status_code == 200
    assert f'filename="publications.{extension}"' in response["Content-Disposition"]
    return str(response.getvalue().decode(encoding))


def as_frame(client: Client, query: str = "") -> pd.DataFrame:
    """The CSV as pandas reads it without being told anything of it."""
    return pd.read_csv(io.BytesIO(export(client, "csv", query).encode()))


def keys(query: str = QUERY) -> list[str]:
    found = Publication.objects.filter(classes__slug="inference", year__gte=2022)
    return [p.key for p in sorted(found, key=lambda p: p.title.lower())]


def test_csv_holds_all_pages_in_their_order_and_says_where_it_is_from(
    client: Client, review: Review
) -> None:
    rows = list(csv.DictReader(io.StringIO(export(client, "csv", encoding="utf-8-sig"))))
    assert len(rows) > 25
    assert sorted(row["key"] for row in rows) == sorted(keys())
    titles = [row["title"].lower() for row in rows]
    assert titles == sorted(titles)
    row = next(row for row in rows if row["key"] == "frantar2023sparsegpt")
    assert row["authors"] == "Frantar, Elias; Alistarh, Dan"
    assert row["strategies"] == "algorithmic-optimization; pruning"
    assert (row["membership"], row["membership_grade"], row["claims"]) == ("named", "C", "3")
    assert row["claim_codes"].split("; ") == [f"frantar2023sparsegpt-{n}" for n in range(3)]
    assert row["export_query"].endswith(f"/publications/export.csv?{QUERY}")
    assert "CC BY 4.0" in row["export_licence"]


def test_json_holds_the_claims_and_says_null_for_what_nobody_reports(
    client: Client, review: Review
) -> None:
    content = json.loads(export(client, "json"))
    assert content["export"]["query"].endswith(QUERY)
    found = {record["key"]: record for record in content["publications"]}
    assert sorted(found) == sorted(keys())
    record = found["frantar2023sparsegpt"]
    assert record["doi"] is None
    assert record["in_review"] is True
    time = record["claims"][1]
    assert (time["code"], time["value"], time["unit"]) == ("frantar2023sparsegpt-1", 4.5, "h")
    assert (time["qualifier"], time["direction"]) == ("less-than", "lower_better")
    assert time["baseline"] is None
    assert time["axis"]["quantity"] == "duration"
    assert time["strategies"] == ["pruning"]
    assert [device["name"] for device in time["devices"]] == ["NVIDIA A100"]
    assert time["certainty"]["device_named"] == "yes"
    assert "frantar2022gptq position 0" in time["remarks"][0]["text"]


def test_bibtex_and_ris_of_the_real_corpus_are_read_back(client: Client, review: Review) -> None:
    library = bibtexparser.parse_string(export(client, "bib", ""))
    assert not library.failed_blocks
    records = {record["id"]: record for record in rispy.loads(export(client, "ris", ""))}
    assert len(library.entries) == len(records) == 73
    for found in Publication.objects.prefetch_related("strategies"):
        fields = {field.key: field.value for field in library.entries_dict[found.key].fields}
        record = records[found.key]
        assert fields.get("doi", "") == record.get("doi", "") == (found.doi or "")
        assert fields.get("eprint") == found.arxiv_id
        assert fields.get("volume", "") == record.get("volume", "") == found.volume
        assert fields.get("number", "") == record.get("number", "") == found.number
        assert fields["author"].count(" and ") == len(found.authors) - 1
        assert record["authors"] == found.authors
        assert record["title"] == found.title
        assert record["abstract"] == found.summary
        names = [strategy.name for strategy in found.strategies.all()]
        assert record["keywords"] == [*names, found.membership]
        assert record["year"] == fields["year"] == str(found.published_year)


def test_no_year_of_the_real_corpus_contradicts_its_venue(client: Client, review: Review) -> None:
    entries = parse_string(export(client, "bib", ""), "bibtex").entries
    gptq = entries["frantar2022gptq"].fields
    assert gptq["booktitle"] == "International Conference on Learning Representations (ICLR)"
    assert gptq["year"] == "2023"
    assert gptq["note"] == "First version: arXiv:2210.17323, October 2022"
    for found in Publication.objects.exclude(venue_kind="preprint"):
        years = re.findall(r"\b20\d\d\b", found.venue)
        assert years in ([entries[found.key].fields["year"]], [])
    for key, number in (("fang2021patrickstar", "1"), ("lai2022merak", "5")):
        assert entries[key].type == "article"
        assert (entries[key].fields["volume"], entries[key].fields["number"]) == ("34", number)


def test_pybtex_reads_every_author_of_the_real_corpus(client: Client, review: Review) -> None:
    entries = parse_string(export(client, "bib", ""), "bibtex").entries
    assert len(entries) == 73
    for found in Publication.objects.all():
        people = entries[found.key].persons["author"]
        read = [LatexNodes2Text().latex_to_text(str(person)) for person in people]
        assert read == found.authors
    splitwise = "".join(map(str, entries["patel2023splitwise"].persons["author"]))
    assert r"{\'I}{\~n}igo" in splitwise


def test_csl_json_holds_the_real_corpus(client: Client, review: Review) -> None:
    items = {item["id"]: item for item in json.loads(export(client, "csl.json", ""))}
    assert len(items) == 73
    for found in Publication.objects.all():
        item = items[found.key]
        assert item["issued"]["date-parts"][0][0] == found.published_year
        assert [", ".join(name.values()) for name in item["author"]] == found.authors
        assert item.get("DOI") == found.doi
    assert items["shoeybi2019megatron"]["type"] == "article"


def test_pandas_reads_the_csv_as_it_is(client: Client, review: Review) -> None:
    frame = as_frame(client)
    assert frame.columns[0] == "key"
    known = {p.key: str(p.arxiv_id) for p in Publication.objects.exclude(arxiv_id=None)}
    identifiers = frame.set_index("key")["arxiv_id"].dropna()
    assert identifiers.to_dict() == {key: f"arXiv:{number}" for key, number in known.items()}
    assert any(number.endswith("0") for number in known.values())
    gptq = frame.set_index("key").loc["frantar2022gptq"]
    assert (gptq["venue_acronym"], gptq["published_year"]) == ("ICLR", 2023)
    assert (gptq["first_version_year"], gptq["first_version_month"]) == (2022, 10)
    authors = frame.set_index("key")["authors"]
    assert "Goiri, Íñigo" in authors["patel2023splitwise"].split("; ")


@pytest.mark.parametrize("extension", ["csv", "json", "bib", "ris", "csl.json"])
def test_every_file_can_be_had_without_extensions(
    client: Client, review: Review, extension: str
) -> None:
    counted = set(Publication.objects.in_review().values_list("key", flat=True))
    others = set(Publication.objects.values_list("key", flat=True)) - counted
    for address in ("/publications/", "/taxonomy/pruning/"):
        if address != "/publications/" and extension in ("csv", "json"):
            continue  # those of a strategy are its claims, and of the review's own anyway
        whole = client.get(f"{address}export.{extension}").getvalue().decode()
        part = client.get(f"{address}export.{extension}?counted=yes").getvalue().decode()
        assert any(key in whole for key in others)
        assert not any(key in part for key in others)
        assert {key for key in counted if key in whole} == {key for key in counted if key in part}
        assert client.get(f"{address}export.{extension}?counted=perhaps").status_code == 400


def test_the_menu_offers_what_the_review_counts(client: Client, review: Review) -> None:
    html = client.get("/publications/?class=inference").content.decode()
    assert 'href="/publications/export.csl.json?class=inference"' in html
    assert 'href="/publications/export.bib?class=inference&amp;counted=yes"' in html
    html = client.get("/publications/?counted=yes").content.decode()
    assert html.count('href="/publications/export.bib?counted=yes"') == 1
    assert "65 publications: without extensions; 65 counted in the review" in html


def test_cells_that_a_spreadsheet_would_run_are_neutralised(client: Client, review: Review) -> None:
    publication(key="evil2023", title='=HYPERLINK("http://x")', authors=["@SUM(A1)"], venue="+1")
    rows = csv.DictReader(io.StringIO(export(client, "csv", "q=hyperlink", encoding="utf-8-sig")))
    row = next(row for row in rows if row["key"] == "evil2023")
    assert row["title"] == '\'=HYPERLINK("http://x")'
    assert row["authors"] == "'@SUM(A1)"
    assert row["venue"] == "'+1"


def test_an_empty_result_is_an_empty_file(client: Client, review: Review) -> None:
    assert len(export(client, "csv", "q=zebra").splitlines()) == 1
    assert json.loads(export(client, "json", "q=zebra"))["publications"] == []
    assert rispy.loads(export(client, "ris", "q=zebra")) == []
    assert json.loads(export(client, "csl.json", "q=zebra")) == []


@pytest.mark.parametrize("extension", ["bib", "ris", "csl.json", "json"])
def test_one_publication_is_exported_alone(client: Client, review: Review, extension: str) -> None:
    response = client.get(f"/publications/frantar2023sparsegpt/export.{extension}")
    body = response.getvalue().decode()
    assert "SparseGPT: Massive" in body
    assert body.count("frantar2023sparsegpt") >= 1
    assert "QMoE" not in body
