"""Problems that the person at the terminal can mend, told in one line."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from django.db import OperationalError, ProgrammingError
from psycopg.errors import UndefinedTable

from reviewapp.server import postgres


@contextmanager
def in_one_line() -> Iterator[None]:
    """Exit with the reason alone where a setting or the database is to blame."""
    try:
        yield
    except (postgres.StartProblem, ImproperlyConfigured, CommandError) as problem:
        sys.exit(str(problem))
    except OSError as error:
        sys.exit(str(error))
    except OperationalError as error:
        sys.exit(_why(error))
    except ProgrammingError as error:
        if not isinstance(error.__cause__, UndefinedTable):
            raise
        sys.exit("The database is not prepared: `make run` or `manage.py migrate` does it")


def _why(error: OperationalError) -> str:
    """Return the cause, which a connection that waited in vain does not know."""
    url = os.environ["DATABASE_URL"]
    try:
        postgres.check_version(url)
    except postgres.StartProblem as problem:
        server = postgres.embedded_server()
        return server.last_problem() if url == server.url else str(problem)
    return "The database failed: " + str(error).partition("\n")[0]
