"""Records of runs: a preset, when it ran, and its result, as the project ships them."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from casestudies.lab.batch import to_its_end
from casestudies.lab.result import EVENT, Environment, Failed


def make(
    slug: str, preset: str, options: Sequence[str] = (), seconds: float | None = None
) -> dict[str, Any]:
    """Run a preset of the study on this machine in a process of its own and return its record.

    `options` are further ones of `run`. Raises CalledProcessError when the run fails, and
    TimeoutExpired when it takes more seconds than are given.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, "-m", "casestudies.lab", "run", slug, "--preset", preset]
        started = datetime.now(UTC)
        command += [*options, "--json", str(result)]
        to_its_end(command, seconds, stdout=subprocess.PIPE).check_returncode()
        return {
            "preset": preset,
            "started": started.isoformat(),
            "finished": datetime.now(UTC).isoformat(),
            "result": json.loads(result.read_text("utf-8")),
        }


def last_words(ended: subprocess.CalledProcessError) -> str:
    """Return why a run that `make` began has failed, by the last event that it wrote."""
    for last in (ended.stdout or "").splitlines()[-1:]:
        with suppress(ValidationError):  # one that was killed may have written half of it
            if isinstance(event := EVENT.validate_json(last), Failed):
                return event.error
    return f"its process ended with status {ended.returncode}"


def keep(folder: Path, slug: str, record: dict[str, Any]) -> Path:
    """Write the record under a name made of study, preset and hardware; return the file's path."""
    environment = Environment(**record["result"]["environment"])
    path = _path(folder, slug, record["preset"], environment)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def gather(records: Sequence[dict[str, Any]], file: Path) -> None:
    """Write the records into one file, a list of them, which is what one sends."""
    file.write_text(json.dumps(records) + "\n", encoding="utf-8")


def is_there(folder: Path, slug: str, preset: str, environment: Environment) -> bool:
    """Return whether the folder holds the preset's record of this hardware and this very commit."""
    path = _path(folder, slug, preset, environment)
    if environment.commit is None or environment.commit.endswith("-dirty") or not path.exists():
        return False
    kept = json.loads(path.read_text("utf-8"))["result"]["environment"]["commit"]
    return bool(kept == environment.commit)


def _path(folder: Path, slug: str, preset: str, environment: Environment) -> Path:
    hardware = re.sub(r"[^a-z0-9]+", "-", environment.hardware_class.lower()).strip("-")
    return folder / f"{slug}-{preset}-{hardware}.json"
