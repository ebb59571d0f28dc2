"""The site, served on a database of its own."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_django import DjangoDbBlocker

from reviewapp.limits.models import Count
from tests.database import new_database, url_of, use_database
from tests.edge.site import Site, served


@pytest.fixture(scope="session")
def own_database(reviewed_database: str) -> Iterator[str]:
    """The name of a database that one test process has for its served site, with the review."""
    with new_database(f"edge_of_process_{os.getpid()}", template=reviewed_database) as name:
        yield name


@pytest.fixture(scope="session")
def server(own_database: str) -> Iterator[Site]:
    with (
        tempfile.TemporaryDirectory(prefix="peak-atlas-edge-") as folder,
        served(url_of(own_database), Path(folder), TRUSTED_PROXIES="127.0.0.1") as site,
    ):
        yield site


@pytest.fixture
def site(server: Site, own_database: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Site]:
    """The served site, behind a proxy on this machine; this process uses the same database."""
    with django_db_blocker.unblock(), use_database(own_database):
        Count.objects.all().delete()  # the limits are for a minute, not for a test
        yield server
