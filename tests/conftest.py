"""One PostgreSQL server for the whole run, and no network beyond this machine."""

import functools
import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import dj_database_url
import pytest
import pytest_socket
from django.conf import settings

from reviewapp.server.postgres import wheel_binaries
from tests.database import temporary_server

if TYPE_CHECKING:
    from reviewapp.corpus.models import Review
    from taxonomy.loading.reading import Fixtures

THIS_MACHINE = ["127.0.0.1", "::1"]


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


def pytest_runtest_setup() -> None:
    pytest_socket.socket_allow_hosts(THIS_MACHINE, allow_unix_socket=True)


@functools.cache
def real_fixtures() -> "Fixtures":
    """The project's own fixtures, read once."""
    from taxonomy.loading.reading import read

    return read(Path(__file__).parents[1] / "fixtures")


@pytest.fixture
def review(db: None) -> "Review":
    """The review, loaded into the test's database."""
    from taxonomy.loading.writing import load

    return load(real_fixtures())
