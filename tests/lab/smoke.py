"""One smoke run of each study, for all tests that look at it."""

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.result import EVENT, Event, Result, Started

ROOT = Path(__file__).parents[2]
PARTS = 2
# The studies that the chosen tests look at, once they are collected.
asked_for: set[str] = set()


@dataclass(frozen=True)
class SmokeRun:
    """What a study's run said, what the report has of it, and that as a result of its study."""

    events: list[Event]
    document: dict[str, Any]
    result: Result


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Return how `python -m casestudies.lab` with these arguments ended."""
    command = [sys.executable, "-m", "casestudies.lab", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def _part_of(slug: str) -> int:
    return list(STUDIES).index(slug) % PARTS


def shares_the_smoke_run(slug: str) -> pytest.MarkDecorator:
    """Send a test to the process that makes this study's smoke run, once with others of its part.

    Two processes share the studies, so that the run of all keeps both cores busy.
    """
    return pytest.mark.xdist_group(f"smoke run, part {_part_of(slug) + 1}", study=slug)


@dataclass(frozen=True)
class RunOfMany:
    """What each study said by its slug, what the report has of each, and standard error."""

    events: dict[str, list[Event]]
    rows: dict[str, dict[str, Any]]
    errors: str

    def of(self, slug: str) -> SmokeRun:
        """Return the study's part; where it failed, the test does and says why."""
        document = self.rows[slug]["result"]
        assert document, f"{self.rows[slug]['reason']}\n{self.errors}"
        return SmokeRun(self.events[slug], document, STUDIES[slug].read(document))


def run_of(*slugs: str) -> RunOfMany:
    """Run the smoke preset of these studies, or of all."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        done = lab("run-all", *slugs, "--report", str(path))
        assert path.exists(), done.stderr
        rows = json.loads(path.read_text(encoding="utf-8"))
    events: dict[str, list[Event]] = {}
    study = ""
    for line in done.stdout.splitlines():
        event = EVENT.validate_json(line)
        if isinstance(event, Started):
            study = event.study
        events.setdefault(study, []).append(event)
    return RunOfMany(events, {row["study"]: row for row in rows}, done.stderr)


@cache
def _run_of_part(part: int) -> RunOfMany:
    """Run every study of the part that is asked for, once in this process."""
    return run_of(*(slug for slug in list(STUDIES)[part::PARTS] if slug in asked_for))


def smoke_run(slug: str) -> SmokeRun:
    """Return the study's part of the smoke run."""
    return _run_of_part(_part_of(slug)).of(slug)
