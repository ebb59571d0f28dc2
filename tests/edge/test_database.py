"""A database that takes nothing or does not answer: people read, or are told to come again."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from casestudies.choices import State
from casestudies.models import Run
from tests.casestudies.making import a_person, a_run
from tests.edge.addresses import every_address
from tests.edge.site import Site
from tests.waiting import wait_until

READ_ONLY = "SET default_transaction_read_only = on"
pytestmark = pytest.mark.xdist_group("edge")


@pytest.fixture
def going_on(site: Site) -> Iterator[Run]:
    """A run whose worker is not silent, however long a busy machine takes for the pages."""
    person = a_person("ada", "add_run")
    later = timezone.now() + timedelta(hours=1)
    yield a_run(state=State.RUNNING, owner=person, heartbeat=later)
    Run.objects.filter(owner=person).delete()
    person.delete()


@contextmanager
def changed(change: str, back: str) -> Iterator[None]:
    """Change the site's database, for the connections that it opens from now on; change it back."""
    name = connection.settings_dict["NAME"]
    end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as server:
        server.execute(f"ALTER DATABASE {name} {change}")
        server.execute(end, [name])
        try:
            yield
        finally:
            server.execute(f"ALTER DATABASE {name} {back}")
            server.execute(end, [name])
            connection.close()


def test_no_page_needs_to_write(site: Site, going_on: Run) -> None:
    visitor = Client()
    visitor.force_login(User.objects.get(username="ada"))
    cookie = {"Cookie": f"sessionid={visitor.cookies['sessionid'].value}"}
    addresses, said = every_address(going_on.pk), len(site.log.read_text())
    usually = {address: site.status(address, cookie) for address in addresses}
    assert list(usually.values()).count(200) > 35
    Run.objects.filter(pk=going_on.pk).update(heartbeat=going_on.started)  # silent since then
    with changed(READ_ONLY, "RESET default_transaction_read_only"):
        assert usually == {address: site.status(address, cookie) for address in addresses}
        assert "marked as lost: cannot execute UPDATE in a read-only" in site.log.read_text()[said:]
    assert site.status(f"/runs/{going_on.pk}/", cookie) == 200
    going_on.refresh_from_db()
    assert going_on.state == State.LOST
    assert "Traceback" not in site.log.read_text()[said:]


def test_nobody_guesses_a_password_uncounted(site: Site) -> None:
    form = b"username=ada&password=guess&csrfmiddlewaretoken=" + b"a" * 32
    head = (
        "POST /sign-in/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Cookie: csrftoken={'a' * 32}\r\nContent-Length: {len(form)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with changed(READ_ONLY, "RESET default_transaction_read_only"):
        assert site.send(head.encode() + form).startswith(b"HTTP/1.1 503 ")
    assert site.send(head.encode() + form).startswith(b"HTTP/1.1 200 ")


def test_without_a_database_everybody_is_told_to_come_again(site: Site) -> None:
    # The tray and the session would be looked up for the page that says so.
    visitor = {"Cookie": "compare=strategy:pruning; sessionid=none"}
    addresses = ["/", "/healthz", "/publications/", "/nothing/", "/sign-in/", "/api/v1/runs/"]
    with (
        changed("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
        ThreadPoolExecutor(len(addresses)) as people,
    ):
        answers = people.map(lambda address: site.get(address, visitor), addresses)
        found = dict(zip(addresses, answers, strict=True))
    assert {answer.status for answer in found.values()} == {503}
    for address in set(addresses) - {"/healthz"}:
        assert found[address].headers["Retry-After"] == "10"
    assert "The database cannot serve just now" in found["/"].text
    assert json.loads(found["/healthz"].text)["database"].startswith("unavailable")
    assert json.loads(found["/api/v1/runs/"].text)["error"]["code"] == "unavailable"
    wait_until(lambda: site.get("/publications/", visitor).status == 200)
