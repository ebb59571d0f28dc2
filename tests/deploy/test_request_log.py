"""The log of requests and sign-ins: a line of JSON for each, and nothing that is secret."""

import json
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from casestudies.choices import EventKind
from tests.casestudies.making import a_person, a_run

pytestmark = pytest.mark.django_db

PASSWORD = "a long enough phrase"
TYPED_INTO_THE_WRONG_FIELD = "another secret phrase"
ONE_REQUEST = """
import django
django.setup()
from django.test import Client
import sys
print(Client(SERVER_NAME="localhost").get("/healthz").status_code, file=sys.stderr)
"""


def breaks(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a page that breaks")


def says_unavailable(request: HttpRequest) -> HttpResponse:
    return HttpResponse(status=503)


def loses_the_database(request: HttpRequest) -> HttpResponse:
    with suppress(DatabaseError), connection.cursor() as cursor:
        cursor.execute("SELECT no_such_column")
    return HttpResponse("all the same")


urlpatterns = [
    path("breaks/", breaks),
    path("says-unavailable/", says_unavailable),
    path("loses-the-database/", loses_the_database),
]


@pytest.fixture
def said() -> Iterator[StringIO]:
    """What is logged where LOG_REQUESTS is 1."""
    logger, text = logging.getLogger("reviewapp.edge.request_log"), StringIO()
    handler, level = logging.StreamHandler(text), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield text
    logger.removeHandler(handler)
    logger.setLevel(level)


def lines(said: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in said.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("method", "address", "headers", "status"),
    [
        ("GET", "/healthz", {}, 503),
        ("GET", "/nothing/", {}, 404),
        ("GET", "/sign-out/", {}, 405),
        ("POST", "/sign-out/", {}, 403),
        ("GET", "/api/v1/studies/", {}, 400),
        ("GET", "/api/v1/runs/", {"Authorization": "Token none"}, 401),
        ("GET", "/sign-in/", {"Host": "elsewhere.example"}, 400),
        ("GET", "/static/ui/none.css", {}, 404),
        ("HEAD", "/sign-in/", {}, 200),
    ],
)
def test_every_request_is_one_line(
    said: StringIO, method: str, address: str, headers: dict[str, str], status: int
) -> None:
    client, began = Client(enforce_csrf_checks=True), time.perf_counter()
    response = client.generic(method, f"{address}?secret=query", headers=headers)
    took = 1000 * (time.perf_counter() - began)
    (line,) = lines(said)
    assert abs(datetime.now(UTC) - datetime.fromisoformat(line.pop("time"))) < timedelta(minutes=1)
    assert 0 <= line.pop("ms") <= took + 1
    assert line == {
        "event": "request",
        "address": "127.0.0.1",
        "user": None,
        "method": method,
        "path": address,
        "status": status,
        "bytes": len(response.content),
    }
    assert response.status_code == status


@pytest.mark.urls(__name__)
def test_a_page_that_breaks_is_logged_too(said: StringIO) -> None:
    Client(raise_request_exception=False).get("/breaks/")
    assert [(line["path"], line["status"]) for line in lines(said)] == [("/breaks/", 500)]


@pytest.mark.urls(__name__)
def test_a_database_that_is_down_breaks_no_line(
    said: StringIO, client: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(a_person())
    with django_assert_num_queries(0):
        client.get("/says-unavailable/")
    assert client.get("/loses-the-database/").content == b"all the same"
    assert [(line["status"], line["user"]) for line in lines(said)[-2:]] == [
        (503, None),
        (200, None),
    ]


@pytest.mark.django_db(transaction=True)  # a visitor who leaves closes the connection, too
def test_a_stream_is_logged_at_its_end_also_when_the_visitor_leaves(
    said: StringIO, client: Client
) -> None:
    run = a_run(state="succeeded")
    for text in ("one", "two", "three"):
        run.events.create(at=run.created, kind=EventKind.LOG, data={"text": text})
    address = f"/runs/{run.pk}/log.txt"
    read = client.get(address)
    assert lines(said) == []
    parts = list(read)
    left = client.get(address)
    next(iter(left))
    left.close()
    client.get(address).close()
    assert [line["bytes"] for line in lines(said)] == [len(b"".join(parts)), len(parts[0]), 0]
    assert len(parts) > 1


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text())
def test_a_hostile_path_stays_one_short_line(said: StringIO, text: str) -> None:
    said.seek(0)
    said.truncate()
    Client().get("/nothing/" + text.encode("utf-8", "replace").decode() + "\n\x1b[2J\u202e/" * 999)
    assert len(lines(said)) == 1
    assert said.getvalue().isascii()
    assert len(said.getvalue()) < 4096


def test_signing_in_and_out_is_logged_and_no_secret_is(said: StringIO, client: Client) -> None:
    User.objects.create_user("ada", password=PASSWORD)
    secrets = [PASSWORD, TYPED_INTO_THE_WRONG_FIELD, "a wrong guess"]
    for name, password in (
        ("ada", "a wrong guess"),
        (TYPED_INTO_THE_WRONG_FIELD, PASSWORD),
        ("ada", PASSWORD),
    ):
        client.post("/sign-in/", {"username": name, "password": password})
    secrets += [cookie.value for cookie in client.cookies.values()]
    page = client.post("/account/token/").content.decode()
    (key,) = re.findall(r'id="token">([0-9a-f]{40})<', page)
    secrets += [key, key[:10]]
    Client().get(f"/api/v1/runs/?token={key}", headers={"Authorization": f"Token {key}"})
    client.post("/sign-out/")
    assert [(line["event"], line["user"], line.get("path")) for line in lines(said)] == [
        ("sign-in refused", "ada", None),
        ("request", None, "/sign-in/"),
        ("sign-in refused", None, None),
        ("request", None, "/sign-in/"),
        ("sign-in", "ada", None),
        ("request", "ada", "/sign-in/"),
        ("new token", "ada", None),
        ("request", "ada", "/account/token/"),
        ("request", "ada", "/api/v1/runs/"),
        ("sign-out", "ada", None),
        ("request", None, "/sign-out/"),
    ]
    assert {line["address"] for line in lines(said)} == {"127.0.0.1"}
    assert all(secrets)
    assert [secret for secret in secrets if secret in said.getvalue()] == []


def one_request(
    stdout: Any = subprocess.PIPE, **variables: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ONE_REQUEST],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "reviewapp.settings", **variables},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


def test_standard_output_has_the_log_where_it_is_asked_for() -> None:
    quiet = one_request()
    assert (quiet.stdout, quiet.stderr.splitlines()[-1]) == ("", "503")
    assert one_request(LOG_LEVEL="INFO").stdout == ""
    asked = one_request(LOG_REQUESTS="1", LOG_LEVEL="INFO")
    (line,) = asked.stdout.splitlines()
    assert json.loads(line)["path"] == "/healthz"
    assert "request_log" not in asked.stderr


def test_a_log_that_cannot_be_written_breaks_no_page() -> None:
    with open("/dev/full", "w") as full:
        assert "503" in one_request(full, LOG_REQUESTS="1").stderr.splitlines()
