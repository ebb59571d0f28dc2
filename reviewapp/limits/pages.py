"""A limit on how often one address may ask for something that costs much to make."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.db import DatabaseError
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render

from reviewapp.limits.counting import address_of, seconds_to_wait

EXPORTS_PER_MINUTE = 60

log = logging.getLogger(__name__)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def limited(per_minute: int) -> Callable[[View[P]], View[P]]:
    """Return a decorator: more than `per_minute` requests of one address answer 429.

    Where the count cannot be written, as on a full disk, there is no limit.
    """

    def decorate(view: View[P]) -> View[P]:
        name = f"{view.__module__}.{view.__name__}"

        @wraps(view)
        def throttled(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                wait = seconds_to_wait(name, address_of(request), per_minute, seconds=60)
            except DatabaseError as error:
                log_uncounted(error)
                wait = 0
            return too_many(request, wait) if wait else view(request, *args, **kwargs)

        return throttled

    return decorate


def log_uncounted(error: DatabaseError) -> None:
    """Log that somebody was let in uncounted, and why."""
    log.error("A request could not be counted: %s", str(error).partition("\n")[0])


def too_many(request: HttpRequest, wait: int) -> HttpResponse:
    """Return the 429 page, which says when to come again."""
    response = render(request, "429.html", {"wait": wait}, status=429)
    response["Retry-After"] = str(wait)
    return response
