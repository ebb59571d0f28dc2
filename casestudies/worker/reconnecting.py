"""The database as a process sees it that must outlive the database's restarts."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection


class Unavailable(Exception):
    """The database does not answer; nothing was written."""


@contextmanager
def database() -> Iterator[None]:
    """Raise Unavailable when the connection fails, and leave the next use to make a new one."""
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        connection.close()
        raise Unavailable(str(error)) from error
