"""The lab from a bare clone: its own requirements, and nothing of the site."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from casestudies.lab.catalogue import STUDIES

ROOT = Path(__file__).parents[2]
TAKEN = ["Makefile", "casestudies/__init__.py", "casestudies/lab"]
# What `make` and pytest set for themselves is not for another `make`; byte code is not waited for.
ENVIRONMENT = {
    **{k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "PYTHONPATH")},
    "PIP_NO_COMPILE": "1",
}


def output_of(folder: Path, *command: str) -> str:
    """Return what the command prints; one that fails shows its errors."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def take(folder: Path) -> None:
    """Copy what the lab consists of, as git knows it."""
    files = output_of(ROOT, "git", "ls-files", "-co", "--exclude-standard", "--", *TAKEN)
    for name in files.splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)


@pytest.fixture
def folder() -> Iterator[Path]:
    # pytest keeps its own temporary folders, and this one takes more than a gigabyte.
    with tempfile.TemporaryDirectory(prefix="lab-alone-") as name:
        yield Path(name)


def test_make_lab_is_all_that_the_lab_needs(folder: Path) -> None:
    take(folder)
    output_of(folder, "make", "lab", f"PYTHON={sys.executable}")
    lab = [str(folder / ".venv/bin/python"), "-m", "casestudies.lab"]
    listed = output_of(folder, *lab, "list")
    assert [line.split("\t")[0] for line in listed.splitlines()] == list(STUDIES)
    # Every module of every study, and a run from its first event to its result.
    modules = ", ".join(study.module for study in STUDIES.values())
    output_of(folder, lab[0], "-c", f"import {modules}")
    events = output_of(folder, *lab, "run", "mixture-of-experts", "--preset", "smoke").splitlines()
    assert events[-1].startswith('{"event":"result"')
