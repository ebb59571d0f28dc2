"""Home, about, health, error pages and headers: what every visitor meets."""

import re
from html import unescape

import pytest
from django.test import Client, RequestFactory
from django.urls import resolve
from pybtex.database import parse_string

from reviewapp.corpus.models import Review
from reviewapp.limits import pages
from reviewapp.limits.counting import seconds_to_wait
from reviewapp.limits.models import Count
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, counted_as
from reviewapp.limits.turns import Turns
from reviewapp.wsgi import application
from tests.casestudies.making import a_finished_run
from tests.edge.addresses import every_address

pytestmark = pytest.mark.django_db

PAGES = [
    "/",
    "/about/",
    "/prisma/",
    "/prisma/edit/?database_results=983",
    "/taxonomy/",
    "/taxonomy/pruning/",
    "/publications/",
    "/publications/?q=sparse&strategy=pruning&class=inference",
    "/publications/frantar2023sparsegpt/",
    "/search/?q=continuous+batching",
    "/compare/?strategies=pruning,quantization",
    "/compare/?publications=frantar2022gptq,frantar2023sparsegpt",
    "/answers/?about=speed&phase=inference&memory=24",
    "/replication/",
    "/replication/?outcome=not+run&strategy=quantization&differ=yes",
    "/frameworks/?class=serving&sort=claims",
    "/case-studies/",
    "/case-studies/sparsegpt/",
    "/equations/",
    "/contributions/",
    "/dashboards/",
    "/sign-in/",
]


def test_the_home_page_counts_what_is_there_and_says_how_sure_it_is(
    client: Client, review: None
) -> None:
    page = client.get("/").content.decode()
    assert "<b>65</b> publications: 12 named, 53 reconstructed" in page
    assert "<b>31</b> strategies" in page
    assert "<b>177</b> claims, 17 of them in extensions" in page
    assert "<strong>29 show one strategy alone</strong>" in page
    assert "not confirmed" in page
    assert "<b>983</b> records" in page


def test_home_works_before_a_review_is_loaded(client: Client) -> None:
    response = client.get("/")
    assert response.status_code == 200
    assert "load_review" in response.content.decode()


@pytest.mark.parametrize(
    "address",
    [
        "/about/",
        "/prisma/",
        "/taxonomy/",
        "/publications/",
        "/search/?q=a",
        "/compare/",
        "/answers/",
        "/replication/",
        "/frameworks/",
        "/dashboards/",
    ],
)
def test_no_page_breaks_before_a_review_is_loaded(client: Client, address: str) -> None:
    assert client.get(address).status_code in (200, 404)


def files(pattern: str, but: str) -> list[str]:
    """Return the addresses of the site's files that match, several, but those of the other sort."""
    found = [
        address
        for address in every_address(a_finished_run().pk)
        if re.search(pattern, address) and not re.search(but, address)
    ]
    assert len(found) > 7
    return found


def test_no_file_that_costs_much_is_without_a_limit(client: Client, review: Review) -> None:
    # The empty template, and one publication's citation.
    addresses = files(r"export|\.csv$|\.txt$", but=r"template\.csv$|/frantar2023sparsegpt/")
    # As if each had been asked for so often by this address; to make them all takes a minute.
    for address in addresses:
        name = counted_as(resolve(address).func)
        seconds_to_wait(name, "127.0.0.1", most=1, seconds=60)
    Count.objects.update(n=EXPORTS_PER_MINUTE)
    answered = {address: client.get(address).status_code for address in addresses}
    assert answered == dict.fromkeys(addresses, 429)


def test_citations_are_offered_again_without_what_the_review_does_not_count(
    client: Client, review: Review
) -> None:
    def offered(address: str, files: str = "/publications/") -> list[str]:
        page = unescape(client.get(address).content.decode())
        return re.findall(rf'href="{files}export\.([^"]*)"', page)

    formats = ["csv", "json", "bib", "ris", "csl.json"]
    assert offered("/publications/") == [*formats, *(f"{one}?counted=yes" for one in formats)]
    counted = [f"{one}?q=sparse&counted=yes" for one in formats]
    assert offered("/publications/?q=sparse") == [*(f"{one}?q=sparse" for one in formats), *counted]
    assert offered("/publications/?q=sparse&counted=yes") == counted
    assert offered("/frameworks/", "/frameworks/") == ["csv", "json"]


def test_what_makes_a_file_of_many_records_waits_for_its_turn(
    client: Client, review: Review, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "long_files", Turns(running=1, waiting=0))
    addresses = files(r"export|\.csv$", but=r"^/(prisma|runs)/|/frantar2023sparsegpt/")
    with pages.long_files.turn(seconds=0):
        answered = {address: client.get(address).status_code for address in addresses}
        assert client.post("/contributions/import/").status_code == 503
    assert answered == dict.fromkeys(addresses, 503)


@pytest.mark.parametrize("address", ["/", "/about/", "/prisma/", "/api/v1/prisma/"])
def test_beside_a_second_review_the_first_is_shown(
    client: Client, review: Review, address: str
) -> None:
    period = {"period_from": "2020-01", "period_to": "2020-12", "period_grade": "A"}
    Review.objects.create(slug="second", title="A second one", authors=["B"], year=2020, **period)
    review.save()  # a row that was written anew comes last where no order is asked for
    response = client.get(address)
    assert response.status_code == 200
    assert review.title in response.content.decode()
    assert "A second one" not in response.content.decode()


def test_about_lists_what_is_not_established(client: Client, review: None) -> None:
    page = client.get("/about/").content.decode()
    assert "the fifth database" in page
    assert "search strings" in page
    assert "CC BY 4.0" in page


def test_the_review_is_cited_in_bibtex_that_classic_styles_read(
    client: Client, review: None
) -> None:
    page = unescape(client.get("/about/").content.decode())
    entry = parse_string(page[page.index("@article") : page.index("</pre>")], "bibtex").entries
    [cited] = entry.values()
    assert [str(person) for person in cited.persons["author"]][1] == r"Sz{\'e}n{\'a}si, S{\'a}ndor"
    assert (cited.fields["volume"], cited.fields["pages"]) == ("12", "96017--96050")


def test_health_tells_whether_the_review_is_loaded(client: Client, db: None) -> None:
    assert client.get("/healthz").status_code == 503


def test_health_is_ok_with_the_review(client: Client, review: None) -> None:
    response = client.get("/healthz")
    assert response.status_code == 200
    assert response.json()["database"] == "ok"


@pytest.mark.parametrize("address", ["/nope/", "/publications/nope2020/", "/taxonomy/nope/"])
def test_an_unknown_address_is_a_404_page(client: Client, review: None, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 404
    assert "There is nothing here" in response.content.decode()


@pytest.mark.parametrize("address", PAGES)
def test_every_page_forbids_what_is_not_its_own(client: Client, review: None, address: str) -> None:
    response = client.get(address)
    assert response.status_code == 200
    policy = response["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    page = response.content.decode()
    assert " style=" not in page
    assert "<script>" not in page


def test_a_monitor_may_ask_for_the_headers_only(client: Client, review: None) -> None:
    for address in (*PAGES, "/healthz"):
        assert client.head(address).status_code == 200


def test_what_only_shows_takes_no_form_and_nothing_changes_by_following_a_link(
    client: Client, review: None
) -> None:
    run = a_finished_run().pk
    with_a_form = {
        "/prisma/edit/",
        "/case-studies/sparsegpt/",
        "/sign-in/",
        f"/runs/{run}/delete/",
    }
    pages_of_people = (one for one in every_address(run) if not one.startswith("/api/"))
    takes = [one for one in pages_of_people if client.post(one).status_code != 405]
    assert len(takes) > 15
    assert {one for one in takes if client.get(one).status_code != 405} == with_a_form


@pytest.mark.parametrize(
    "path",
    [
        "/publications/",
        "/taxonomy/",
        "/compare/",
        "/answers/",
        "/replication/",
        "/frameworks/",
        "/prisma/",
        "/case-studies/sparsegpt/",
        "/dashboards/",
        "/sign-in/",
    ],
)
@pytest.mark.parametrize(
    "query",
    [
        "unknown=1",
        "page=abc",
        "page=-1",
        "page=99999999999999999999",
        "q=%00",
        "q=%ff%fe",
        "q=" + "x" * 10_000,
        "strategy=%3Cscript%3E",
        "strategies=" + ",".join(["a"] * 500),
        "publications=%00,%ff",
        "select=%00",
        "select=strategy:nope",
        "variant=%F0%9F%92%A9",
        "from=99999999999999999999",
        "sort=drop+table",
        "&&&===",
    ],
)
def test_hostile_queries_are_answered_not_crashed_on(
    client: Client, review: None, path: str, query: str
) -> None:
    response = client.get(f"{path}?{query}")
    assert response.status_code in (200, 302, 400, 404)
    assert "<script>" not in response.content.decode()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("charset", ["zlib", "idna", "no such", "utf-8"])
def test_a_charset_that_is_none_harms_nothing(charset: str) -> None:
    asked = RequestFactory().generic(
        "GET", "/publications/?q=%ff", content_type=f"text/plain; charset={charset}"
    )
    statuses: list[str] = []
    application(asked.environ, lambda status, _: statuses.append(status))
    assert statuses == ["200 OK"]
