"""One line of JSON for each request, sign-in and token, where LOG_REQUESTS asks for it.

Query strings, headers, cookies and bodies are left out, since they hold what only their sender may
know; and so is a name that nobody has, since some type their password into the wrong field.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, cast

from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db import Error as DatabaseError
from django.dispatch import receiver
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase

log = logging.getLogger(__name__)

LONGEST_METHOD = 20
LONGEST_PATH = 200  # a line stays shorter than what a pipe takes from several processes unmixed


class RequestLog:
    """Middleware that logs each request; the first one, so that it sees what the others answer."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        begun = time.perf_counter()
        response = self.get_response(request)
        if not log.isEnabledFor(logging.INFO):
            return response
        user = _user(request, response)

        def done(size: int) -> None:
            say(
                "request",
                request,
                user,
                method=(request.method or "")[:LONGEST_METHOD],
                path=request.path[:LONGEST_PATH],
                status=response.status_code,
                ms=round(1000 * (time.perf_counter() - begun)),
                bytes=0 if request.method == "HEAD" else size,
            )

        if not isinstance(response, StreamingHttpResponse):
            done(len(cast(HttpResponse, response).content))
        elif "Content-Length" in response:
            done(int(response["Content-Length"]))
        else:
            chunks = cast(Iterator[bytes], response.streaming_content)
            response.streaming_content = SizedStream(chunks, done)
        return response


class SizedStream:
    """The chunks of a streamed answer; tells how many bytes went out when the server closes it."""

    def __init__(self, chunks: Iterable[bytes], done: Callable[[int], None]) -> None:
        self._chunks = chunks
        self._done = done
        self._size = 0
        self._open = True

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._size += len(chunk)
            yield chunk

    def close(self) -> None:
        """Tell the size, whether or not the visitor has stayed to the end."""
        if self._open:
            self._open = False
            self._done(self._size)


def say(event: str, request: HttpRequest | None, user: str | None, **facts: Any) -> None:
    """Log one line: when, what, from which address, who, and the facts about it."""
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "address": request.META.get("REMOTE_ADDR") if request else None,
        "user": user,
        **facts,
    }
    log.info("%s", json.dumps(line))


def _user(request: HttpRequest, response: HttpResponseBase) -> str | None:
    """Return the name of who is signed in; None where a database is down that would know it."""
    if response.status_code == 503 or not hasattr(request, "user"):
        return None
    try:
        return request.user.get_username() or None
    except DatabaseError:
        return None


@receiver(user_logged_in)
def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    say("sign-in", request, user.get_username())


@receiver(user_logged_out)
def _signed_out(request: HttpRequest, user: User | None, **_: Any) -> None:
    say("sign-out", request, user.get_username() if user else None)


@receiver(user_login_failed)
def _refused(credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    if log.isEnabledFor(logging.INFO):
        account = User.objects.filter(username=credentials.get("username")).first()
        say("sign-in refused", request, account.get_username() if account else None)
