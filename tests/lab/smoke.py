"""One smoke run of each study, as the site runs it, for all tests that look at it."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import EVENT, Event, Result

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class SmokeRun:
    """What a run said, what it left in a file, and that file as a result of its study."""

    events: list[Event]
    document: dict[str, Any]
    result: Result


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return how `python -m casestudies.lab` with these arguments ended."""
    command = [sys.executable, "-m", "casestudies.lab", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


@cache
def smoke_run(slug: str) -> SmokeRun:
    """Run the study's smoke preset, once in this process; a run that fails shows its errors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        done = lab("run", slug, "--preset", "smoke", "--json", str(path))
        assert done.returncode == 0, done.stderr
        document = json.loads(path.read_text(encoding="utf-8"))
    events = [EVENT.validate_json(line) for line in done.stdout.splitlines()]
    return SmokeRun(events, document, STUDIES[slug].read(document))


def shares_the_smoke_run(slug: str) -> pytest.MarkDecorator:
    """Return the mark by which all tests of a study's smoke run go to one process."""
    return pytest.mark.xdist_group(f"smoke run of {slug}")
