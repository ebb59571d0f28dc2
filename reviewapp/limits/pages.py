"""A limit on how often one address may ask for something that costs much to make."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from reviewapp.limits.counting import address_of, seconds_to_wait_if_counted
from reviewapp.ui.errors import come_again

EXPORTS_PER_MINUTE = 60

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
            who = address_of(request)
            if wait := seconds_to_wait_if_counted(name, who, per_minute, seconds=60):
                return come_again(request, "429.html", wait=wait, status=429)
            return view(request, *args, **kwargs)

        return throttled

    return decorate
