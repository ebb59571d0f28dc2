"""A PostgreSQL server for one test run, and databases of its own for what needs one."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from django.apps import apps
from django.core.management.color import no_style
from django.db import connection
from psycopg import sql

from reviewapp.server.postgres import EmbeddedServer

# What these make faster, they make unsafe only when the machine itself stops.
FAST_SETTINGS = ("fsync", "full_page_writes", "synchronous_commit")


@contextmanager
def temporary_server(binaries: Path) -> Iterator[str]:
    """Yield the URL of a new server made from `binaries`; stop it and remove it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="peak-atlas-tests-"))
    server = EmbeddedServer(folder / "postgres", binaries)
    try:
        server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            for setting in FAST_SETTINGS:
                connection.execute(f"ALTER SYSTEM SET {setting} = off")
            connection.execute("SELECT pg_reload_conf()")
        yield server.url
    finally:
        server.leave()
        shutil.rmtree(folder)


def url_of(name: str) -> str:
    """Return the URL of the database of that name on the tests' server."""
    return urlunsplit(urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}"))


@contextmanager
def new_database(name: str, template: str = "template1") -> Iterator[str]:
    """Make a database on the tests' server, yield its name, and remove it, whoever is connected."""
    quoted = sql.Identifier(name)
    with psycopg.connect(url_of("postgres"), autocommit=True) as server:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        server.execute(made.format(quoted, sql.Identifier(template)))
        try:
            yield name
        finally:
            server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(quoted))


def begin_counting_anew() -> None:
    """Let the next row of each table have the number after its last, whatever was undone before."""
    with connection.cursor() as cursor:
        for sql in connection.ops.sequence_reset_sql(no_style(), apps.get_models()):
            cursor.execute(sql)


@contextmanager
def use_database(name: str) -> Iterator[None]:
    """Connect this process to the database `name` while the context lasts."""
    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
