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


def report_of(*slugs: str) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
    """Return how the smoke runs of these studies, or of all, ended, and the rows of the report."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "report.json"
        done = lab("run-all", *slugs, "--report", str(path))
        assert path.exists(), done.stderr
        return done, json.loads(path.read_text(encoding="utf-8"))


def _part_of(slug: str) -> int:
    return list(STUDIES).index(slug) % PARTS


def shares_the_smoke_run(slug: str) -> pytest.MarkDecorator:
    """Send a test to the process that makes this study's smoke run, once with others of its part.

    Two processes share the studies, so that the run of all keeps both cores busy.
    """
    return pytest.mark.xdist_group(f"smoke run, part {_part_of(slug) + 1}", study=slug)


@dataclass(frozen=True)
class _RunOfMany:
    """What each study said by its slug, what the report has of each, and standard error."""

    events: dict[str, list[Event]]
    rows: dict[str, dict[str, Any]]
    errors: str


@cache
def _run_of_part(part: int) -> _RunOfMany:
    """Run the smoke preset of every study of the part that is asked for, once in this process."""
    done, rows = report_of(*(slug for slug in list(STUDIES)[part::PARTS] if slug in asked_for))
    events: dict[str, list[Event]] = {}
    study = ""
    for line in done.stdout.splitlines():
        event = EVENT.validate_json(line)
        if isinstance(event, Started):
            study = event.study
        events.setdefault(study, []).append(event)
    return _RunOfMany(events, {row["study"]: row for row in rows}, done.stderr)


def smoke_run(slug: str) -> SmokeRun:
    """Return the study's part of the smoke run; where it failed, the test does and says why."""
    whole = _run_of_part(_part_of(slug))
    document = whole.rows[slug]["result"]
    assert document, f"{whole.rows[slug]['reason']}\n{whole.errors}"
    return SmokeRun(whole.events[slug], document, STUDIES[slug].read(document))
