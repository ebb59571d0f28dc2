"""The database as a process sees it that must outlive the database's restarts."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import Error, connection

from reviewapp.edge.unavailable import cannot_serve

log = logging.getLogger(__name__)


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


class Outage:
    """Tells the operator once of each time that the database cannot be used.

    `meanwhile` says what becomes of the work that needs it.
    """

    def __init__(self, meanwhile: str) -> None:
        self._meanwhile = meanwhile
        self._told = False

    def goes_on(self, error: Unavailable) -> None:
        """Take note that the database could not be used."""
        if not self._told:
            log.warning("The database cannot be used, %s: %s", self._meanwhile, error)
        self._told = True

    def is_over(self) -> None:
        """Take note that it could."""
        self._told = False
