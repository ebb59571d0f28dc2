"""The results that ship with the project, so that the first look is not empty.

Each file in `fixtures/runs` is what one preset printed on the machine that it names.
"""

import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils.text import slugify

from casestudies.choices import State
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import Environment
from casestudies.models import Run

FOLDER = Path(__file__).resolve().parents[2] / "fixtures" / "runs"


def load(folder: Path = FOLDER) -> int:
    """Make the reference runs those of `folder`, in one transaction, and return how many.

    Runs that are already there with the same dates keep their rows and addresses.
    """
    shipped = {path.stem: json.loads(path.read_text("utf-8")) for path in folder.glob("*.json")}
    with transaction.atomic():
        here = Run.objects.exclude(reference=None)
        here.exclude(reference__in=shipped).delete()
        for name, record in sorted(shipped.items()):
            finished = datetime.fromisoformat(record["finished"])
            known = here.filter(reference=name, finished=finished).first()
            if known:
                # The rules, or the claims, may have changed since.
                known.keep_outcomes(known.result)
            else:
                here.filter(reference=name).delete()
                _store(name, record)
    return len(shipped)


def _store(name: str, record: dict[str, Any]) -> None:
    """Store a shipped run; raises InvalidResult when it is not a result of its study."""
    result = STUDIES[record["result"]["study"]].read(record["result"])
    started, finished = (datetime.fromisoformat(record[key]) for key in ("started", "finished"))
    run = Run(
        reference=name,
        study=result.study,
        preset=record["preset"],
        parameters=result.parameters,
        seed=result.seed,
        device=result.environment.device,
        state=State.SUCCEEDED,
        created=started,
        started=started,
        finished=finished,
    )
    run.save()
    run.keep_result(result)


def make(slug: str, preset: str) -> dict[str, Any]:
    """Run a preset of the study on this machine and return its record.

    Raises CalledProcessError when the run fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = ["-m", "casestudies.lab", "run", slug, "--preset", preset, "--json", str(result)]
        started = datetime.now(UTC)
        subprocess.run([sys.executable, *command], check=True)
        return {
            "preset": preset,
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
            "result": json.loads(result.read_text("utf-8")),
        }


def keep(slug: str, record: dict[str, Any]) -> Path:
    """Write the record as the study's reference run and return the file's path."""
    environment = Environment(**record["result"]["environment"])
    hardware = slugify(environment.hardware_class)
    path = FOLDER / f"{slug}-{record['preset']}-{hardware}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path
