"""A run from the browser to the dashboard: the real worker, the real lab, the real pages."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import Permission, User
from playwright.sync_api import Page, expect
from pytest_django import DjangoDbBlocker
from pytest_django.live_server_helper import LiveServer

from reviewapp.limits.models import Count
from tests.browser.conftest import OpenPage
from tests.casestudies.test_run_pages import going_on, say
from tests.database import new_database, url_of, use_database

MILLISECONDS_OF_A_RUN = 180_000
POINT = {"series": "perplexity by sparsity", "variant": "wanda", "y": 25.2}
PASSWORD = "a long enough password"
DESKTOP = {"width": 1440, "height": 900}
# Both want the machine's cores for themselves.
pytestmark = pytest.mark.xdist_group("worker")


@pytest.fixture(scope="module")
def own_database(site_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A copy of the site's database that may be written to, with an account that starts runs."""
    with new_database(f"{site_database}_with_runs", template=site_database) as name:
        with django_db_blocker.unblock(), use_database(name):
            ada = User.objects.create_user("ada", password=PASSWORD)
            ada.user_permissions.add(Permission.objects.get(codename="add_run"))
        yield name


@pytest.fixture
def site(
    server: LiveServer, own_database: str, django_db_blocker: DjangoDbBlocker
) -> Iterator[LiveServer]:
    """The site on the database of this module's own."""
    with django_db_blocker.unblock(), use_database(own_database):
        Count.objects.all().delete()  # the limits are for a minute, not for a test
        yield server


@pytest.fixture(scope="module")
def _worker(own_database: str) -> Iterator[None]:
    """A worker that carries out what this module's tests ask for."""
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "worker", "--queues", "cpu"],
        env={**os.environ, "DATABASE_URL": url_of(own_database)},
    )
    yield
    worker.terminate()
    assert worker.wait(30) == 0


def sign_in_to_run(page: Page, address: str) -> None:
    """Sign in from the form on a study's page, and come back to it."""
    page.goto(address)
    page.get_by_role("button", name="Sign in to run").click()
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Sign in").click()


def start_a_run(page: Page, preset: str) -> None:
    """Sign in through the form and start the preset from the study's page."""
    sign_in_to_run(page, f"/case-studies/sparsegpt/?preset={preset}")
    page.get_by_role("button", name="Start the run").click()
    expect(page).to_have_url(re.compile(r"/runs/\d+/"))
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^Run \d+$"))


@pytest.mark.usefixtures("_worker")
def test_a_run_is_started_watched_and_seen_where_its_numbers_belong(open_page: OpenPage) -> None:
    page = open_page(viewport=DESKTOP)
    start_a_run(page, "smoke")
    label = page.get_by_role("heading", level=1).inner_text().lower()
    page.evaluate("document.body.dataset.opened = 'once'")
    status = page.get_by_role("region", name="State")
    expect(status).to_contain_text(re.compile(r"[1-9]\d? %"), timeout=MILLISECONDS_OF_A_RUN)
    expect(page.get_by_role("log")).to_contain_text("measuring the dense model")
    assert page.evaluate("document.body.dataset.opened") == "once"

    expect(status).to_contain_text("succeeded", timeout=MILLISECONDS_OF_A_RUN)
    expect(page.get_by_role("heading", name="Verdict")).to_be_visible()
    rows = page.get_by_role("region", name="Measurements").get_by_role("row")
    expect(rows.filter(has_text="perplexity ratio").first).to_be_visible()
    expect(page.locator(".chart .drawing").first).to_be_visible()
    assert serious_violations(page) == []

    for address in ("/dashboards/?study=sparsegpt", "/case-studies/"):
        page.goto(address)
        expect(
            page.get_by_role("link", name=re.compile(label, re.IGNORECASE)).first
        ).to_be_visible()
    # Where results are quoted, one that only tests that the study works does not displace others.
    page.goto("/taxonomy/pruning/")
    expect(page.get_by_role("main")).to_contain_text("reference run")
    expect(page.get_by_role("link", name=re.compile(label, re.IGNORECASE))).to_have_count(0)


@pytest.mark.usefixtures("_worker")
def test_a_run_is_cancelled_by_who_watches_it(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    start_a_run(page, "quick")
    status = page.get_by_role("region", name="State")
    expect(status).to_contain_text("running", timeout=MILLISECONDS_OF_A_RUN)
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    page.get_by_role("button", name="Cancel").click()
    expect(status).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Run again")).to_be_visible()


@pytest.mark.usefixtures("_worker")
def test_a_sweep_is_started_and_watched_until_it_is_drawn(open_page: OpenPage) -> None:
    page = open_page(viewport={"width": 390, "height": 844})
    sign_in_to_run(page, "/case-studies/paged-kv-cache/?preset=smoke")
    page.get_by_text("Sweep: a run for each of several values").click()
    page.get_by_label("Parameter that varies").select_option("block")
    page.get_by_label("Its values").fill("3, 2")
    page.get_by_text("Note and tags").click()
    page.get_by_label("Tags").fill("How many")
    page.get_by_role("button", name="Start the run").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"^Sweep \d+: block$"))
    page.evaluate("document.body.dataset.opened = 'once'")
    rows = page.get_by_role("region", name="Runs of the sweep").get_by_role("row")
    expect(rows).to_have_count(3)
    # The first result is drawn while the second run goes on, without loading the page again.
    chart = page.locator("#sweep-filled")
    expect(chart.locator(".drawing")).to_be_visible(timeout=MILLISECONDS_OF_A_RUN)
    assert page.evaluate("document.body.dataset.opened") == "once"
    expect(chart).to_contain_text("Without a result: 2 (")
    expect(rows.filter(has_text="succeeded")).to_have_count(2, timeout=MILLISECONDS_OF_A_RUN)
    expect(page.get_by_role("button", name="Cancel all")).to_have_count(0)
    expect(chart).not_to_contain_text("Without a result")
    chart.get_by_text("Table behind this chart").click()
    expect(chart.locator("tbody tr").filter(has=page.locator("td:text-is('3')"))).not_to_have_count(
        0
    )
    assert serious_violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    rows.nth(1).get_by_role("link").click()
    expect(page.get_by_role("link", name="how many", exact=True)).to_be_visible()


def test_a_line_is_shown_once_however_often_the_page_comes_into_view(open_page: OpenPage) -> None:
    page = open_page(viewport=DESKTOP)
    run = going_on()
    page.goto(run.get_absolute_url())
    say(run, "log", text="said once")
    page.evaluate(
        "for (const _ of [1, 2, 3]) document.dispatchEvent(new Event('visibilitychange'))"
    )
    expect(page.get_by_role("log").get_by_text("said once")).not_to_have_count(0)
    say(run, "log", text="said later")
    expect(page.get_by_role("log").get_by_text("said later")).to_have_count(1)
    expect(page.get_by_role("log").get_by_text("said once")).to_have_count(1)
    run.delete()


def test_a_chart_grows_while_it_is_watched_drawn_or_interactive(open_page: OpenPage) -> None:
    page = open_page(viewport=DESKTOP)
    run = going_on()
    page.goto(run.get_absolute_url())
    chart = page.locator(".chart")
    for count in (1, 2):
        say(run, "point", **POINT, x=count / 10)
        expect(chart.locator(".drawing .mark")).to_have_count(count)
    chart.get_by_text("Table behind this chart").click()
    chart.get_by_role("button", name="Interactive").click()
    expect(chart.locator(".plot .points path")).to_have_count(2)
    say(run, "point", **POINT, x=0.3)
    expect(chart.locator(".plot .points path")).to_have_count(3)
    expect(chart.locator(".drawing")).to_be_hidden()
    expect(chart.locator("tbody tr")).to_have_count(3)
    expect(chart.locator("table")).to_be_visible()
    run.delete()


def serious_violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]
