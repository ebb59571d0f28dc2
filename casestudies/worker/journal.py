"""What a run's process says, on its way into the database.

Events wait in memory until the database takes them, so that a database that restarts loses none.
"""

import json
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from casestudies.choices import EventKind, State
from casestudies.models import Measurement, Run, RunEvent
from casestudies.worker.reconnecting import Unavailable, database

LONGEST_TEXT = 4_000
LINES_OF_AN_ERROR = 20
SPOKEN = {
    "started": EventKind.STARTED,
    "progress": EventKind.PROGRESS,
    "log": EventKind.LOG,
    "measurement": EventKind.MEASUREMENT,
    "point": EventKind.POINT,
}


class Journal:
    """The events of one claimed run; written only as long as the claim is the run's."""

    def __init__(self, run: Run) -> None:
        self._run_id, self._claim = run.pk, run.claim
        self._waiting: list[RunEvent] = []
        self._room = 1024 * settings.RUN_LOG_KIB
        self._changes: dict[str, Any] = {}
        self._complaints: list[str] = []
        self.result: dict[str, Any] | None = None
        self.failure = ""

    def said(self, line: str) -> None:
        """Take in a line of the process's standard output."""
        try:
            event = _storable(json.loads(line, parse_constant=_refuse_constant))
            self._take(event.pop("event"), event)
        except (ValueError, AttributeError, KeyError, TypeError):
            self.complained(line)

    def complained(self, line: str) -> None:
        """Take in a line of the process's standard error."""
        text = _storable(line[:LONGEST_TEXT])
        self._complaints = [*self._complaints, text][-LINES_OF_AN_ERROR:]
        self._keep(EventKind.ERROR_OUTPUT, {"text": text})

    def notice(self, text: str) -> None:
        """Add a remark of the worker's own."""
        self._waiting.append(self._event(EventKind.NOTICE, {"text": text}))

    def last_words(self) -> str:
        """Return why the process says that it failed, else the end of its standard error."""
        return self.failure or "\n".join(self._complaints)

    def flush(self) -> Run | None:
        """Write what waits, with a sign of life, and return the run as it now is.

        Returns None when the run is no longer this claim's. Raises Unavailable.
        """
        events, changes = list(self._waiting), self._changes
        self._changes = {}
        try:
            run = self._write_so_far(events, changes)
        except Unavailable:
            self._changes = {**changes, **self._changes}
            raise
        del self._waiting[: len(events)]
        return run

    def close(self, state: State, error: str = "") -> None:
        """Write what waits and the run's end; for a success its result too, or nothing at all.

        A run whose end was asked for before its success was stored is cancelled.
        Raises Unavailable, and KeyError, TypeError, ValueError or DatabaseError for a result
        that is not in the lab's form.
        """
        with database(), transaction.atomic():
            run = self._own_run()
            if run is None:
                return
            RunEvent.objects.bulk_create(self._waiting)
            if state == State.SUCCEEDED and run.cancel_asked:
                state = State.CANCELLED
            changes = {**self._changes, "state": state, "error": _storable(error)}
            if state == State.SUCCEEDED:
                changes |= _keep_result(run, self.result or {}) | {"done": 1, "step": ""}
            _write(run, {**changes, "finished": timezone.now()})
        self._waiting.clear()

    def _write_so_far(self, events: list[RunEvent], changes: dict[str, Any]) -> Run | None:
        with database(), transaction.atomic():
            run = self._own_run()
            if run is None:
                return None
            if run.state == State.LOST:
                # Someone took this worker for dead.
                changes = {**changes, "state": State.RUNNING, "finished": None, "error": ""}
            RunEvent.objects.bulk_create(events)
            _write(run, {**changes, "heartbeat": Now()})
        return run

    def _take(self, name: str, event: dict[str, Any]) -> None:
        if name == "result":
            self.result = event["result"]
        elif name == "failed":
            self.failure = str(event["error"])[:LONGEST_TEXT]
        else:
            if name == "progress":
                done, step = min(1.0, max(0.0, event["done"])), str(event["step"])[:LONGEST_TEXT]
                self._changes |= {"done": done, "step": step}
            elif name == "started":
                environment = event["environment"]
                self._changes |= {"environment": environment, "hardware": hardware(environment)}
            self._keep(SPOKEN[name], event)

    def _keep(self, kind: EventKind, data: dict[str, Any]) -> None:
        if self._room < 0:
            return
        self._room -= len(json.dumps(data))
        if self._room < 0:
            self.notice(
                f"The run has said more than {settings.RUN_LOG_KIB:g} KiB;"
                " what follows is not kept. Its result will be."
            )
        else:
            self._waiting.append(self._event(kind, data))

    def _event(self, kind: EventKind, data: dict[str, Any]) -> RunEvent:
        return RunEvent(run_id=self._run_id, at=timezone.now(), kind=kind, data=data)

    def _own_run(self) -> Run | None:
        own = Run.objects.select_for_update().filter(pk=self._run_id, claim=self._claim)
        return own.filter(state__in=[State.RUNNING, State.LOST]).first()


def hardware(environment: dict[str, Any]) -> str:
    """Return the few words by which runs on the same hardware are told from others."""
    gpu = environment.get("gpu")
    if gpu:
        return str(gpu["name"])
    processor = environment.get("processor") or "unknown processor"
    return f"{processor}, {environment['cores']} cores, {environment['threads']} threads"


def keep_measurements(run: Run, document: dict[str, Any]) -> None:
    """Write the measurements of the result's document as the run's own."""
    Measurement.objects.bulk_create(Measurement(run=run, **row) for row in document["measurements"])


def _keep_result(run: Run, document: dict[str, Any]) -> dict[str, Any]:
    """Write the run's measurements, and return the fields of the run that hold the rest."""
    keep_measurements(run, document)
    return {
        "environment": document["environment"],
        "hardware": hardware(document["environment"]),
        "series": document["series"],
        "verdict": document["verdict"],
    }


def _write(run: Run, changes: dict[str, Any]) -> None:
    for field, value in changes.items():
        setattr(run, field, value)
    run.save(update_fields=list(changes))


def _storable(value: Any) -> Any:
    """Return the same with the characters replaced that PostgreSQL cannot hold."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_storable(item) for item in value]
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
