"""A limit on how often one address may ask for something that costs much to make."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec

from django.core.cache import cache
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render

EXPORTS_PER_MINUTE = 60

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def limited(per_minute: int) -> Callable[[View[P]], View[P]]:
    """Return a decorator: more than `per_minute` requests of one address answer 429.

    The count is kept in Django's cache; with the default one, each web process counts alone.
    """

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def throttled(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            window, elapsed = divmod(int(time.time()), 60)
            key = f"{view.__module__}.{view.__name__}:{request.META.get('REMOTE_ADDR')}:{window}"
            cache.add(key, 0, timeout=120)
            if cache.incr(key) <= per_minute:
                return view(request, *args, **kwargs)
            wait = 60 - elapsed
            response = render(request, "429.html", {"wait": wait}, status=429)
            response["Retry-After"] = str(wait)
            return response

        return throttled

    return decorate
