"""What a visitor is told while the database does not answer, or takes nothing."""

import logging
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from psycopg.errors import ProgramLimitExceeded, ReadOnlySqlTransaction

log = logging.getLogger(__name__)

SECONDS_TO_WAIT = 10


def cannot_serve(error: BaseException | None) -> bool:
    """Return whether the error says that the database cannot serve just now.

    It may have stopped, be full of connections, or write nothing for want of space.
    """
    cause = getattr(error, "__cause__", None)
    if isinstance(cause, ProgramLimitExceeded):
        return False  # another time it would be too much as well
    failed = isinstance(error, OperationalError | InterfaceError)
    return failed or isinstance(cause, ReadOnlySqlTransaction)


def database_unavailable(exception: BaseException | None) -> bool:
    """Return whether the database could not serve a request; if so, log why."""
    found = cannot_serve(exception)
    if found:
        log.error("The database cannot serve: %s", str(exception).partition("\n")[0])
    return found


def unavailable() -> HttpResponse:
    """Return a 503 page that asks the database nothing, not even who is signed in."""
    page = render_to_string("503.html", {"wait": SECONDS_TO_WAIT})
    return HttpResponse(page, status=503, headers={"Retry-After": str(SECONDS_TO_WAIT)})


class DatabaseMiddleware:
    """Answers a page that the database has failed with 503."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Return the page; None for an error of another kind."""
        return unavailable() if database_unavailable(exception) else None
