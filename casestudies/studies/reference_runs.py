"""The results that ship with the project, so that the first look is not empty.

Each file in `fixtures/runs` is what one preset printed on the machine that it names.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction

from casestudies.choices import State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import Result
from casestudies.models import Run

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
        """Return the columns of its run, without what `Run.keep_result` adds."""
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

    Runs that are already there with the same date keep their addresses. Raises InvalidRun.
    """
    shipped = {path.stem: _read(path) for path in sorted(folder.glob("*.json"))}
    with transaction.atomic():
        here = Run.objects.exclude(reference=None)
        here.exclude(reference__in=shipped).delete()
        for name, record in shipped.items():
            here.filter(reference=name).exclude(finished=record.finished).delete()
            _store(name, record)
    return len(shipped)


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


def _store(name: str, shipped: RecordedRun) -> None:
    """Write the run as the file has it, into the row that it has already if there is one."""
    run, _ = Run.objects.update_or_create(reference=name, defaults=shipped.values)
    run.measurements.all().delete()
    run.keep_result(shipped.result)
