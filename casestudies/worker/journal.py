"""What a run's process says, on its way into the database.

Events wait in memory until the database takes them, so that a database that restarts loses none.
"""

from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import ValidationError

from casestudies.choices import EventKind, State
from casestudies.lab import result
from casestudies.lab.contract import InvalidResult
from casestudies.lab.result import EVENT, LONGEST_TEXT, Event, Result
from casestudies.models import Run, RunEvent
from casestudies.worker.reconnecting import database

LINES_OF_AN_ERROR = 20


class Journal:
    """The events of one claimed run; written only as long as the claim is the run's."""

    def __init__(self, run: Run) -> None:
        self._run_id, self._claim, self._study = run.pk, run.claim, run.definition
        self._asked = run.parameters, run.seed
        self._waiting: list[RunEvent] = []
        self._room = 1024 * settings.RUN_LOG_KIB
        self._started: result.Started | None = None
        self._progress: result.Progress | None = None
        self._error_lines: list[str] = []
        self.result: Result | None = None
        self.failure = ""

    def take_line(self, line: str) -> None:
        """Take in a line of the process's standard output; what is no event is kept as an error."""
        try:
            event = EVENT.validate_json(line)
        except ValidationError:
            self.take_error_line(line)
        else:
            self._take(event)

    def take_error_line(self, line: str) -> None:
        """Take in a line of the process's standard error."""
        text = line[:LONGEST_TEXT].replace("\0", "\ufffd")
        self._error_lines = [*self._error_lines, text][-LINES_OF_AN_ERROR:]
        self._keep(EventKind.ERROR_OUTPUT, {"text": text})

    def notice(self, text: str) -> None:
        """Add a remark of the worker's own."""
        self._waiting.append(self._event(EventKind.NOTICE, {"text": text}))

    def last_words(self) -> str:
        """Return why the process says that it failed, else the end of its standard error."""
        return self.failure or "\n".join(self._error_lines)

    def flush(self) -> Run | None:
        """Write what waits, with a sign of life, and return the run as it now is.

        Returns None when the run is no longer this claim's. Raises Unavailable.
        """
        events = list(self._waiting)
        with database(), transaction.atomic():
            run = self._own_run()
            if run is None:
                return None
            if run.state == State.LOST:
                # Someone took this worker for dead.
                run.state, run.finished, run.error = State.RUNNING, None, ""
            RunEvent.objects.bulk_create(events)
            self._update(run)
            run.heartbeat = Now()
            run.save()
        del self._waiting[: len(events)]
        return run

    def close(self, state: State, error: str = "") -> None:
        """Write what waits and the run's end; for a success its result too, or nothing at all.

        A run whose end was asked for before its success was stored is cancelled.
        Raises Unavailable.
        """
        with database(), transaction.atomic():
            run = self._own_run()
            if run is None:
                return
            RunEvent.objects.bulk_create(self._waiting)
            self._update(run)
            if state == State.SUCCEEDED and run.cancel_asked:
                state = State.CANCELLED
            run.state, run.error = state, error.replace("\0", "\ufffd")
            run.finished = timezone.now()
            if state == State.SUCCEEDED and self.result:
                run.keep_result(self.result)
            else:
                run.save()
        self._waiting.clear()

    def _update(self, run: Run) -> None:
        """Take over into the run what its process said last of itself and of its progress."""
        if self._started:
            run.keep_environment(self._started.environment)
        if self._progress:
            run.done, run.stage = self._progress.done, self._progress.stage
            run.step = self._progress.step

    def _take(self, event: Event) -> None:
        data = event.model_dump(mode="json", exclude={"event"}, exclude_none=True)
        match event:
            case result.Finished():
                self._take_result(event.result)
            case result.Failed():
                self.failure = event.error[:LONGEST_TEXT]
            case result.Log():
                self._keep(EventKind.LOG, {"text": event.text[:LONGEST_TEXT]})
            case result.Started():
                self._started = event
                self._keep(EventKind.STARTED, data)
            case result.Progress():
                self._progress = event
                self._keep(EventKind.PROGRESS, data)
            case result.MeasuredEvent():
                self._keep(EventKind.MEASUREMENT, data)
            case result.CurvePoint():
                self._keep(EventKind.POINT, data)

    def _take_result(self, document: dict[str, Any]) -> None:
        if self._study is None:
            return
        try:
            found = self._study.read(document)
        except InvalidResult as error:
            self.failure = f"What it left is not a result of this study: {error}"[:LONGEST_TEXT]
            return
        if (found.parameters, found.seed) == self._asked:
            self.result = found
        else:
            self.failure = "What it left is the result of other parameters or another seed"

    def _keep(self, kind: EventKind, data: dict[str, Any]) -> None:
        if self._room < 0:
            return
        self._room -= len(str(data))
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
