"""The limits hold for each address, whoever else asks, and whichever process is asked."""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django.fixtures import Settings

from casestudies.worker.loop import clear_what_is_over
from reviewapp.limits.counting import seconds_to_wait
from reviewapp.limits.models import Count
from reviewapp.limits.pages import EXPORTS_PER_MINUTE
from reviewapp.server import prepare
from tests.edge.site import Site

pytestmark = pytest.mark.xdist_group("edge")

LIMITED = "/runs/999999/log.txt"  # counts, and costs nothing


def asked(site: Site, addresses: Iterable[str], page: str = LIMITED) -> Counter[int]:
    """Return how often each status came back to these addresses, asking all at once."""
    with ThreadPoolExecutor(8) as people:
        ask = people.map(lambda one: site.status(page, {"X-Forwarded-For": one}), addresses)
        return Counter(ask)


def test_of_many_requests_at_once_exactly_as_many_as_allowed_are_let_in(site: Site) -> None:
    statuses = asked(site, ["192.0.2.1"] * 100)
    assert statuses == {404: EXPORTS_PER_MINUTE, 429: 40}


def test_all_processes_count_together(site: Site) -> None:
    other = Client(REMOTE_ADDR="192.0.2.1")
    assert {other.get(LIMITED).status_code for _ in range(EXPORTS_PER_MINUTE)} == {404}
    refused = site.get(LIMITED, {"X-Forwarded-For": "192.0.2.1"})
    assert refused.status == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert site.status(LIMITED, {"X-Forwarded-For": "192.0.2.2"}) == 404
    assert site.status("/prisma/", {"X-Forwarded-For": "192.0.2.1"}) == 200


def test_a_flood_of_others_makes_nobody_forgotten(site: Site) -> None:
    asked(site, ["192.0.2.1"] * (EXPORTS_PER_MINUTE + 1))
    flood = [f"10.0.{n // 250}.{n % 250}" for n in range(500)]
    assert asked(site, flood) == {404: 500}
    assert asked(site, ["192.0.2.1"]) == {429: 1}
    assert not Count.objects.filter(who__contains=".").exists()  # nobody's address is kept


def test_an_address_of_ipv6_is_its_network(site: Site) -> None:
    own = [f"2001:db8:0:1::{n:x}" for n in range(1, EXPORTS_PER_MINUTE + 2)]
    assert asked(site, own)[429] == 1
    assert asked(site, ["2001:db8:0:1:ffff::1", "2001:db8:0:2::1"]) == {429: 1, 404: 1}


def test_the_api_counts_the_same_way(site: Site) -> None:
    api = "/api/v1/runs/999999/"
    other = Client(REMOTE_ADDR="192.0.2.1")
    assert {other.get(api).status_code for _ in range(120)} == {404}
    assert asked(site, ["192.0.2.1", "192.0.2.2"], api) == {429: 1, 404: 1}


@pytest.mark.parametrize("clear", [clear_what_is_over, prepare.main])
def test_counts_that_say_nothing_any_more_are_deleted_daily_and_at_a_start(
    clear: Callable[[], None], site: Site, settings: Settings, tmp_path: Path
) -> None:
    settings.STATIC_ROOT = tmp_path
    for what in ("over", "current"):
        seconds_to_wait(what, "192.0.2.1", most=1, seconds=60)
    Count.objects.filter(what="over").update(ends=timezone.now() - timedelta(seconds=1))
    clear()
    assert Count.objects.get().what == "current"
