"""Limits on what costs much to make: how often one address may ask, and how many at once."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import HttpRequest
from django.http.response import HttpResponseBase, StreamingHttpResponse

from reviewapp.limits.counting import address_of, seconds_to_wait_if_counted
from reviewapp.limits.turns import Busy, Turns
from reviewapp.ui.errors import come_again

EXPORTS_PER_MINUTE = 60
SECONDS = 10  # that a long file waits for its turn
long_files = Turns(running=2, waiting=2)  # of each web process

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def counted_as(view: Callable[..., object]) -> str:
    """Return the name under which requests to the view are counted, be it limited already."""
    return f"{view.__module__}.{view.__name__}"


def limited(per_minute: int) -> Callable[[View[P]], View[P]]:
    """Return a decorator: more than `per_minute` requests of one address answer 429.

    Where the count cannot be written, as on a full disk, there is no limit.
    """

    def decorate(view: View[P]) -> View[P]:
        name = counted_as(view)

        @wraps(view)
        def throttled(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            who = address_of(request)
            if wait := seconds_to_wait_if_counted(name, who, per_minute, seconds=60):
                return come_again(request, "429.html", wait=wait, status=429)
            return view(request, *args, **kwargs)

        return throttled

    return decorate


def in_turn(view: View[P]) -> View[P]:
    """Decorate a view that makes a long file: it waits for its turn, or answers 503.

    Of a file that is made while it is sent the turn lasts until its end.
    """

    @wraps(view)
    def waiting(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        with ExitStack() as turn:
            try:
                turn.enter_context(long_files.turn(SECONDS))
            except Busy:
                return come_again(request, "busy.html", wait=SECONDS, status=503)
            response = view(request, *args, **kwargs)
            if isinstance(response, StreamingHttpResponse):
                parts = _until_the_end(iter(response), turn.pop_all())
                next(parts)  # only what has begun is ended when nobody reads it
                return StreamingHttpResponse(
                    parts, status=response.status_code, headers=response.headers
                )
            return response

    return waiting


def _until_the_end(parts: Iterator[bytes], turn: AbstractContextManager[object]) -> Iterator[bytes]:
    with turn:
        yield b""
        yield from parts
