"""The results that ship with the project, so that the first look is not empty.

Each file in `fixtures/runs` is what one preset printed on the machine that it names.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from django.db import transaction

from casestudies.choices import State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import Result
from casestudies.models import Run

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "runs"


class InvalidRun(ValueError):
    """A file does not hold a reference run; the message names the file and what is wrong."""


@dataclass(frozen=True)
class ShippedRun:
    """What a file of `fixtures/runs` holds."""

    preset: str
    started: datetime
    finished: datetime
    result: Result


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


def _read(path: Path) -> ShippedRun:
    try:
        record = json.loads(path.read_text("utf-8"))
        study = STUDIES.get(record["result"]["study"])
        if study is None:
            raise InvalidRun(f"{path}: no study is named {record['result']['study']!r}")
        started, finished = (datetime.fromisoformat(record[key]) for key in ("started", "finished"))
        return ShippedRun(record["preset"], started, finished, study.read(record["result"]))
    except KeyError as error:
        raise InvalidRun(f"{path}: {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise InvalidRun(f"{path}: {error}") from None


def _store(name: str, shipped: ShippedRun) -> None:
    """Write the run as the file has it, into the row that it has already if there is one."""
    result = shipped.result
    run, _ = Run.objects.update_or_create(
        reference=name,
        defaults={
            "study": result.study,
            "preset": shipped.preset,
            "parameters": result.parameters,
            "seed": result.seed,
            "device": result.environment.device,
            "state": State.SUCCEEDED,
            "created": shipped.started,
            "started": shipped.started,
            "finished": shipped.finished,
        },
    )
    run.measurements.all().delete()
    run.keep_result(result)
