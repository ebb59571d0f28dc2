"""What is known of a run at one moment, whether it waits, goes on or has ended."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import F, Min, Q
from django.db.models.functions import Now
from django.utils import timezone
from pydantic import TypeAdapter, ValidationError

from casestudies.choices import Device, EventKind, State
from casestudies.lab import result
from casestudies.models import Measurement, Run, RunEvent, Worker
from casestudies.querysets import SILENCE

LINES_SHOWN = 200
SPOKEN = [EventKind.PROGRESS, EventKind.LOG, EventKind.ERROR_OUTPUT, EventKind.NOTICE]

Form = TypeVar("Form")


@dataclass(frozen=True)
class Moment:
    """A run as it is now.

    `silence` is how long ago its worker last gave a sign of life, for a run that goes on. For one
    that waits, `ahead` is how many wait for the same kind of device before it, and
    `worker_alive` is whether any worker is there that serves that device.
    """

    run: Run
    silence: timedelta | None = None
    ahead: int = 0
    worker_alive: bool = True

    @property
    def elapsed(self) -> timedelta | None:
        """Return how long the run has taken so far, or took; None before it has started."""
        if self.run.started is None:
            return None
        return (self.run.finished or timezone.now()) - self.run.started

    @property
    def percent(self) -> int:
        """Return how much of the run is done, rounded down: 100 % means that it has ended."""
        return int(100 * self.run.done)


def moment_of(pk: int) -> Moment | None:
    """Return the run as it is now, lost if its worker has gone silent; None if there is none."""
    runs = Run.objects.select_related("owner", "sweep", "contribution").annotate(
        silence=Now() - F("heartbeat")
    )
    run = runs.filter(pk=pk).first()
    if run is None:
        return None
    if run.state == State.QUEUED:
        workers = Worker.objects.alive().serving(Device(run.device))
        return Moment(run, ahead=_ahead_of(run), worker_alive=workers.exists())
    if run.over:
        return Moment(run)
    if run.silence > SILENCE:
        # A person who watches must learn it even when no worker is left to notice.
        Run.objects.mark_lost()
        run.refresh_from_db()
    return Moment(run, silence=None if run.over else run.silence)


def _ahead_of(run: Run) -> int:
    earlier = Q(created__lt=run.created) | Q(created=run.created, pk__lt=run.pk)
    return Run.objects.queued().filter(earlier, device=run.device).count()


@dataclass(frozen=True)
class StageTime:
    """A part of the run, and how long it took so far."""

    name: str
    took: timedelta
    current: bool = False


def stages(moment: Moment) -> list[StageTime]:
    """Return the parts of the run in their order; one query however many steps there were."""
    steps = moment.run.events.filter(kind=EventKind.PROGRESS).order_by()
    began: list[tuple[str, datetime]] = list(
        steps.values("data__stage")
        .annotate(began=Min("at"), first=Min("id"))
        .order_by("first")
        .values_list("data__stage", "began")
    )
    ends = [at for _, at in began[1:]] + [moment.run.finished or timezone.now()]
    found = [StageTime(name or "", end - at) for (name, at), end in zip(began, ends, strict=False)]
    if found and not moment.run.over:
        found[-1] = replace(found[-1], current=True)
    return found


def last_lines(run: Run, until: int) -> list[RunEvent]:
    """Return the last LINES_SHOWN lines of the log up to the event `until`, oldest first."""
    lines = run.events.filter(kind__in=SPOKEN, id__lte=until).order_by("-id")[:LINES_SHOWN]
    return list(lines)[::-1]


def measured(run: Run) -> list[Measurement]:
    """Return the result's measurements, or without a result those made so far, metric by metric.

    The metrics are in the study's order; those made so far are not saved rows.
    """
    rows = list(run.measurements.all()) if run.state == State.SUCCEEDED else _measured_so_far(run)
    study = run.definition
    place = {metric.name: n for n, metric in enumerate(study.metrics if study else ())}
    return sorted(rows, key=lambda row: place.get(row.metric, len(place)))


def _measured_so_far(run: Run) -> list[Measurement]:
    events = _events(run, EventKind.MEASUREMENT, TypeAdapter(result.MeasuredValue))
    return [Measurement(run=run, **measurement.model_dump()) for measurement in events]


def curves(run: Run) -> list[result.Curve]:
    """Return the series as the result has them, or without a result those drawn so far."""
    if run.state == State.SUCCEEDED:
        return [result.Curve(**curve) for curve in run.series]
    return result.curves_of(_events(run, EventKind.POINT, TypeAdapter(result.CurvePoint)))


def _events(run: Run, kind: EventKind, form: TypeAdapter[Form]) -> Iterable[Form]:
    """Yield what the events of the kind say, without those of an older form."""
    for data in run.events.filter(kind=kind).order_by("id").values_list("data", flat=True):
        try:
            yield form.validate_python(data)
        except ValidationError:
            continue
