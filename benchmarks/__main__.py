"""`make bench`: how the pages' server time grows from 1,000 to 100,000 publications.

Each page is asked for through Django's test client in this process; SQL time is the time spent
in its queries. Both corpora live in one temporary embedded server, so that the ratios of one run
can be compared. It takes a quarter of an hour or more.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import django

from casestudies.lab.machine import said_of_processor
from reviewapp.server.postgres import EmbeddedServer, wheel_binaries

SMALL, LARGE = 1_000, 100_000
ROUNDS = 15
# Some pages remember what they read until the corpus changes; these rows forget them.
AFTER_A_CHANGE = ", after a change"
PAGES = {
    "home": "/",
    f"home{AFTER_A_CHANGE}": "/",
    "answers": "/answers/?about=memory&phase=inference&memory=24",
    f"answers{AFTER_A_CHANGE}": "/answers/?about=memory&phase=inference&memory=24",
    "claim": "/claims/aminabadi2022deepspeedinference-0/",
    "replication": "/replication/",
    f"replication{AFTER_A_CHANGE}": "/replication/",
    "frameworks": "/frameworks/",
    f"frameworks{AFTER_A_CHANGE}": "/frameworks/",
    "taxonomy": "/taxonomy/",
    f"taxonomy{AFTER_A_CHANGE}": "/taxonomy/",
    "taxonomy, memory not stated": "/taxonomy/?memory=not-stated",
    "taxonomy, classes first": "/taxonomy/?pivot=class",
    "taxonomy, a strategy selected": "/taxonomy/?select=strategy:pruning",
    "strategy": "/taxonomy/pruning/",
    f"strategy{AFTER_A_CHANGE}": "/taxonomy/pruning/",
    "publications": "/publications/",
    "publications, two facets": "/publications/?strategy=pruning&class=inference",
    "publications, facets of claims": "/publications/?objective=memory&device_memory=24",
    "publications, search": "/publications/?q=sparse+cache",
    "publications, last page": "/publications/?page=40",
    "search": "/search/?q=sparse+cache",
    f"search{AFTER_A_CHANGE}": "/search/?q=sparse+cache",
    "compare": "/compare/?strategies=distillation,pruning,quantization",
    "compare, classes": "/compare/?classes=inference,serving,training",
}


@dataclass(frozen=True)
class Timing:
    """Median times of one page, in seconds, and its number of queries."""

    view: float
    sql: float
    queries: int


class SqlClock:
    """Adds up the time spent in queries; used as Django's execute wrapper."""

    def __init__(self) -> None:
        self.seconds, self.queries = 0.0, 0

    def __call__(self, execute: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        try:
            return execute(*args)
        finally:
            self.seconds += time.perf_counter() - start
            self.queries += 1


def measure(name: str, address: str) -> Timing:
    """Return the median times of a page over some rounds, after one that is not counted."""
    from django.db import connection
    from django.test import Client

    client, rounds = Client(headers={"host": "localhost"}), []
    for _ in range(ROUNDS + 1):
        if name.endswith(AFTER_A_CHANGE):
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO taxonomy_revision DEFAULT VALUES")
        clock = SqlClock()
        start = time.perf_counter()
        with connection.execute_wrapper(clock):
            response = client.get(address)
        rounds.append((time.perf_counter() - start, clock.seconds))
        if response.status_code != 200:
            raise SystemExit(f"{address} answered {response.status_code}")
    views, sqls = zip(*rounds[1:], strict=True)
    return Timing(statistics.median(views), statistics.median(sqls), clock.queries)


@contextmanager
def corpus(count: int) -> Iterator[None]:
    """Fill a fresh database with the review and `count` synthetic publications; use it inside."""
    from django.core.management import call_command
    from django.db import connection

    from benchmarks import synthetic

    name = f"bench_{count}"
    with connection.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    call_command("migrate", verbosity=0)
    call_command("load_review", "fixtures", stdout=StringIO())
    synthetic.add_publications(count)
    synthetic.refresh_statistics()
    yield
    connection.close()
    connection.settings_dict["NAME"] = before


def timings(count: int) -> dict[str, Timing]:
    with corpus(count):
        return {name: measure(name, address) for name, address in PAGES.items()}


def report(small: dict[str, Timing], large: dict[str, Timing]) -> None:
    print(f"\nServer time per page at {SMALL:,} and {LARGE:,} publications, median of {ROUNDS}")
    print(f"growth: view time, large / small (bar: at most 10); {platform_line()}")
    print("over: view time - (2 x SQL time + 15 ms), the larger of both sizes (bar: at most 0)\n")
    header = ("page", "queries", "view small", "view large", "SQL large", "growth", "over")
    print("{:34} {:>8} {:>12} {:>12} {:>11} {:>7} {:>9}".format(*header))
    for name in PAGES:
        a, b = small[name], large[name]
        over = max((t.view - 2 * t.sql) * 1000 - 15 for t in (a, b))
        print(
            f"{name:34} {a.queries:>3}/{b.queries:<4} {a.view * 1000:>9.1f} ms"
            f" {b.view * 1000:>9.1f} ms {b.sql * 1000:>8.1f} ms {b.view / a.view:>6.1f}x"
            f" {over:>6.0f} ms"
        )


def platform_line() -> str:
    return f"{os.cpu_count()} cores, {said_of_processor().get('model name', 'unknown CPU')}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedServer(Path(folder) / "postgres", wheel_binaries())
        server.start()
        try:
            os.environ["DATABASE_URL"] = server.url
            os.environ["DJANGO_SETTINGS_MODULE"] = "reviewapp.settings"
            from django.conf import settings

            # Static files need not be collected to time a page.
            settings.STORAGES["staticfiles"]["BACKEND"] = (
                "django.contrib.staticfiles.storage.StaticFilesStorage"
            )
            settings.MIDDLEWARE.remove("whitenoise.middleware.WhiteNoiseMiddleware")
            django.setup()
            report(timings(SMALL), timings(LARGE))
        finally:
            server.leave()


if __name__ == "__main__":
    main()
