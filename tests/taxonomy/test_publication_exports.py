"""Files of exactly the publications that the page shows."""

import csv
import io
import json

import bibtexparser
import pytest
import rispy
from django.test import Client

from benchmarks.synthetic import add_publications
from reviewapp.corpus.models import Publication, Review
from tests.factories import publication
from tests.queries import count_queries

pytestmark = pytest.mark.django_db

QUERY = "class=inference&from=2022&sort=title"


def export(client: Client, extension: str, query: str = QUERY) -> str:
    response = client.get(f"/publications/export.{extension}?{query}")
    assert response.status_code == 200
    assert f'filename="publications.{extension}"' in response["Content-Disposition"]
    return response.getvalue().decode()


def keys(query: str = QUERY) -> list[str]:
    found = Publication.objects.filter(classes__slug="inference", year__gte=2022)
    return [p.key for p in sorted(found, key=lambda p: p.title.lower())]


def test_csv_holds_all_pages_in_their_order_and_says_where_it_is_from(
    client: Client, review: Review
) -> None:
    rows = list(csv.DictReader(io.StringIO(export(client, "csv"))))
    assert len(rows) > 25
    assert sorted(row["key"] for row in rows) == sorted(keys())
    titles = [row["title"].lower() for row in rows]
    assert titles == sorted(titles)
    row = next(row for row in rows if row["key"] == "frantar2023sparsegpt")
    assert row["authors"] == "Frantar, Elias; Alistarh, Dan"
    assert row["strategies"] == "algorithmic-optimization; pruning"
    assert (row["membership"], row["membership_grade"], row["claims"]) == ("named", "C", "3")
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
    assert record["claims"][1] == {
        "objective": "cost",
        "metric": "pruning time",
        "value": 4.5,
        "unit": "h",
        "qualifier": "less-than",
        "direction": "lower_better",
        "baseline": None,
        "conditions": "OPT-175B and BLOOM-176B; a third-party note gives the setup as one 80GB A100"
        " and about 4 hours",
        "hardware": None,
        "model": None,
        "source": "abstract",
    }


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
        assert fields["author"].count(" and ") == len(found.authors) - 1
        assert record["authors"] == found.authors
        assert record["title"] == found.title
        assert record["abstract"] == found.summary
        assert record["keywords"] == [strategy.name for strategy in found.strategies.all()]
        assert record["year"] == fields["year"] == str(found.year)


def test_cells_that_a_spreadsheet_would_run_are_neutralised(client: Client, review: Review) -> None:
    publication(key="evil2023", title='=HYPERLINK("http://x")', authors=["@SUM(A1)"], venue="+1")
    rows = csv.DictReader(io.StringIO(export(client, "csv", "q=hyperlink")))
    row = next(row for row in rows if row["key"] == "evil2023")
    assert row["title"] == '\'=HYPERLINK("http://x")'
    assert row["authors"] == "'@SUM(A1)"
    assert row["venue"] == "'+1"


def test_an_empty_result_is_an_empty_file(client: Client, review: Review) -> None:
    assert len(export(client, "csv", "q=zebra").splitlines()) == 1
    assert json.loads(export(client, "json", "q=zebra"))["publications"] == []
    assert rispy.loads(export(client, "ris", "q=zebra")) == []


@pytest.mark.parametrize("extension", ["bib", "ris", "json"])
def test_one_publication_is_exported_alone(client: Client, review: Review, extension: str) -> None:
    response = client.get(f"/publications/frantar2023sparsegpt/export.{extension}")
    body = response.getvalue().decode()
    assert "SparseGPT: Massive" in body
    assert body.count("frantar2023sparsegpt") >= 1
    assert "QMoE" not in body


def test_an_export_asks_as_often_for_more_publications(client: Client, review: Review) -> None:
    address = "/publications/export.csv?sort=claims"
    before = count_queries(client, address)
    add_publications(150)
    assert count_queries(client, address) == before
