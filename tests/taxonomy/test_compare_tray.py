"""The compare tray: it follows the visitor, with and without JavaScript."""

import re

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from reviewapp.corpus.models import Review
from tests.queries import count_queries

TRAY = "/compare/tray/"
SIX = ("pruning", "quantization", "offloading", "distillation", "fine-tuning", "model-cascade")


def press(client: Client, action: str, items: str = "", kind: str = "strategy", **more: str):
    """Press a button that changes the tray, and follow where it leads."""
    data = {"action": action, "kind": kind, "items": items, "next": "/compare/", **more}
    return client.post(TRAY, data, follow=True)


def test_what_is_picked_can_be_compared_from_any_page(client: Client, review: Review):
    press(client, "add", "quantization")
    press(client, "add", "pruning")
    about = client.get("/about/")
    assert 'href="/compare/?strategies=pruning,quantization"' in about.content.decode()
    for page in (about, client.get("/taxonomy/offloading/")):
        assert "hx-swap-oob" not in page.content.decode(), "which HTMX would take out of the page"
    assert "Cookie" in about["Vary"]
    picked = {slug: "In tray" in client.get(f"/taxonomy/{slug}/").content.decode() for slug in SIX}
    assert [slug for slug in SIX if picked[slug]] == ["pruning", "quantization"]
    press(client, "remove", "pruning")
    assert "Pick one more strategy" in client.get("/about/").content.decode()
    press(client, "clear")
    assert "tray-title" not in client.get("/about/").content.decode()


def test_an_empty_tray_also_varies_by_cookie(client: Client, review: Review):
    assert "Cookie" in client.get("/about/")["Vary"]


def test_the_tray_costs_one_query_and_no_session(client: Client, review: Review):
    empty = count_queries(client, "/about/")
    press(client, "add", "pruning")
    client.get("/about/")  # shows the message, once
    assert count_queries(client, "/about/") == empty + 1
    assert not Session.objects.exists()


def test_the_cookie_is_not_for_scripts_or_other_sites(client: Client, review: Review):
    press(client, "add", "pruning")
    cookie = client.cookies["compare"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"


def test_the_seventh_item_is_refused_with_the_reason(client: Client, review: Review):
    for n, slug in enumerate(SIX, 1):
        page = press(client, "add", slug).content.decode()
        assert f"was added to the compare tray: {n} of 6." in page
    response = press(client, "add", "speculative-decoding")
    assert "The compare tray is full: 6 at most." in response.content.decode()
    assert client.cookies["compare"].value == "strategy:" + ".".join(SIX)


def test_the_other_kind_starts_a_new_tray_and_says_so(client: Client, review: Review):
    press(client, "add", "pruning")
    page = press(client, "add", "kwon2023vllm", kind="publication").content.decode()
    assert "A new compare tray was started with vLLM" in page
    assert "It no longer holds: Pruning." in page
    assert client.cookies["compare"].value == "publication:kwon2023vllm"


def test_a_comparison_can_be_put_into_the_tray(client: Client, review: Review):
    press(client, "fill", "offloading,pruning")
    assert client.cookies["compare"].value == "strategy:offloading.pruning"
    page = client.get("/compare/?strategies=offloading,pruning").content.decode()
    assert "Put these into the compare tray" not in page


@pytest.mark.parametrize(
    "cookie",
    [
        "strategy:gone.pruning",
        "strategy:pruning.../../etc",
        "strategy:pruning.<b>",
        "nothing:offloading",
        "x",
        ":::",
        "strategy:",
    ],
)
def test_a_stale_or_forged_cookie_does_no_harm(client: Client, review: Review, cookie: str):
    client.cookies["compare"] = cookie
    page = client.get("/about/")
    assert page.status_code == 200
    assert ("Pruning" in page.content.decode()) == ("pruning" in cookie)
    assert press(client, "add", "quantization").status_code == 200
    assert "gone" not in client.cookies["compare"].value


@pytest.mark.parametrize(
    "address",
    [
        *("https://evil.example/", "//evil.example/", "/\\evil.example/", "javascript:x", ""),
        *("compare", "nothing", "admin:index", "a.b", "../about/", "?q=1"),  # no paths
    ],
)
def test_one_is_sent_to_a_path_of_this_site_alone(client: Client, review: Review, address: str):
    response = client.post(
        TRAY, {"action": "add", "kind": "strategy", "items": "pruning", "next": address}
    )
    assert (response.status_code, response["Location"]) == (302, "/compare/")


@pytest.mark.parametrize(
    "data",
    [
        {"action": "add", "kind": "strategy", "items": "nothing"},
        {"action": "add", "kind": "strategy", "items": "\x00"},
        {"action": "add", "kind": "planet", "items": "pruning"},
        {"action": "add", "items": "pruning"},
        {"action": "explode"},
        {},
    ],
)
def test_what_makes_no_sense_is_refused(client: Client, review: Review, data: dict[str, str]):
    assert client.post(TRAY, data).status_code == 400
    assert client.get(TRAY).status_code == 405


def test_a_form_of_another_site_is_refused(review: Review):
    strict = Client(enforce_csrf_checks=True)
    assert strict.post(TRAY, {"action": "clear"}).status_code == 403


def test_htmx_swaps_only_the_tray_and_the_buttons_concerned(client: Client, review: Review):
    htmx = {"HX-Request": "true"}
    data = {"action": "add", "kind": "strategy", "items": "pruning"}
    data["next"] = "/taxonomy/pruning/#claims"
    content = client.post(TRAY, data, headers=htmx).content.decode()
    assert 'id="compare-strategy-pruning"' in content
    assert 'id="tray-items"' in content
    assert set(re.findall(r'name="next" value="([^"]*)"', content)) == {
        "/taxonomy/pruning/",
        "/taxonomy/pruning/#compare-strategy-pruning",
    }
    assert "In tray" in content
    assert "<html" not in content
    cleared = client.post(TRAY, {"action": "clear"}, headers=htmx).content.decode()
    assert 'id="compare-strategy-pruning"' in cleared
    assert "In tray" not in cleared


def test_htmx_reloads_the_page_when_every_button_changes(client: Client, review: Review):
    press(client, "add", "pruning")
    data = {"action": "add", "kind": "publication", "items": "kwon2023vllm"}
    response = client.post(TRAY, data, headers={"HX-Request": "true"})
    assert response["HX-Refresh"] == "true"
