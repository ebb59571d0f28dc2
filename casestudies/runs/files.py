"""What of a run can be taken away: its result, its measurements, its curves and its log."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_safe

from casestudies.choices import EventKind, State
from casestudies.models import Run, RunEvent
from casestudies.runs.watching import curves, measured
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, limited
from reviewapp.ui.export import csv_lines, provenance, stream

ORIGIN = (
    *("run_id", "run", "origin", "study", "preset", "state", "seed"),
    *("device", "hardware", "commit", "finished", "note", "tags"),
)
MEASURED = ("value", "unit", "n", "spread")
PLAIN_TEXT = "text/plain; charset=utf-8"
EVENTS_AT_ONCE = 2_000


@require_safe
def result(request: HttpRequest, pk: int) -> HttpResponse:
    """Return the result as the lab's `--json` writes it; 409 before there is one, 404 if never."""
    run = get_object_or_404(Run, pk=pk)
    if run.state == State.SUCCEEDED:
        document = run.result.model_dump_json(indent=2) + "\n"
        return HttpResponse(document, content_type="application/json")
    if run.over:
        text, status = f"There is no result: the run ended as {run.state}.\n", 404
    else:
        text, status = f"There is no result yet: the run is {run.state}.\n", 409
    return HttpResponse(text, content_type=PLAIN_TEXT, status=status)


@require_safe
@limited(EXPORTS_PER_MINUTE)
def measurements_csv(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Return the measurements; of a run without a result those that it made before its end."""
    run = get_object_or_404(Run, pk=pk)
    names = _setting_names(run)
    rows = (
        [row.metric, row.variant, *map(row.settings.get, names)]
        + [getattr(row, name) for name in MEASURED]
        for row in measured(run)
    )
    return _csv(request, run, "measurements", ["metric", "variant", *names, *MEASURED], rows)


@require_safe
@limited(EXPORTS_PER_MINUTE)
def curves_csv(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Return the points of the curves."""
    run = get_object_or_404(Run, pk=pk)
    names = _setting_names(run)
    rows = (
        [curve.name, curve.variant, *map(curve.settings.get, names), *point]
        for curve in curves(run)
        for point in curve.points
    )
    return _csv(request, run, "curves", ["series", "variant", *names, "x", "y"], rows)


def _setting_names(run: Run) -> list[str]:
    """Return the conditions that the run's study declares, each a column."""
    return [setting.name for setting in run.definition.settings] if run.definition else []


def _csv(
    request: HttpRequest, run: Run, what: str, header: Sequence[str], rows: Iterator[list[Any]]
) -> StreamingHttpResponse:
    """Return the rows, each with the run that it is of and a column for each of its parameters."""
    finished = run.finished.isoformat() if run.finished else None
    origin = [run.pk, run.label, run.origin, run.study, run.preset, run.state, run.seed]
    origin += [run.device, run.hardware, run.commit, finished, run.note, run.tags]
    origin += run.parameters.values()
    names = [*ORIGIN, *(f"parameters_{name}" for name in run.parameters)]
    lines = csv_lines([*names, *header], ([*origin, *row] for row in rows), provenance(request))
    return stream(lines, f"run-{run.pk}-{what}", "csv")


@require_safe
@limited(EXPORTS_PER_MINUTE)
def log(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    """Return all that the run's process and its worker said, with its steps, as plain text."""
    run = get_object_or_404(Run, pk=pk)
    return StreamingHttpResponse(_log_lines(run), content_type=PLAIN_TEXT)


def _log_lines(run: Run) -> Iterator[str]:
    events = run.events.exclude(kind__in=[EventKind.MEASUREMENT, EventKind.POINT]).order_by("id")
    for event in events.iterator(chunk_size=EVENTS_AT_ONCE):
        yield f"{event.at:%Y-%m-%d %H:%M:%S} {event.kind}: {_words_of(event)}\n"


def _words_of(event: RunEvent) -> str:
    if event.kind == EventKind.PROGRESS:
        words = (event.data.get("done"), event.data.get("stage"), event.data.get("step"))
        return " ".join(str(word) for word in words if word not in (None, ""))
    if event.kind == EventKind.STARTED:
        return json.dumps(event.data, ensure_ascii=False)
    return str(event.data.get("text", ""))
