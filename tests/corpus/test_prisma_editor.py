"""The editor: a diagram as fields, a link or a CSV, of which nothing is stored."""

import json
import re
from html import unescape
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.test import Client
from hypothesis import given, settings

from reviewapp.corpus.prisma.csv_file import TEMPLATE, read, write
from reviewapp.corpus.prisma.editor import PrismaEdit, as_fields
from reviewapp.corpus.prisma.views import EDITS_PER_MINUTE
from reviewapp.limits.models import Count
from reviewapp.limits.pages import EXPORTS_PER_MINUTE
from tests.corpus.prisma_flows import FILLED, any_label, flows

pytestmark = pytest.mark.django_db

SUMS = {
    "database_results": "160",
    "register_results": "0",
    "duplicates": "20",
    "excluded_automatic": "0",
    "excluded_other": "0",
    "records_screened": "140",
}


def link(page: str) -> str:
    """The address behind "Link to this diagram"."""
    found = re.search('<a href="([^"]*)">Link to this diagram', page)
    assert found
    return unescape(found[1])


@settings(max_examples=50)
@given(flows(any_label))
def test_a_file_comes_out_of_the_fields_as_it_went_in(flow):
    parsed = read(write(flow, {"database_results": ("Libraries, all", "tip", "a.html")}))
    text = write(parsed.flow, parsed.texts).decode()
    form = PrismaEdit({"text": text, **as_fields(parsed)})
    assert form.is_valid(), form.errors
    assert write(form.parsed.flow, form.parsed.texts).decode() == text


def test_a_file_is_opened_changed_and_kept_as_a_csv(client: Client, review: None) -> None:
    text = write(FILLED).replace(b"database_results.html,678", b"mine.html,678").decode()
    page = client.post("/prisma/edit/", {"text": text}).content.decode()
    assert 'name="records_screened" value="533"' in page
    assert "Wrong population, 50\nNot in English, 43" in page
    changed = {
        "text": text,
        **as_fields(read(text)),
        "records_screened": "534",
        "dbr_excluded": "Wrong outcome, not latency, 90\r\nNot in English (n = 3)",
        "label.records_screened": "Titles read",
    }
    page = client.post("/prisma/edit/", changed).content.decode()
    assert "534, but 678 + 22 − 167 − 0 − 0 = 533" in page
    kept = read(client.post("/prisma/edit/", {**changed, "export": "csv"}).content)
    assert kept.flow.n("records_screened") == 534
    assert kept.flow["dbr_excluded"].items == (
        ("Wrong outcome, not latency", 90),
        ("Not in English", 3),
    )
    assert kept.labels == {"records_screened": "Titles read"}
    assert kept.texts["database_results"][2] == "mine.html"


def test_a_link_holds_the_whole_state_in_plain_keys(client: Client, review: None) -> None:
    sent = {**SUMS, "dbr_excluded": "Ratio 1:2, 4\nOther, 3", "label.screening": "Sifting & more"}
    page = client.post("/prisma/edit/", {**sent, "totals": "on"}).content.decode()
    address = link(page)
    assert {key: values for key, (values,) in parse_qs(urlsplit(address).query).items()} == {
        **sent,
        "totals": "on",
    }
    again = client.get(address).content.decode()
    assert link(again) == address
    assert "Reports excluded (n = 7):" in again
    assert ">Sifting &amp; more<" in again


def test_a_state_too_long_for_a_link_is_kept_as_a_csv(client: Client, review: None) -> None:
    reasons = "\n".join(f"Reason {chr(65 + n % 26)}, {n}" for n in range(300))
    page = client.post("/prisma/edit/", {"dbr_excluded": reasons}).content.decode()
    assert "too long for a link: keep its CSV" in page
    assert "Link to this diagram" not in page


def test_the_review_s_numbers_are_edited_as_a_copy(client: Client, review: None) -> None:
    page = client.get("/prisma/").content.decode()
    found = re.search('href="(/prisma/edit/[?][^"]*)">Edit a copy', page)
    assert found
    copy = client.get(unescape(found[1])).content.decode()
    assert 'name="database_results" value="983"' in copy
    assert "Registers (n = not reported)" in " ".join(re.findall("<text[^>]*>([^<]*)<", copy))
    client.post("/prisma/edit/", {"database_results": "1"})
    exported = json.loads(client.get("/prisma/export.json").content)
    assert exported["flow"]["database_results"]["n"] == 983, "the review's own stay"


def test_what_cannot_be_read_is_told_at_its_field_and_stays(client: Client, review: None) -> None:
    sent = {**SUMS, "records_screened": "1.200", "dbr_excluded": "Not LLM 4"}
    response = client.post("/prisma/edit/", sent)
    page = unescape(response.content.decode())
    assert response.status_code == 400
    assert "Records screened: “1.200” can be 1 or 1200: write 1200" in page
    assert "“Not LLM 4” has no number behind a comma" in page
    assert 'value="1.200"' in page
    typing = client.post("/prisma/edit/", sent, headers={"HX-Request": "true"})
    assert typing.status_code == 200, "a fragment that is swapped in while one types"
    assert "These cannot be read yet" in typing.content.decode()


@pytest.mark.parametrize(
    "sent",
    [
        {"database_results": "9" * 100_000},
        {"database_results": "1\x00"},
        {"label.duplicates": "\x00\ud800"},
        {"dbr_excluded": "a\n" * 6_000},
        {"dbr_excluded": "x, 1\n" * 20_000},
        {"text": "not a file", "database_results": "1"},
        {"text": "not a file"},
        {"database_results": "1", "variant": "nope"},
    ],
)
def test_a_hostile_state_is_refused_in_words(
    client: Client, review: None, sent: dict[str, str]
) -> None:
    body = urlencode(sent, errors="surrogatepass")
    kind = "application/x-www-form-urlencoded"
    assert client.post("/prisma/edit/", body, content_type=kind).status_code == 400


def test_an_image_that_cannot_be_is_told_beside_the_fields(client: Client, review: None) -> None:
    reasons = "\n".join(f"A reason of some length, number {n} of all, 1" for n in range(300))
    sent = {"dbr_excluded": reasons, "dpi": "600", "export": "png"}
    response = client.post("/prisma/edit/", sent)
    assert response.status_code == 400
    page = unescape(response.content.decode())
    assert "(50,000,000 pixels); the PDF and the SVG are sharp at any size" in page
    assert "number 299 of all, 1" in page, "what was typed stays"


def test_what_is_taken_as_not_filled_in_is_told_with_its_field(
    client: Client, review: None
) -> None:
    page = client.post("/prisma/edit/", {**SUMS, "duplicates": "XXX"}).content.decode()
    assert "duplicates: “XXX” is taken as not filled in" in unescape(page)


def test_a_diagram_may_be_changed_more_often_than_it_may_be_exported(
    client: Client, review: None
) -> None:
    exported = {**SUMS, "export": "csv"}
    assert client.post("/prisma/edit/", exported).status_code == 200
    file = {"text": TEMPLATE.read_bytes().decode()}
    assert client.post("/prisma/import/", file).status_code == 200
    Count.objects.update(n=EXPORTS_PER_MINUTE)  # as if each had been asked for so often
    assert client.post("/prisma/edit/", exported).status_code == 429
    assert client.post("/prisma/import/", file).status_code == 429
    assert client.post("/prisma/edit/", SUMS).status_code == 200
    Count.objects.update(n=EDITS_PER_MINUTE)
    assert client.post("/prisma/edit/", SUMS).status_code == 429


def test_hostile_text_stays_text_in_page_link_and_file(client: Client, review: None) -> None:
    hostile = "<script>alert(1)</script>\u202e=1+1"
    page = client.post(
        "/prisma/edit/", {"database_results": "1", "label.database_results": f"={hostile}"}
    ).content.decode()
    assert "<script>alert" not in page
    kept = client.get(link(page) + "&dpi=100")
    assert kept.status_code == 200
    posted = {"database_results": "1", "label.database_results": f"={hostile}", "export": "csv"}
    assert f"'={hostile}" in client.post("/prisma/edit/", posted).content.decode()


def test_the_editor_takes_no_form_of_another_site() -> None:
    strict = Client(enforce_csrf_checks=True)
    assert strict.post("/prisma/edit/", SUMS).status_code == 403


def test_the_empty_editor_is_the_template_as_it_is(client: Client, review: None) -> None:
    assert client.get("/prisma/edit/").status_code == 200
    exported = client.post("/prisma/edit/", {"duplicates": "", "export": "csv"}).content
    assert read(exported).flow.entries == {}
    assert exported.split(b"\r\n")[0] == TEMPLATE.read_bytes().split(b"\r\n")[0]
