"""Starting and cancelling runs with a token, and the limits on asking."""

import re
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from rest_framework.authtoken.models import Token
from rest_framework.throttling import SimpleRateThrottle

from casestudies.choices import State
from casestudies.models import Run
from tests.casestudies.making import a_finished_run, a_person, a_run

pytestmark = pytest.mark.django_db

RUNS = "/api/v1/runs/"
SMOKE = {"study": "sparsegpt", "preset": "smoke"}


@pytest.fixture
def ada() -> User:
    """Somebody who may start runs."""
    return a_person("ada", "add_run")


def post(client: Client, address: str, body: Any = None, by: User | None = None) -> HttpResponse:
    headers = {}
    if by is not None:
        token, _ = Token.objects.get_or_create(user=by)
        headers = {"Authorization": f"Token {token.key}"}
    kind = "application/octet-stream" if body is None else "application/json"
    return client.post(address, body or b"", content_type=kind, headers=headers)  # type: ignore[return-value]


def error(response: Any) -> dict[str, Any]:
    body: dict[str, Any] = response.json()["error"]
    return body


def test_a_token_starts_the_run_that_is_asked_for(client: Client, ada: User) -> None:
    asked = {**SMOKE, "parameters": {"sparsity": 0.6}, "seed": 7, "device": "cpu"}
    response = post(client, RUNS, asked, by=ada)
    assert response.status_code == 201
    run = Run.objects.get()
    assert (run.owner, run.state, run.preset, run.seed) == (ada, "queued", "smoke", 7)
    assert (run.parameters["sparsity"], run.parameters["window"]) == (0.6, 64)
    assert response["Location"] == f"http://testserver{RUNS}{run.pk}/"
    answer = response.json()  # type: ignore[attr-defined]
    assert answer == client.get(RUNS).json()["results"][0]
    assert answer["owner"] == "ada"


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        (
            {"parameters": {"sparsity": 2}},
            "parameters.sparsity",
            "2 is not valid; number, 0.05 to 0.95",
        ),
        ({"parameters": {"colour": "red"}}, "parameters.colour", "Extra inputs"),
        ({"parameters": [1]}, "parameters", "Expected a dictionary"),
        ({"parameters": {"block": "x" * 5000}}, "parameters.block", "'xxx"),
        ({"preset": "enormous"}, "preset", "'enormous' is none of smoke, quick, claims, full"),
        ({"study": "alchemy"}, "study", '"alchemy" is not a valid choice.'),
        ({"seed": -1}, "seed", "Ensure this value is greater than or equal to 0."),
        ({"seed": 2**63}, "seed", "Ensure this value is less than"),
        ({"seed": "7"}, "seed", "A valid integer is required."),
        ({"seed": True}, "seed", "A valid integer is required."),
        ({"preset": " smoke"}, "preset", "' smoke' is none of"),
        ({"parameters": {"sparsity": "0.6"}}, "parameters.sparsity", "'0.6' is not valid"),
        ({"parameters": {"curve": 1}}, "parameters.curve", "1 is not valid; boolean"),
        ({"device": "abacus"}, "device", '"abacus" is not a valid choice.'),
        ({"model": "/etc/passwd"}, "model", "this study is offered no model of that name"),
        ({"parameter": {}}, "parameter", "There is no such key."),
    ],
)
def test_a_wrong_parameter_is_named_with_its_bounds(
    client: Client, ada: User, changes: dict[str, Any], field: str, message: str
) -> None:
    response = post(client, RUNS, {**SMOKE, **changes}, by=ada)
    assert response.status_code == 400
    assert error(response)["fields"][field][0].startswith(message)
    assert len(response.content) < 2000
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"null", 400),
        (b"\xff\xfe", 400),
        (b'{"study": "\\u0000"}', 400),
        (b'{"study": "\\ud800"}', 400),
        (b'{"study": "sparsegpt", "parameters": {"sparsity": NaN}}', 400),
        (b'{"study": "sparsegpt", "parameters": {"sparsity": 1e999}}', 400),
        (b'{"study": "sparsegpt", "seed": ' + b"9" * 5000 + b"}", 400),
        (b'{"study": "sparsegpt", "preset": "smoke", "seed": 1, "seed": 2}', 400),
        (
            b'{"study": "sparsegpt", "preset": "smoke", "parameters": {"bits": "4", "bits": "3"}}',
            400,
        ),
        (b'{"study": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
        (b'{"study": ' + b"[" * 90 + b"]" * 90 + b"}", 400),
        (b'{"parameters": ' + b'{"a":' * 20_000, 413),
    ],
)
def test_a_hostile_body_is_refused(client: Client, ada: User, body: bytes, status: int) -> None:
    token = Token.objects.create(user=ada)
    response = client.post(
        RUNS, body, content_type="application/json", headers={"Authorization": f"Token {token.key}"}
    )
    assert response.status_code == status
    assert error(response)["message"]


@pytest.mark.parametrize("text", ["\\u0000", "\\\\u0000", "\0", "\\\0"])
def test_a_nul_is_told_from_six_letters_that_look_like_one(
    client: Client, ada: User, text: str
) -> None:
    for body in ({"study": text}, {"study": "sparsegpt", "parameters": {text: 1}}):
        message = error(post(client, RUNS, body, by=ada))["message"]
        assert ("NUL character" in message) == ("\0" in text), message


def test_a_whole_number_may_have_a_point(client: Client, ada: User) -> None:
    asked = {**SMOKE, "seed": 7.0, "parameters": {"window": 512.0, "sparsity": 0.5}}
    assert post(client, RUNS, asked, by=ada).status_code == 201
    run = Run.objects.get()
    assert (run.seed, run.parameters["window"]) == (7, 512)


def test_a_body_of_another_kind_is_refused(client: Client, ada: User) -> None:
    token = Token.objects.create(user=ada)
    response = client.post(RUNS, SMOKE, headers={"Authorization": f"Token {token.key}"})
    assert (response.status_code, error(response)["code"]) == (415, "unsupported_media_type")


def test_only_who_may_start_runs_starts_one(client: Client, ada: User) -> None:
    anonymous = post(client, RUNS, SMOKE)
    assert (anonymous.status_code, error(anonymous)["code"]) == (401, "not_authenticated")
    assert anonymous["WWW-Authenticate"] == "Token"
    reader = post(client, RUNS, SMOKE, by=a_person("reader"))
    assert reader.status_code == 403
    assert error(reader)["message"] == "This account may not start runs."
    # Being signed in to the pages is not enough: a page could then make a browser start runs.
    client.force_login(ada)
    assert post(client, RUNS, SMOKE).status_code == 401
    ada.is_active = False
    ada.save()
    assert post(client, RUNS, SMOKE, by=ada).status_code == 401
    assert not Run.objects.exists()


def test_only_so_many_runs_wait(client: Client, ada: User) -> None:
    for _ in range(int(settings.RUNS_QUEUED_PER_USER)):
        a_run(owner=ada)
    response = post(client, RUNS, SMOKE, by=ada)
    assert (response.status_code, error(response)["code"]) == (429, "too_many_waiting")
    assert "cancel one" in error(response)["message"]


def test_who_started_a_run_cancels_it_and_nobody_else(client: Client, ada: User) -> None:
    waiting, running = a_run(owner=ada), a_run(owner=ada, state=State.RUNNING)
    assert post(client, f"{RUNS}{waiting.pk}/cancel/").status_code == 401
    other = post(client, f"{RUNS}{waiting.pk}/cancel/", by=a_person("eve", "add_run"))
    assert (other.status_code, error(other)["code"]) == (403, "permission_denied")
    for run, state in ((waiting, "cancelled"), (running, "running")):
        assert run.cancel_asked is None
        response = post(client, f"{RUNS}{run.pk}/cancel/", by=ada)
        assert response.status_code == 202
        body = response.json()  # type: ignore[attr-defined]
        assert (body["state"], bool(body["cancel_asked"])) == (state, True)
        run.refresh_from_db()
        assert (run.state, bool(run.cancel_asked)) == (state, True)
    again = post(client, f"{RUNS}{waiting.pk}/cancel/", by=ada)
    assert (again.status_code, error(again)["code"]) == (409, "conflict")
    keeper = a_person("keeper", "change_run")
    assert post(client, f"{RUNS}{running.pk}/cancel/", by=keeper).status_code == 202
    assert post(client, f"{RUNS}{a_finished_run().pk}/cancel/", by=keeper).status_code == 409
    assert post(client, f"{RUNS}99999999999999999999/cancel/", by=keeper).status_code == 404


def test_a_run_whose_worker_was_killed_is_not_shown_as_going_on(client: Client) -> None:
    run = a_run(state=State.RUNNING)  # its last sign of life is long ago
    assert client.get(f"{RUNS}{run.pk}/").json()["state"] == "lost"


def limit(monkeypatch: pytest.MonkeyPatch, **rates: str) -> None:
    for scope, rate in rates.items():
        monkeypatch.setitem(SimpleRateThrottle.THROTTLE_RATES, scope, rate)


def test_each_address_and_account_may_ask_only_so_often(
    client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, anon="2/min", user="4/min")
    for forwarded in ("1.1.1.1", "2.2.2.2"):
        # Naming another address in a header does not help.
        assert client.get(RUNS, headers={"X-Forwarded-For": forwarded}).status_code == 200
    refused = client.get(RUNS)
    assert (refused.status_code, error(refused)["code"]) == (429, "throttled")
    assert 0 < int(refused["Retry-After"]) <= 60
    assert client.get(RUNS, REMOTE_ADDR="10.0.0.9").status_code == 200
    headers = {"Authorization": f"Token {Token.objects.create(user=ada).key}"}
    answers = [client.get(RUNS, headers=headers).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]


def test_starting_is_limited_more_than_reading(
    client: Client, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(monkeypatch, start="1/min")
    assert post(client, RUNS, SMOKE, by=ada).status_code == 201
    assert post(client, RUNS, SMOKE, by=ada).status_code == 429
    assert client.get(RUNS).status_code == 200


def test_an_account_makes_a_token_sees_it_once_and_ends_it(client: Client, ada: User) -> None:
    assert client.post("/account/token/").status_code == 302
    client.force_login(ada)
    assert client.get("/account/token/").status_code == 405
    page = client.post("/account/token/")
    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    found = re.search(r'<pre tabindex="0" id="token">([0-9a-f]{40})</pre>', page.content.decode())
    assert found
    headers = {"Authorization": f"Token {found[1]}"}
    body = {"content_type": "application/json", "headers": headers}
    assert Client().post(RUNS, SMOKE, **body).status_code == 201  # type: ignore[arg-type]
    account = client.get("/account/").content.decode()
    assert "Replace the token" in account
    assert found[1] not in account
    assert client.post("/account/token/").status_code == 200
    assert Client().post(RUNS, SMOKE, **body).status_code == 401  # type: ignore[arg-type]


def test_a_token_is_made_only_from_the_sites_own_page(ada: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    assert strict.post("/account/token/").status_code == 403
    assert not Token.objects.exists()
