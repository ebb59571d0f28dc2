"""What no description allows, odd methods and headers among it: errors keep their shape."""

import string
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.authtoken.models import Token
from rest_framework.throttling import SimpleRateThrottle

from casestudies.models import Run
from reviewapp.corpus.models import Review
from tests.casestudies.making import a_finished_run, a_person, a_sweep

pytestmark = pytest.mark.django_db

V1 = "/api/v1/"
METHODS = ["OPTIONS", "TRACE", "CONNECT", "PUT", "PATCH", "DELETE", "PROPFIND", "MADE-UP"]
SMOKE = {"study": "sparsegpt", "preset": "smoke"}
# As they come through a server: Latin-1, without what ends a header.
HEADERS = st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=40)


@pytest.fixture(autouse=True)
def _no_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    for scope in SimpleRateThrottle.THROTTLE_RATES:
        monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, scope, None)


@pytest.fixture
def ada() -> User:
    """Somebody who may start runs."""
    return a_person("ada", "add_run")


def error(response: Any, status: int) -> dict[str, Any]:
    """Return what the error says; it must have this status and the API's own shape."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/json"
    (body,) = response.json().values()
    assert body["code"]
    assert body["message"]
    return dict(body)


def often(strategy: st.SearchStrategy[str], ask: Callable[[str], None]) -> None:
    checks = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    how = settings(max_examples=60, suppress_health_check=checks)
    how(given(strategy)(ask))()


def test_another_method_is_refused_whatever_comes_with_it(
    client: Client, review: Review, ada: User
) -> None:
    values = {
        "key": "frantar2023sparsegpt",
        "code": "frantar2023sparsegpt-0",
        "slug": "pruning",
        "id": a_finished_run(owner=ada).pk,
    }
    a_sweep(pk=values["id"])
    described = client.get(f"{V1}schema/").json()["paths"]
    allowed = {path.format(**values): set(methods) for path, methods in described.items()}
    allowed[f"{V1}schema/"] = {"get"}
    assert len(allowed) == 20
    hostile = {"Accept": "text/html", "Authorization": "Token nonsense"}
    for address, own in allowed.items():
        names = {name.upper() for name in own} | ({"HEAD"} if "get" in own else set())
        for method in [*METHODS, *({"GET", "HEAD", "POST"} - names)]:
            for headers, query in (({}, ""), (hostile, "?format=csv&page=x")):
                asked = client.generic(
                    method, address + query, b"{", "application/json", headers=headers
                )
                assert set(asked["Allow"].split(", ")) == names, (method, address)
                if method != "HEAD":
                    assert error(asked, 405)["code"] == "method_not_allowed"


@pytest.mark.parametrize("name", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_changes_the_method(client: Client, ada: User, name: str) -> None:
    run = a_finished_run(owner=ada)
    error(client.post(f"{V1}runs/{run.pk}/", headers={name: "GET"}), 405)
    read = client.get(f"{V1}runs/{run.pk}/", headers={name: "DELETE"})
    assert (read.status_code, read.json()["id"]) == (200, run.pk)


@pytest.mark.parametrize("host", ["elsewhere.example", "a b", "[", "\xff"])
def test_a_wrong_host_is_an_error_of_the_api(client: Client, host: str) -> None:
    error(client.get(f"{V1}runs/", headers={"Host": host}), 400)
    page = client.get("/publications/", headers={"Host": host})
    assert (page.status_code, page["Content-Type"]) == (400, "text/html; charset=utf-8")


@pytest.mark.parametrize("address", ["runs", "runs/1/cancel", "nope"])
@pytest.mark.parametrize("method", ["GET", "POST", "TRACE"])
def test_an_address_without_its_slash_is_none_and_says_so(
    client: Client, method: str, address: str
) -> None:
    # A redirect would turn what is posted into a question.
    answer = error(client.generic(method, f"{V1}{address}"), 404)
    assert answer["message"].endswith("end with a slash.")


@pytest.mark.parametrize(
    "one",
    [
        *("0", "-1", "1.0", "%00", "+1", "1e3", "%D9%A1", "%ED%A0%80", "%FF", "..", "1;x", "1%2F"),
        *(str(2**63), str(2**64), "9" * 5000),
    ],
)
def test_what_can_be_no_run_is_not_found(client: Client, ada: User, one: str) -> None:
    token = Token.objects.create(user=ada)
    error(client.get(f"{V1}runs/{one}/"), 404)
    headers = {"Authorization": f"Token {token.key}"}
    error(client.post(f"{V1}runs/{one}/cancel/", headers=headers), 404)


@pytest.mark.parametrize("scheme", ["", "Token ", "token\t", "Bearer ", "Basic "])
def test_who_is_not_known_starts_nothing_whatever_the_header_says(
    client: Client, ada: User, scheme: str
) -> None:
    Token.objects.create(user=ada)

    def ask(text: str) -> None:
        headers = {"Authorization": scheme + text}
        refused = client.post(f"{V1}runs/", SMOKE, content_type="application/json", headers=headers)
        error(refused, 401)
        assert refused["WWW-Authenticate"] == "Token"
        read = client.get(f"{V1}runs/", headers=headers)
        assert read.status_code == 200 or error(read, 401)

    often(HEADERS, ask)
    assert not Run.objects.exists()


def test_whatever_is_accepted_the_answer_is_of_a_kind_that_is_there(client: Client) -> None:
    kinds = st.sampled_from(["application/json", "text/csv", "text/html", "*/*", ";q=", ",", " "])

    def ask(text: str) -> None:
        answer = client.get(f"{V1}runs/", headers={"Accept": text})
        if answer.status_code == 200:
            assert answer["Content-Type"] in ("application/json", "text/csv; charset=utf-8")
        else:
            error(answer, 406)

    often(st.lists(kinds | HEADERS, max_size=8).map("".join), ask)


def test_every_body_is_read_as_json_in_utf_8(client: Client, ada: User) -> None:
    headers = {"Authorization": f"Token {Token.objects.create(user=ada).key}"}

    def start(body: bytes, kind: str = "application/json") -> Any:
        return client.generic("POST", f"{V1}runs/", body, kind, headers=headers)

    text = '{"study": "sparsegpt", "preset": "smoke"}'
    for charset in ("utf-16", "utf-7", "latin-1", "no such"):
        assert start(text.encode(), f"application/json; charset={charset}").status_code == 201
    for encoding in ("utf-16", "utf-32", "utf-8-sig"):
        assert error(start(text.encode(encoding)), 400)["code"] == "parse_error"
    for kind in ("", "text/json", "text/plain", "multipart/form-data; boundary=x", "x" * 300):
        assert error(start(text.encode(), kind), 415)["code"] == "unsupported_media_type"


def test_an_empty_value_is_as_none_at_all(client: Client, review: Review) -> None:
    """For a key of any kind; what the description calls `allowEmptyValue`."""
    a_finished_run()
    described = client.get(f"{V1}schema/").json()["paths"]
    for path, methods in described.items():
        keys = [p for p in methods.get("get", {}).get("parameters", []) if p["in"] == "query"]
        if not keys:
            continue
        without = client.get(path).json()
        assert all(key["allowEmptyValue"] for key in keys)
        for key in keys:
            answer = client.get(f"{path}?{key['name']}=")
            assert answer.status_code == 200, (path, key["name"])
            assert answer.json().get("results") == without.get("results"), (path, key["name"])


def test_keys_that_a_list_does_not_have_are_refused(client: Client, review: Review) -> None:
    for path in ("publications/", "claims/", "quantities/", "runs/", "measurements/"):
        for query in ("dpi=x&scale=x&colour=%00", "_method=DELETE", "=", "a[b]=1&" * 20):
            assert error(client.get(f"{V1}{path}?{query}"), 400)["message"], (path, query)


@pytest.mark.parametrize("digits", ["1_0", "\u0661", "+1", "1.0", "1e1", "0x1", "- 1", "\uff11"])
def test_a_number_is_in_plain_digits(client: Client, review: Review, digits: str) -> None:
    for path, key in (
        ("runs/", "page"),
        ("runs/", "page_size"),
        ("measurements/", "run"),
        ("publications/", "from"),
        ("publications/", "to"),
    ):
        answer = client.get(f"{V1}{path}", {key: digits})
        assert key in error(answer, 400)["fields"], (path, key)
        # The same is refused of a file, which has no pages.
        in_file = client.get(f"{V1}{path}", {key: digits, "format": "csv"})
        assert key in error(in_file, 400)["fields"], (path, key)


def test_a_search_of_any_text_is_answered(client: Client, review: Review) -> None:
    def ask(text: str) -> None:
        answer = client.get(f"{V1}publications/", {"q": text})
        assert answer.status_code == 200 or error(answer, 400)["fields"]["q"]

    often(st.text(st.characters(codec="utf-8") | st.sampled_from(string.punctuation)), ask)
