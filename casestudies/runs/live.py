"""The live view of a run: what is new since a page last asked.

A page asks every two seconds. Streams were tried: each holds a thread of a web process for as long
as somebody watches.
"""

from typing import Any

from django.http import Http404, HttpRequest, JsonResponse
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET

from casestudies.choices import EventKind
from casestudies.runs.charts import charts
from casestudies.runs.facts import environment
from casestudies.runs.watching import SPOKEN, Moment, curves, measured, moment_of, stages

EVENTS_AT_ONCE = 500
LARGEST_ID = 2**63 - 1


@require_GET
@never_cache
def news_since(request: HttpRequest, pk: int) -> JsonResponse:
    """Return what is new since the event `?after=`."""
    moment = moment_of(pk)
    if moment is None:
        raise Http404
    return JsonResponse(news(moment, _event_id(request.GET.get("after"))))


def _event_id(text: str | None) -> int:
    """Return the number, or 0 for what is none."""
    known = text is not None and text.isascii() and text.isdigit() and len(text) < 20
    return min(int(text), LARGEST_ID) if known and text else 0


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
