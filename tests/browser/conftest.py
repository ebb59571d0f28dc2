"""A real Chromium on the real site, with the real review loaded."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from io import StringIO
from typing import Any, Protocol

import pytest
from django.core.management import call_command
from django.db import connection
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from reviewapp.limits.models import Count
from tests.browser import chromium
from tests.database import begin_counting_anew, new_database, use_database

# A busy machine makes no test fail; what comes is not waited for any longer.
MILLISECONDS_TO_WAIT = 30_000
expect.set_options(timeout=MILLISECONDS_TO_WAIT)
CHROMIUM_OPTIONS = [
    # The browser's own housekeeping must not ask for anything outside, and pages cannot.
    "--disable-background-networking",
    "--disable-component-update",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    # Chromium's sandbox refuses to work for root.
    *(["--no-sandbox"] if os.geteuid() == 0 else []),
]


class OpenPage(Protocol):
    """Opens a page in a new browser context, which takes Playwright's options."""

    def __call__(self, **options: Any) -> Page: ...


@pytest.fixture(scope="session")
def site_database(reviewed_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of a database that holds the review and reference runs, for all browser tests."""
    with new_database(f"site_of_process_{os.getpid()}", template=reviewed_database) as name:
        with django_db_blocker.unblock(), use_database(name):
            begin_counting_anew()  # so that these runs are those from 1 on
            call_command("load_reference_runs", stdout=StringIO())
        yield name


@pytest.fixture(scope="session")
def server() -> Iterator[LiveServer]:
    server = LiveServer("127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def site(
    server: LiveServer, site_database: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[LiveServer]:
    """The site with the real review, for tests that write nothing: they share one database."""
    with django_db_blocker.unblock(), use_database(site_database):
        Count.objects.all().delete()  # the limits are for a minute, not for a test
        yield server


@pytest.fixture(scope="package")
def browser(site_database: str) -> Iterator[Browser]:
    """One Chromium for neighbouring browser tests.

    Playwright's event loop makes Django take this thread for async code: it hands out another
    connection than before, and allows its use only where the environment says so. Hence the
    database is made first, and all of this ends when the next test needs no browser.
    """
    path = chromium.find()
    if path is None:
        pytest.fail(chromium.MISSING, pytrace=False)
    with pytest.MonkeyPatch.context() as environment, sync_playwright() as playwright:
        environment.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()
        connection.close()


@pytest.fixture
def open_page(browser: Browser, site: LiveServer) -> Iterator[OpenPage]:
    """Pages whose test fails on an error in the console and on a request to another server.

    A violation of the Content-Security-Policy is an error in the console.
    """
    problems: list[str] = []

    def note_error(message: ConsoleMessage) -> None:
        page, where = message.page, message.location["url"]
        # The status of the page itself, a 404 for one, is for its test to check.
        is_status = message.text.startswith("Failed to load") and page and page.url == where
        if message.type == "error" and not is_status:
            problems.append(f"{message.text} ({where})")

    def note_outside(request: Request) -> None:
        if not request.url.startswith((f"{site.url}/", "data:", "blob:")):
            problems.append(f"Request to {request.url}")

    def open_page(**options: Any) -> Page:
        context = contexts.enter_context(browser.new_context(base_url=site.url, **options))
        context.set_default_timeout(MILLISECONDS_TO_WAIT)
        context.on("console", note_error)
        context.on("weberror", lambda error: problems.append(str(error.error)))
        context.on("request", note_outside)
        return context.new_page()

    with ExitStack() as contexts:
        yield open_page
    assert problems == []


@pytest.fixture
def page(open_page: OpenPage) -> Page:
    """A page as a desktop browser shows it."""
    return open_page(viewport={"width": 1440, "height": 900})
