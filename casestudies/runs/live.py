"""The live view of a run: what is new, as a stream of server-sent events or when asked for.

A stream lasts SECONDS_OF_A_STREAM, then the browser opens the next one where the last one ended.
Each holds a thread of the web process, so there are STREAMS_PER_PROCESS at most; who gets none
asks every two seconds instead. Both tell the same.
"""

import json
import time
from collections.abc import Generator, Iterator
from threading import BoundedSemaphore
from typing import Any

from django.db import InterfaceError, OperationalError, close_old_connections
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from casestudies.choices import EventKind
from casestudies.runs.charts import charts
from casestudies.runs.facts import environment
from casestudies.runs.watching import SPOKEN, Moment, curves, measured, moment_of, stages

STREAMS_PER_PROCESS = 4
SECONDS_OF_A_STREAM = 25.0
SECONDS_BETWEEN_LOOKS = 1.0
SECONDS_TO_RECONNECT = 1
EVENTS_AT_ONCE = 500
LARGEST_ID = 2**63 - 1

_places = BoundedSemaphore(STREAMS_PER_PROCESS)


@require_GET
@never_cache
def poll(request: HttpRequest, pk: int) -> JsonResponse:
    """Return what is new since the event `?after=`."""
    moment = moment_of(pk)
    if moment is None:
        raise Http404
    return JsonResponse(news(moment, _event_id(request.GET.get("after"))))


@require_GET
@never_cache
def stream(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Return the stream of what is new since Last-Event-ID, or since `?after=`; 503 when full."""
    if moment_of(pk) is None:
        raise Http404
    after = _event_id(request.headers.get("Last-Event-ID") or request.GET.get("after"))
    if not _places.acquire(blocking=False):
        busy = "As many people watch already as this server has room for.\n"
        return HttpResponse(busy, status=503, content_type="text/plain", headers={"Retry-After": 2})
    response = StreamingHttpResponse(Stream(pk, after), content_type="text/event-stream")
    response["X-Accel-Buffering"] = "no"  # nginx would keep the events until there are many
    return response


def _event_id(text: str | None) -> int:
    """Return the number, or 0 for what is none."""
    known = text is not None and text.isascii() and text.isdigit() and len(text) < 20
    return min(int(text), LARGEST_ID) if known and text else 0


class Stream:
    """The messages for one browser; holds one of the process's places until it is closed."""

    def __init__(self, pk: int, after: int) -> None:
        self._messages = _messages(pk, after)
        self._open = True

    def __iter__(self) -> Iterator[str]:
        return self._messages

    def close(self) -> None:
        """Free the place, whether or not a message was ever sent."""
        if self._open:
            self._open = False
            self._messages.close()
            _places.release()


def _messages(pk: int, after: int) -> Generator[str]:
    deadline = time.monotonic() + SECONDS_OF_A_STREAM
    yield f"retry: {1000 * SECONDS_TO_RECONNECT}\n\n"
    while True:
        try:
            moment = moment_of(pk)
            if moment is None or moment.run.over:
                yield "event: end\ndata: over\n\n"
                return
            found = news(moment, after)
        except (OperationalError, InterfaceError):
            return  # the browser comes again until the database is back
        finally:
            # Others may use the connection meanwhile.
            close_old_connections()
        after = found["last"]
        yield f"id: {after}\nevent: news\ndata: {json.dumps(found)}\n\n"
        if time.monotonic() >= deadline:
            return
        time.sleep(SECONDS_BETWEEN_LOOKS)


def news(moment: Moment, after: int) -> dict[str, Any]:
    """Return the parts of the page that have changed since the event `after`, as HTML by name.

    `lines` are to be added to the log, the other parts stand for what is there. `last` is the
    event up to which this tells.
    """
    run = moment.run
    events = list(run.events.filter(id__gt=after).order_by("id")[:EVENTS_AT_ONCE])
    kinds = {event.kind for event in events}
    parts = {"status": _html("status", moment=moment)}
    if EventKind.STARTED in kinds:
        parts["facts"] = _html("facts", run=run)
        parts["environment"] = _html("environment", run=run, environment=list(environment(run)))
    if EventKind.PROGRESS in kinds:
        parts["stages"] = _html("stages", run=run, stages=stages(moment))
    if kinds & {EventKind.MEASUREMENT, EventKind.POINT}:
        rows = measured(run)
        if EventKind.MEASUREMENT in kinds:
            parts["measured"] = _html("measured", run=run, measured=rows)
        parts["charts"] = _html("charts", charts=charts(run, rows, curves(run)))
    return {
        "state": run.shown_state,
        "over": run.over,
        "last": events[-1].pk if events else after,
        "lines": _html("lines", lines=[event for event in events if event.kind in SPOKEN]),
        "parts": parts,
    }


def _html(part: str, **context: Any) -> str:
    return render_to_string(f"casestudies/_run_{part}.html", context)
