"""Asking for a run, and asking for its end."""

from collections.abc import Mapping
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
from casestudies.models import Run, Worker
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

    Without a model's name it is the bundled one.
    """

    study: Study
    preset: str
    parameters: Mapping[str, Any]
    seed: int
    device: Device
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


def models_for(study: Study) -> list[str]:
    """Return the names of the models that runs of the study may ask for."""
    return list(offered().models) if "model" in study.accepts else []


def start(owner: User, request: Request) -> Run:
    """Queue a run of the study for `owner`, and return it; raise TooManyWaiting or NoMachine."""
    _refuse_if_no_machine_can(request)
    with transaction.atomic():
        # Two requests at once must not both take the last place.
        User.objects.select_for_update().get(pk=owner.pk)
        waiting = Run.objects.of(owner).queued().count()
        if waiting >= settings.RUNS_QUEUED_PER_USER:
            raise TooManyWaiting(
                f"You have {waiting} runs waiting, which is as many as one may have."
                " Wait until one has started, or cancel one."
            )
        run = Run.objects.create(
            study=request.study.slug,
            preset=request.preset,
            parameters=dict(request.parameters),
            seed=request.seed,
            device=request.device,
            model=request.model,
            owner=owner,
            created=timezone.now(),
        )
        wake_a_worker(run.device)
    return run


def _refuse_if_no_machine_can(request: Request) -> None:
    """Raise NoMachine when there are workers and none has what the run needs.

    Without any worker the run waits for one.
    """
    needs = Run(
        study=request.study.slug,
        preset=request.preset,
        parameters=dict(request.parameters),
        device=request.device,
    ).needs
    workers = Worker.objects.alive().serving(request.device)
    lacking = sorted((needs.unmet(worker.offer) for worker in workers), key=len)
    if lacking and lacking[0]:
        raise NoMachine(f"No worker here can carry it out: {'; '.join(lacking[0])}.")


def cancel(run: Run) -> bool:
    """Ask for the end of the run; return False when it had already ended.

    A run that waits is cancelled at once. The worker of one that runs ends its processes within
    three seconds. When it was asked for first, is kept.
    """
    asked = Coalesce("cancel_asked", Now())
    with transaction.atomic():
        own = Run.objects.filter(pk=run.pk)
        if own.queued().update(state=State.CANCELLED, finished=Now(), cancel_asked=asked):
            return True
        return bool(own.running().update(cancel_asked=asked))
