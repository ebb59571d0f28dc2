"""Runs that others made, from the file to the pages that show them and away again."""

import json
import re
from collections.abc import Iterator

import pytest
from django.contrib.auth.models import Permission, User
from playwright.sync_api import Page, expect
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from reviewapp.limits.models import Count
from tests.browser.conftest import OpenPage
from tests.browser.looking import DESKTOP, PHONE, WHOLE, problems
from tests.casestudies.test_contributions import a_record
from tests.database import new_database, use_database

PASSWORD = "a long enough password"
MAY = ["add_contribution", "accept_contribution"]


@pytest.fixture
def site(
    server: LiveServer, site_database: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[LiveServer]:
    """The site on a copy of its database, with an account that imports runs and accepts them."""
    with (
        new_database(f"{site_database}_with_contributions", template=site_database) as name,
        django_db_blocker.unblock(),
        use_database(name),
    ):
        Count.objects.all().delete()
        grace = User.objects.create_user("grace", password=PASSWORD)
        grace.user_permissions.set(Permission.objects.filter(codename__in=MAY))
        yield server


def looked_at(page: Page) -> list[str]:
    """Return what is wrong with the page on two screens, in both colour schemes."""
    found = problems(page, {DESKTOP: WHOLE, PHONE: WHOLE})
    page.set_viewport_size({"width": 1440, "height": 900})
    return found


def choose(page: Page, content: bytes) -> None:
    file = {"name": "results.json", "mimeType": "application/json", "buffer": content}
    page.get_by_label("Results file").set_input_files(file)  # type: ignore[arg-type]
    page.get_by_role("button", name="Import the runs").click()


def test_a_file_is_imported_seen_accepted_and_undone(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 1440, "height": 900})
    page.goto("/contributions/")
    page.get_by_role("link", name="Sign in").click()
    page.get_by_label("Username").fill("grace")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()

    choose(page, json.dumps([a_record(preset="huge"), a_record(started=1)]).encode())
    expect(page.get_by_role("alert")).to_contain_text("record 2: started:")
    assert looked_at(page) == []
    choose(page, json.dumps(a_record()).encode())
    expect(page.get_by_role("status")).to_contain_text("1 run imported.")
    assert looked_at(page) == []

    page.get_by_role("link", name="Contributed runs").click()
    page.get_by_role("link", name=re.compile("Contribution 1")).click()
    page.get_by_role("button", name="Accept its runs").click()
    expect(page.get_by_text("Accepted: what its runs say")).to_be_visible()
    assert looked_at(page) == []
    page.get_by_role("link", name=re.compile("contributed run")).first.click()
    expect(page.get_by_text("not measured by this site").first).to_be_visible()
    for address in (
        page.url,
        "/contributions/",
        "/case-studies/sparsegpt/",
        "/claims/frantar2023sparsegpt-0/",
        "/dashboards/?study=sparsegpt&runs=contributed",
    ):
        page.goto(address)
        assert looked_at(page) == [], address

    page.goto("/contributions/1/")
    page.get_by_role("button", name="Withdraw the acceptance").click()
    expect(page.get_by_text("Not accepted: its runs are shown")).to_be_visible()
    page.get_by_role("button", name="Remove 1 run: undo").click()
    expect(page.get_by_text("Nobody has contributed a run yet.")).to_be_visible()
