"""Asking for a run, and asking for its end."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from casestudies.choices import Device, State
from casestudies.lab.contract import InvalidParameter, Study
from casestudies.lab.models.offered import offered
from casestudies.models import Run, Sweep, Worker
from casestudies.querysets import RunQuerySet
from casestudies.worker.waking import wake_a_worker


class CannotStart(Exception):
    """The run cannot be queued; the message says why. `status` is that of an HTTP answer."""

    status = 409


class TooManyWaiting(CannotStart):
    """The person already has as many runs waiting as one may have."""

    status = 429


class NoMachine(CannotStart):
    """No worker that is there can carry the run out."""


@dataclass(frozen=True)
class Request:
    """What a person asks for: a study's parameters, seed, device and model, all checked.

    Without a model's name it is the bundled one. The note and the tags say what the run is for; it
    computes the same without them.
    """

    study: Study
    preset: str
    parameters: Mapping[str, Any]
    seed: int
    device: Device
    note: str = ""
    tags: Sequence[str] = ()
    model: str = ""

    @classmethod
    def checked(
        cls, study: Study, preset: str, given: Mapping[str, Any], seed: int, device: Device
    ) -> "Request":
        """Return the request; raise InvalidParameter for a value outside the study's schema."""
        parameters = study.check(preset, given).model_dump(mode="json")
        study.check_device(device)
        return cls(study, preset, parameters, seed, device)

    @classmethod
    def like(cls, run: Run, study: Study) -> "Request":
        """Return the request that repeats `run`; raise InvalidParameter if the schema changed."""
        device = Device(run.device)
        return cls.checked(study, run.preset, run.parameters, run.seed, device).on(run.model)

    def on(self, model: str) -> "Request":
        """Return the request on a model that is offered by this name, or on the bundled one.

        Raises InvalidParameter if there is none, or if the study reads no model.
        """
        if model and model not in models_for(self.study):
            raise InvalidParameter("model", "this study is offered no model of that name")
        return replace(self, model=model)

    def as_run(self, owner: User, sweep: Sweep | None = None) -> Run:
        """Return the run that is asked for, not stored yet."""
        return Run(
            study=self.study.slug,
            preset=self.preset,
            parameters=dict(self.parameters),
            seed=self.seed,
            device=self.device,
            model=self.model,
            owner=owner,
            sweep=sweep,
            note=self.note,
            tags=list(self.tags),
            created=timezone.now(),
        )


def models_for(study: Study) -> list[str]:
    """Return the names of the models that runs of the study may ask for."""
    return list(offered().models) if "model" in study.accepts else []


def start(owner: User, request: Request) -> Run:
    """Queue a run of the study for `owner`, and return it; raise TooManyWaiting or NoMachine."""
    run = request.as_run(owner)
    queue(owner, [run])
    return run


def queue(owner: User, runs: Sequence[Run]) -> None:
    """Store the runs of `owner`, for one kind of device, which then wait: all of them or none.

    Raises TooManyWaiting or NoMachine.
    """
    _refuse_if_no_machine_can(runs)
    with transaction.atomic():
        # Two requests at once must not both take the last place. The rows that refer to the
        # account, as that of a sweep, are no reason to wait.
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)
        waiting, most = Run.objects.of(owner).queued().count(), most_waiting()
        if waiting + len(runs) > most:
            raise TooManyWaiting(_no_place(waiting, most, len(runs)))
        Run.objects.bulk_create(runs)
        wake_a_worker(runs[0].device)


def most_waiting() -> int:
    """Return how many runs one person may have waiting."""
    return math.ceil(settings.RUNS_QUEUED_PER_USER)


def _no_place(waiting: int, most: int, wanted: int) -> str:
    if wanted == 1:
        return (
            f"You have {waiting} runs waiting, which is as many as one may have."
            " Wait until one has started, or cancel one."
        )
    return (
        f"These are {wanted} runs, and you have {waiting} waiting of the {most} that one may have."
        " Ask for fewer values, or wait until others have started."
    )


def _refuse_if_no_machine_can(runs: Sequence[Run]) -> None:
    """Raise NoMachine when there are workers and none has what one of the runs needs.

    Without any worker the runs wait for one.
    """
    workers = list(Worker.objects.alive().serving(Device(runs[0].device)))
    for run in runs:
        lacking = sorted((run.needs.unmet(worker.offer) for worker in workers), key=len)
        if lacking and lacking[0]:
            what = f"{run.sweep.parameter_in_words} {run.swept_value}" if run.sweep else "it"
            raise NoMachine(f"No worker here can carry {what} out: {'; '.join(lacking[0])}.")


def cancel(run: Run) -> bool:
    """Ask for the end of the run; return False when it had already ended."""
    return bool(end(Run.objects.filter(pk=run.pk)))


def end(runs: RunQuerySet[Run]) -> int:
    """Ask for the end of those of the runs that have not ended; return how many these were.

    A run that waits is cancelled at once. The worker of one that runs ends its processes within
    three seconds. When it was asked for first, is kept.
    """
    asked = Coalesce("cancel_asked", Now())
    with transaction.atomic():
        waiting = runs.queued().update(state=State.CANCELLED, finished=Now(), cancel_asked=asked)
        return waiting + runs.running().update(cancel_asked=asked)
