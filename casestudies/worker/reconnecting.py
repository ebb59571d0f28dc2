"""The database as a process sees it that must outlive the database's restarts."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connection

from reviewapp.edge.unavailable import cannot_serve


class Unavailable(Exception):
    """The database does not answer, or takes nothing; nothing was written."""


@contextmanager
def database() -> Iterator[None]:
    """Raise Unavailable when the database cannot serve, and leave the next use to connect anew."""
    try:
        yield
    except Error as error:
        if not cannot_serve(error):
            raise
        connection.close()
        raise Unavailable(str(error)) from error
