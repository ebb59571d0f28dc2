"""The PRISMA page, its exports, and the diagram of an uploaded CSV."""

import csv
import io
import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from reviewapp.corpus.prisma.csv_file import read
from reviewapp.limits.pages import limited

pytestmark = pytest.mark.django_db

FILLED = {
    "database_results": "160",
    "register_results": "2",
    "duplicates": "23",
    "excluded_automatic": "0",
    "excluded_other": "0",
    "records_screened": "139",
    "records_excluded": "25",
    "dbr_sought_reports": "114",
    "dbr_notretrieved_reports": "4",
    "dbr_assessed": "110",
    "dbr_excluded": "Wrong outcome, 60; Not English, 28",
    "new_studies": "22",
    "new_reports": "22",
}


def filled(client: Client, **numbers: str) -> str:
    """The empty template with some numbers written in by its user."""
    empty = client.get("/prisma/template.csv").content.decode()
    rows = list(csv.reader(io.StringIO(empty)))
    for row in rows[1:]:
        row[7] = numbers.get(row[0], row[7])
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def test_the_review_shows_two_numbers_and_invents_none(client: Client, review: None) -> None:
    data = json.loads(client.get("/prisma/export.json").content)
    assert {row["key"]: row["n"] for row in data["rows"] if row["n"] is not None} == {
        "database_results": 983,
        "new_reports": 65,
    }
    assert {row["origin"] for row in data["rows"] if row["n"] is None and not row["items"]} == {
        "not reported"
    }
    page = client.get("/prisma/").content.decode()
    assert "(n = 983)" in page
    assert "(n = not reported)" in page
    assert "/publications/?membership=named&amp;membership=reconstructed" in page


@pytest.mark.parametrize("variant", ["new-v1", "new-v2", "updated-v1", "updated-v2"])
def test_each_template_can_be_chosen(client: Client, review: None, variant: str) -> None:
    assert client.get("/prisma/", {"variant": variant}).status_code == 200
    drawn = client.get("/prisma/export.svg", {"variant": variant}).content.decode()
    assert ("via other methods" in drawn) == variant.endswith("v2")
    assert ("Previous studies" in drawn) == variant.startswith("updated")


def test_exports_are_what_they_say(client: Client, review: None) -> None:
    starts = {
        "svg": b"<svg",
        "png": b"\x89PNG",
        "pdf": b"%PDF",
        "csv": b"data,node,box",
        "json": b"{",
    }
    for extension, start in starts.items():
        response = client.get(f"/prisma/export.{extension}")
        assert response.status_code == 200
        assert response.content.startswith(start)
        assert f"prisma-new-v1.{extension}" in response["Content-Disposition"]


def test_the_exported_csv_draws_the_same_diagram_again(client: Client, review: None) -> None:
    exported = client.get("/prisma/export.csv").content
    response = client.post("/prisma/import/", {"text": exported.decode(), "export": "csv"})
    assert response.content == exported
    assert read(exported).flow.n("database_results") == 983


def test_a_filled_csv_is_drawn_checked_and_exported(client: Client, review: None) -> None:
    text = filled(client, **FILLED)
    upload = SimpleUploadedFile("flow.csv", text.encode(), "text/csv")
    page = client.post("/prisma/import/", {"file": upload}).content.decode()
    assert "(n = 139)" in page
    assert "declared in flow.csv" in page
    assert "do not hold" not in page
    exported = client.post("/prisma/import/", {"text": text, "export": "json"})
    checks = {c["code"]: c["result"] for c in json.loads(exported.content)["checks"]}
    assert [checks[code] for code in ("E2", "E3", "E4", "E5")] == ["holds"] * 4


def test_a_sum_that_does_not_balance_is_shown(client: Client, review: None) -> None:
    text = filled(client, **{**FILLED, "records_screened": "140"})
    page = client.post("/prisma/import/", {"text": text}).content.decode()
    assert "do not hold" in page
    assert "(n = 140)" in page, "the number stays as it was declared"


def test_every_problem_of_an_upload_is_named_and_the_text_kept(
    client: Client, review: None
) -> None:
    text = filled(client, **{**FILLED, "register_results": "-3", "dbr_assessed": "1.5"})
    response = client.post("/prisma/import/", {"text": text})
    page = response.content.decode()
    assert response.status_code == 400
    assert "register_results" in page
    assert "dbr_assessed" in page
    assert "Wrong outcome, 60" in page


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"text": "x" * 100_000},
        {"text": "a,b\n1,2"},
        {"text": "data,node", "variant": "nope"},
        {"file": SimpleUploadedFile("x.csv", b"\xff\xfe\x00" * 100)},
        {"file": SimpleUploadedFile("x.csv", b"data," * 20_000)},
    ],
)
def test_a_hopeless_upload_is_refused_with_a_reason(
    client: Client, review: None, data: dict[str, object]
) -> None:
    response = client.post("/prisma/import/", data)
    assert response.status_code == 400
    assert 'role="alert"' in response.content.decode()


def test_a_file_that_would_be_longer_written_again_is_drawn_and_kept_as_it_is(
    client: Client, review: None
) -> None:
    reasons = "reason;" * 5_000
    text = filled(client, dbr_excluded=reasons)
    page = client.post("/prisma/import/", {"text": text})
    assert page.status_code == 200
    assert reasons in page.content.decode()
    refused = client.post("/prisma/import/", {"text": text, "export": "csv"})
    assert refused.status_code == 400
    assert "more than 65,536" in refused.content.decode()


def test_script_in_an_upload_stays_text(client: Client, review: None) -> None:
    reason = "<script>alert(1)</script>"
    text = filled(client, **{**FILLED, "dbr_excluded": f"{reason}, 60; Not English, 28"})
    page = client.post("/prisma/import/", {"text": text}).content.decode()
    assert reason not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "address",
    [
        "/prisma/?variant=nope",
        "/prisma/?variant=%00",
        "/prisma/?variant=" + "x" * 10_000,
        "/prisma/export.png?dpi=9999",
        "/prisma/export.png?dpi=abc",
        "/prisma/export.png?dpi=nan",
        "/prisma/export.png?dpi=100&scale=2",
        "/prisma/export.png?scale=0",
    ],
)
def test_impossible_options_are_a_400_that_says_why(
    client: Client, review: None, address: str
) -> None:
    assert client.get(address).status_code == 400


def test_an_unknown_export_is_a_404(client: Client, review: None) -> None:
    assert client.get("/prisma/export.exe").status_code == 404
    assert client.get("/prisma/import/").status_code == 405


def test_too_many_requests_are_told_when_to_come_back(client: Client, review: None) -> None:
    from django.http import HttpResponse
    from django.test import RequestFactory

    @limited(2)
    def costly(request: object) -> HttpResponse:
        return HttpResponse("ok")

    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")
    statuses = [costly(request).status_code for _ in range(5)]
    assert 429 in statuses
    assert statuses.count(200) >= 2
