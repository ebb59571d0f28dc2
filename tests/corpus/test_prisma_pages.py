"""The PRISMA page, its exports, and the diagram of an uploaded CSV."""

import csv
import io
import json
import re
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from reviewapp.corpus.models import Review
from reviewapp.corpus.prisma.csv_file import read
from reviewapp.limits.pages import limited
from reviewapp.rendering import renderer
from tests.corpus.prisma_flows import with_reasons

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


def words(response: Any) -> str:
    """What a page says, without its markup."""
    return " ".join(unescape(re.sub("<[^>]*>", " ", response.content.decode())).split())


def diagram(response: Any) -> str:
    """The words of the diagram on a page."""
    svg = response.content.decode().partition("<svg")[2].partition("</svg>")[0]
    return " ".join(unescape(text) for text in re.findall("<text[^>]*>([^<]*)<", svg))


def test_the_review_shows_two_numbers_and_invents_none(client: Client, review: Review) -> None:
    data = json.loads(client.get("/prisma/export.json").content)
    [named] = [row for row in data["rows"] if row["key"] == "database_specific_results"]
    unnamed = (review.database_count or 0) - len(named["items"])
    assert unnamed > 0
    assert f"{unnamed} more database not named" in named["note"]
    review.databases.create(name="Another", grade="C")
    review.database_count = len(named["items"]) + 1
    review.save()
    data = json.loads(client.get("/prisma/export.json").content)
    assert "not named" not in str(data)
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


def test_what_was_assumed_of_a_file_is_told_on_the_page_and_in_the_export(
    client: Client, review: None
) -> None:
    rows = list(csv.reader(io.StringIO(filled(client, **{**FILLED, "database_results": "1.160"}))))
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows(rows)
    data = text.getvalue().replace("Wrong outcome", "Qualité").encode("cp1252")
    page = client.post("/prisma/import/", {"file": SimpleUploadedFile("flow.csv", data)})
    assert "Qualité (n = 60)" in words(page)
    assert "line 24: It is not UTF-8 and read as Western European" in words(page)
    assert "read as separated by semicolons" in words(page)
    assert "“1.160” is read as 1160" in words(page)
    asked = {"file": SimpleUploadedFile("flow.csv", data), "export": "json"}
    told = json.loads(client.post("/prisma/import/", asked).content)["notices"]
    assert {"line": 6, "row": "database_results", "text": "“1.160” is read as 1160"} in told


def test_the_text_of_a_refused_file_stays_in_the_box_and_its_lines_are_marked(
    client: Client, review: None
) -> None:
    text = filled(client, **{**FILLED, "duplicates": "about 20"})
    response = client.post("/prisma/import/", {"file": SimpleUploadedFile("a.csv", text.encode())})
    page = response.content.decode()
    assert response.status_code == 400
    box = page.partition('<textarea name="text"')[2].partition("</textarea>")[0]
    assert "duplicates.html,about 20" in box
    assert '<li value="14"><code><mark>duplicates,node8,' in page
    assert "“about 20” is not a whole number of 0 or more" in page


def test_of_long_lines_that_cannot_be_read_both_ends_are_shown(
    client: Client, review: None
) -> None:
    reasons = f"{'Wrong outcome, 1; ' * 100}Not LLM 4"
    text = filled(client, **{**FILLED, "dbr_excluded": reasons, "new_reports": "some"})
    page = client.post("/prisma/import/", {"text": text}).content.decode()
    first, last = map(unescape, re.findall("<mark>(.*?)</mark>", page))
    assert first.startswith("dbr_excluded,")
    assert first.endswith('Not LLM 4"')
    assert len(first) < 350
    assert last.startswith("new_reports,")
    assert last.endswith(",some")
    ends = text + "\r\nmistyped,,,,,,,1"
    page = client.post("/prisma/import/", {"text": ends}).content.decode()
    assert re.findall("<mark>(.*?)</mark>", page)[-1] == "mistyped,,,,,,,1"


def test_an_author_s_labels_are_drawn_with_the_official_ones_in_the_table(
    client: Client, review: None
) -> None:
    text = filled(client, **FILLED).replace(",Databases,", ",Records from libraries,")
    text = text.replace(",Screening,", ",Sifting,").replace(
        ",Identification of new studies via databases and registers,Yellow",
        ",Found in bases,Yellow",
    )
    page = client.post("/prisma/import/", {"text": text})
    assert "Records from libraries (n = 160)" in words(page)
    assert "Databases drawn as “Records from libraries”" in words(page)
    assert "“Screening” is drawn as “Sifting”" in words(page)
    drawn = client.post("/prisma/import/", {"text": text, "export": "svg"}).content.decode()
    assert {">Sifting<", ">Found in bases<"} <= set(re.findall(">[^<]+<", drawn))


def test_lines_that_nobody_reported_are_left_out_unless_asked_for(
    client: Client, review: None
) -> None:
    unknown = {"register_results": "NA", "excluded_automatic": "", "new_studies": "NA"}
    boxes = dict.fromkeys(["dbr_notretrieved_reports", "dbr_assessed", "new_reports"], "NA")
    text = filled(client, **{**FILLED, **unknown, **boxes})
    drawn = diagram(client.post("/prisma/import/", {"text": text}))
    assert "Registers" not in drawn
    assert "automation tools" not in drawn
    assert "Reports not retrieved (n = not reported)" in drawn, "a main box stays"
    assert "Studies included in review (n = not reported) Reports of" in drawn
    drawn = diagram(client.post("/prisma/import/", {"text": text, "unreported": "on"}))
    assert "Registers (n = not reported)" in drawn
    assert "automation tools (n = not reported)" in drawn
    assert "Registers (n = not reported)" in diagram(client.get("/prisma/"))


def test_a_total_in_the_heading_and_reasons_at_the_first_stage_are_options(
    client: Client, review: None
) -> None:
    text = filled(client, **FILLED)
    text += '\r\ntitle_abstract_reasons,NA,box5,NA,NA,NA,NA,"Not LLM, 20; No results, 5"'
    drawn = diagram(client.post("/prisma/import/", {"text": text}))
    assert "Reports excluded: Wrong outcome (n = 60)" in drawn
    assert "Not LLM (n = 20)" not in drawn
    asked = {"text": text, "totals": "on", "screening_reasons": "on"}
    drawn = diagram(client.post("/prisma/import/", asked))
    assert "Reports excluded (n = 88): Wrong outcome (n = 60)" in drawn
    assert "Records excluded (n = 25) Not LLM (n = 20) No results (n = 5)" in drawn


def test_an_image_that_cannot_be_is_answered_on_the_page_with_what_can(
    client: Client, review: None
) -> None:
    reasons = "; ".join(f"A reason of some length, number {chr(65 + n)}, {n}" for n in range(25))
    bases = "; ".join(f"Database {chr(65 + n)}, {n}" for n in range(13))
    text = filled(client, **{**FILLED, "dbr_excluded": reasons, "database_specific_results": bases})
    asked = {"text": text, "variant": "updated-v2", "export": "png"}
    response = client.post("/prisma/import/", {**asked, "dpi": 600})
    assert response.status_code == 400
    assert "Your PRISMA 2020 flow diagram" in words(response)
    most = int(re.findall("can have at most ([0-9]+) dpi", words(response))[0])
    assert "the PDF and the SVG are sharp at any size" in words(response)
    assert client.post("/prisma/import/", {**asked, "dpi": most}).status_code == 200
    assert client.post("/prisma/import/", {**asked, "dpi": most + 1}).status_code == 400


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
    for address in ("/prisma/", "/prisma/export.csv", "/prisma/template.csv"):
        assert client.post(address).status_code == 405


def test_too_many_requests_are_told_when_to_come_back(client: Client, review: None) -> None:
    from django.http import HttpResponse
    from django.test import RequestFactory

    @limited(2)
    def costly(request: object) -> HttpResponse:
        return HttpResponse("ok")

    def statuses(*addresses: str) -> list[int]:
        asked = (RequestFactory().get("/", REMOTE_ADDR=address) for address in addresses)
        return [costly(request).status_code for request in asked]

    assert statuses(*["192.0.2.1"] * 3, "::ffff:192.0.2.1") == [200, 200, 429, 429]
    refused = costly(RequestFactory().get("/", REMOTE_ADDR="192.0.2.1"))
    assert 0 < int(refused["Retry-After"]) <= 60
    assert "Try again in" in words(refused)
    assert statuses("192.0.2.2") == [200], "another address"
    own = [f"2001:db8:0:1:{part}::1" for part in ("1", "2", "ffff")]
    assert statuses(*own, "2001:db8:0:2::1") == [200, 200, 429, 200], "a network has 64 bits"
    assert statuses("", "unknown", "") == [200, 200, 429], "who is not known counts together"


def test_an_image_over_a_limit_is_a_400_that_says_what_to_do(
    client: Client, review: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"text": with_reasons(5000), "export": "png"}
    response = client.post("/prisma/import/", {**asked, "dpi": 600})
    assert response.status_code == 400
    page = response.content.decode()
    assert "dpi (50,000,000 pixels); the SVG is sharp at any size." in page
    monkeypatch.setattr(renderer, "SECONDS", 0.2)
    response = client.post("/prisma/import/", {**asked, "dpi": 100})
    assert response.status_code == 400
    assert "more than 0.2 s. Ask for fewer dpi, or for the SVG." in response.content.decode()
