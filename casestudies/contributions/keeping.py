"""Contributed runs in the database: brought in, taken out, accepted, and no longer accepted."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone

from casestudies.models import Contribution, Run
from casestudies.querysets import ACCEPTED
from casestudies.studies.reference_runs import RecordedRun
from casestudies.studies.results import weigh_again

BRINGING = 0x50656170  # the key of an advisory lock: of two who bring the same run, one is told

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Known:
    """A record of the file, by its place from 1 on, whose run was here already."""

    record: int
    run: Run


@dataclass
class Brought:
    """What came of a file: a contribution, unless all of its runs were here already."""

    file_name: str
    contribution: Contribution | None = None
    runs: list[Run] = field(default_factory=list)
    known: list[Known] = field(default_factory=list)


def bring_in(
    files: Sequence[tuple[str, Sequence[RecordedRun]]],
    contributor: str,
    note: str = "",
    importer: User | None = None,
) -> list[Brought]:
    """Store the runs of all the files, each with its name, or of none; return what came of each.

    A run that is here already, be it shipped or contributed, is not stored again.
    """
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [BRINGING])
        here, bundled = _here(run for _, runs in files for run in runs), _bundled_models()
        contribution = partial(
            Contribution,
            contributor=contributor,
            note=note,
            importer=importer,
            created=timezone.now(),
        )
        return [_keep(runs, here, bundled, contribution(file_name=name)) for name, runs in files]


def _keep(
    recorded: Sequence[RecordedRun],
    here: dict[Key, Run],
    bundled: frozenset[str],
    contribution: Contribution,
) -> Brought:
    """Store what is not `here` yet, where it is added, as the runs of the contribution."""
    brought = Brought(contribution.file_name)
    for n, record in enumerate(recorded, 1):
        if known := here.get(_key(record)):
            brought.known.append(Known(n, known))
            continue
        if brought.contribution is None:
            contribution.save()
            brought.contribution = contribution
        model = record.result.environment.model
        # Rules were written for the bundled model: a run of another must not pass for one of it.
        other = model.name if model and bundled and model.sha256 not in bundled else ""
        run = Run(contribution=contribution, model=other, **record.values)
        run.keep_result(record.result)
        here[_key(record)] = run
        brought.runs.append(run)
    return brought


def _here(recorded: Iterable[RecordedRun]) -> dict[Key, Run]:
    """Return the runs that began when these did and are here already, each by its key."""
    found = Run.objects.succeeded().filter(started__in=[one.started for one in recorded])
    return {_key_of(run): run for run in found.defer("series")}


def _key(record: RecordedRun) -> Key:
    result = record.result
    what = (result.study, record.preset, result.seed, result.environment.hardware)
    return (*what, record.started, record.finished)


def _key_of(run: Run) -> Key:
    return run.study, run.preset, run.seed, run.hardware, run.started, run.finished


def _bundled_models() -> frozenset[str]:
    """Return the hashes of the bundled model, which the reference runs name."""
    runs = Run.objects.filter(reference__isnull=False, environment__model__sha256__isnull=False)
    return frozenset(runs.order_by().values_list("environment__model__sha256", flat=True))


def undo(contribution: Contribution) -> int:
    """Remove the contribution with all of its runs, and nothing else; return how many they were."""
    _, removed = contribution.delete()
    return removed.get(Run._meta.label, 0)


def accept(contribution: Contribution, person: User) -> bool:
    """Let the contribution's runs decide what comes of claims; return False if they do already."""
    values = {"accepted": Now(), "accepted_by": person, "withdrawn": None, "withdrawn_by": None}
    return _decide(contribution, ~ACCEPTED, values)


def withdraw(contribution: Contribution, person: User) -> bool:
    """Take the acceptance back, which stays written down; return False if there is none."""
    return _decide(contribution, ACCEPTED, {"withdrawn": Now(), "withdrawn_by": person})


def _decide(contribution: Contribution, until_now: Q, values: dict[str, Any]) -> bool:
    with transaction.atomic():
        found = Contribution.objects.filter(until_now, pk=contribution.pk)
        changed = found.update(**values)
        weigh_again(contribution.runs.all())
    return bool(changed)
