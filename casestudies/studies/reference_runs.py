"""The results that ship with the project, so that the first look is not empty.

Each file in `fixtures/runs` is what one preset printed on the machine that it names.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any

from django.db import transaction
from pydantic import ValidationError

from casestudies.choices import State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import Result
from casestudies.models import Measurement, Run
from taxonomy.claims import outcomes

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "runs"


class InvalidRun(ValueError):
    """A file does not hold a reference run; the message names the file and what is wrong."""


@dataclass(frozen=True)
class RecordedRun:
    """What a record holds, be it a file of `fixtures/runs` or of somebody's contribution."""

    preset: str
    started: datetime
    finished: datetime
    result: Result

    @property
    def values(self) -> dict[str, Any]:
        """Return the columns of its run, without what `Run.take_over` adds."""
        return {
            "study": self.result.study,
            "preset": self.preset,
            "parameters": self.result.parameters,
            "seed": self.result.seed,
            "device": self.result.environment.device,
            "state": State.SUCCEEDED,
            "created": self.started,
            "started": self.started,
            "finished": self.finished,
        }


def load(folder: Path = FOLDER) -> int:
    """Make the reference runs those of `folder`, in one transaction, and return how many.

    Runs that are already there with the same date keep their addresses. All are judged, since
    rules may have changed. Raises InvalidRun.
    """
    shipped = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    with transaction.atomic():
        here = Run.objects.exclude(reference=None)
        here.exclude(reference__in=shipped).delete()
        runs = {str(run.reference): run for run in here.prefetch_related("measurements")}
        for name, run in list(runs.items()):
            if run.finished != shipped[name].finished:
                runs.pop(name).delete()
            elif not _unchanged(run, shipped[name]):
                _rewrite(run, shipped[name])
        added = {name: record for name, record in shipped.items() if name not in runs}
        runs |= _added(added)
        outcomes.keep(runs[name].findings(record.result) for name, record in shipped.items())
    return len(shipped)


def _unchanged(run: Run, record: RecordedRun) -> bool:
    """Return whether the run is as the file has it, in words of today."""
    try:
        same = run.result == record.result
    except ValidationError:  # stored by a version whose form is no longer read
        return False
    columns = record.values | {"hardware": record.result.environment.hardware}
    return same and all(getattr(run, column) == value for column, value in columns.items())


def _read(path: Path) -> RecordedRun:
    try:
        record = json.loads(path.read_text("utf-8"))
        study = STUDIES.get(record["result"]["study"])
        if study is None:
            raise InvalidRun(f"{path}: no study is named {record['result']['study']!r}")
        started, finished = (datetime.fromisoformat(record[key]) for key in ("started", "finished"))
        return RecordedRun(record["preset"], started, finished, study.read(record["result"]))
    except KeyError as error:
        raise InvalidRun(f"{path}: {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise InvalidRun(f"{path}: {error}") from None


def _rewrite(run: Run, record: RecordedRun) -> None:
    """Store the run as the file has it now."""
    for column, value in record.values.items():
        setattr(run, column, value)
    run.measurements.all().delete()
    measurements = run.take_over(record.result)
    run.save()
    Measurement.objects.bulk_create(measurements)


def _added(records: Mapping[str, RecordedRun]) -> dict[str, Run]:
    """Return runs that are new, stored in two queries."""
    runs = {name: Run(reference=name, **record.values) for name, record in records.items()}
    measurements = [runs[name].take_over(record.result) for name, record in records.items()]
    Run.objects.bulk_create(runs.values())
    Measurement.objects.bulk_create(chain.from_iterable(measurements))
    return runs
