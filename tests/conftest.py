"""One PostgreSQL server for the whole run, no network beyond it, and kernels interpreted."""

import functools
import gc
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dj_database_url
import hypothesis
import pytest
import pytest_django
import pytest_socket
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.db.backends.base.creation import TEST_DATABASE_PREFIX

from reviewapp.server.postgres import wheel_binaries
from tests.database import new_database, temporary_server, use_database

if TYPE_CHECKING:
    from reviewapp.corpus.models import Review
    from taxonomy.loading.reading import Fixtures

THIS_MACHINE = ["127.0.0.1", "::1"]

# A busy machine makes no test fail.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
# Triton decides by it, when something imports it for the first time, whether it interprets.
os.environ["TRITON_INTERPRET"] = "1"
# Each parallel process has one core: threads of PyTorch that wait for each other, and for a core,
# make some tests ten times as long.
os.environ["OMP_NUM_THREADS"] = "1"
# Each search for garbage goes through all that PyTorch, pandas and the tests themselves hold, and
# took a fifth of the time.
gc.set_threshold(100_000, 50, 100)


def pytest_configure(config: pytest.Config) -> None:
    """Start the server in the first process; the parallel ones inherit its DATABASE_URL."""
    if not os.environ.get("DATABASE_URL"):
        stack = ExitStack()
        os.environ["DATABASE_URL"] = stack.enter_context(temporary_server(wheel_binaries()))
        config.add_cleanup(stack.close)
    # pytest-django has read the settings by now, but nothing has used them yet.
    database = dj_database_url.parse(os.environ["DATABASE_URL"])
    # Connections are not kept here: they would stop the test database from being removed.
    settings.DATABASES["default"].update(database)
    # Static files are served from where they lie, with nothing collected.
    settings.STATIC_ROOT = None
    settings.STORAGES["staticfiles"]["BACKEND"] = (
        "django.contrib.staticfiles.storage.StaticFilesStorage"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin long tests first; only groups, such as those that share a smoke run, come before."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


def pytest_runtest_setup() -> None:
    pytest_socket.socket_allow_hosts(THIS_MACHINE, allow_unix_socket=True)


@functools.cache
def real_fixtures() -> "Fixtures":
    """The project's own fixtures, read once."""
    from taxonomy.loading.reading import read

    return read(Path(__file__).parents[1] / "fixtures")


@pytest.fixture(scope="session")
def reviewed_database(
    django_db_setup: None, django_db_blocker: pytest_django.DjangoDbBlocker
) -> Iterator[str]:
    """The name of a database that holds the review, loaded once a process.

    Loading it in the transaction of each test costs minutes in all, and leaves so many dead rows
    that the planner's guesses are off by any factor.
    """
    from taxonomy.loading.writing import load

    empty = connection.settings_dict["NAME"]
    # There is no test database where every chosen test has one of its own.
    prepared = empty.startswith(TEST_DATABASE_PREFIX)
    connection.close()  # a database that is in use cannot be copied
    with new_database(
        f"reviewed_of_process_{os.getpid()}", empty if prepared else "template1"
    ) as name:
        with django_db_blocker.unblock(), use_database(name):
            if not prepared:
                call_command("migrate", verbosity=0)
            load(real_fixtures())
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE")
        yield name


@pytest.fixture
def _database_of_the_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """Connect to the database that holds the review where the test asks for it, and undoes all.

    One that commits what it writes has a copy of its own.
    """
    if "review" not in request.fixturenames:
        yield
        return
    reviewed = request.getfixturevalue("reviewed_database")
    mark = request.node.get_closest_marker("django_db")
    commits = {"transactional_db", "live_server"}.intersection(request.fixturenames)
    with ExitStack() as stack:
        if commits or (mark and mark.kwargs.get("transaction")):
            name = f"written_by_process_{os.getpid()}"
            stack.enter_context(new_database(name, template=reviewed))
        else:
            name = reviewed
        stack.enter_context(use_database(name))
        yield


@pytest.fixture
def _django_db_helper(_database_of_the_test: None, _django_db_helper: None) -> None:
    """The transaction of a test: the plugin's own, begun in the database that the test asks for."""


@pytest.fixture
def review(db: None) -> "Review":
    """The review, loaded before."""
    from reviewapp.corpus.models import Review

    return Review.objects.get()
