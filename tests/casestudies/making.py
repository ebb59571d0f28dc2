"""People and runs with everything that a test does not care about filled in."""

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import Permission, User

from casestudies.choices import UNFINISHED, Device, State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.machine import Machine
from casestudies.models import Measurement, Run, Sweep

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENVIRONMENT: dict[str, Any] = {
    "device": "cpu",
    "processor": "Example Processor",
    "cores": 2,
    "threads": 2,
    "memory_bytes": 16 * 2**30,
    "system": "Linux-6",
    "python": "3.11.7",
    "libraries": {"torch": "2.13.0+cpu", "numpy": "2.4.6"},
    "commit": "0123456789abcdef",
    "precision": "float32",
    "model": {"name": "Example-135M", "sha256": "aa" * 32},
    "text": {"name": "Example text", "sha256": "bb" * 32},
}
HERE = Machine(cores=2, memory_bytes=64 * 2**30)  # enough for every preset
# Metric, variant, value, and settings where there are any.
MEASURED: list[tuple[Any, ...]] = [
    ("perplexity", "dense", 13.0),
    ("perplexity", "sparsegpt", 20.4),
    ("perplexity ratio", "wanda", 1.92),
    ("perplexity ratio", "sparsegpt", 1.5535739576),
    ("sparsity", "sparsegpt", 0.5),
    ("compression time", "sparsegpt", 15.3177),
]


def a_person(name: str = "ada", *permissions: str) -> User:
    """Return a new account; "add_run" lets it start runs, "change_run" cancel any."""
    person = User.objects.create(username=name)
    person.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return person


def a_run(study: str = "sparsegpt", state: str = State.QUEUED, **values: Any) -> Run:
    """Return a stored run of the study's quick preset, in a state that the database allows."""
    times: dict[str, Any] = {"created": NOON}
    if state != State.QUEUED:
        times |= {"started": NOON + timedelta(seconds=5)}
    if state == State.RUNNING:
        times |= {"claim": uuid.uuid4(), "heartbeat": NOON + timedelta(seconds=6)}
    if state not in UNFINISHED:
        times |= {"finished": NOON + timedelta(seconds=90)}
    preset = values.setdefault("preset", "quick")
    known = STUDIES.get(study)
    parameters = known.check(preset, {}).model_dump(mode="json") if known else {}
    defaults = {"parameters": parameters, "device": Device.CPU, **times}
    return Run.objects.create(study=study, state=state, **{**defaults, **values})


def a_sweep(study: str = "sparsegpt", parameter: str = "sparsity", **values: Any) -> Sweep:
    """Return a stored sweep of the study's quick preset, without runs."""
    defaults = {"preset": "quick", "created": NOON}
    return Sweep.objects.create(study=study, parameter=parameter, **{**defaults, **values})


def a_finished_run(
    study: str = "sparsegpt",
    measured: Iterable[tuple[Any, ...]] = tuple(MEASURED),
    **values: Any,
) -> Run:
    """Return a stored run that succeeded, with these measurements and the outcomes of claims."""
    result = {
        "hardware": "Example Processor, 2 cores, 2 threads",
        "environment": ENVIRONMENT,
        "verdict": "Perplexity goes from 13 to 20.4.",
        "done": 1,
    }
    run = a_run(study, State.SUCCEEDED, **{**result, **values})
    units = {metric.name: metric.unit for metric in STUDIES[study].metrics}
    Measurement.objects.bulk_create(
        Measurement(
            run=run,
            metric=metric,
            variant=variant,
            settings=settings[0] if settings else {},
            value=value,
            unit=units[metric],
            n=1,
        )
        for metric, variant, value, *settings in measured
    )
    run.keep_outcomes(run.result)
    return run
