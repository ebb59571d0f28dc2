"""The lab from a bare clone: its own requirements, and nothing of the site."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from casestudies.lab.catalogue import STUDIES

ROOT = Path(__file__).parents[2]
TAKEN = ["casestudies/__init__.py", "casestudies/lab"]
REQUIREMENTS = ROOT / "casestudies/lab/requirements.txt"
NO_DEPENDENCIES = ROOT / "casestudies/lab/requirements-no-deps.txt"


def take(folder: Path) -> None:
    """Copy what the lab consists of, as git knows it."""
    command = ["git", "ls-files", "-co", "--exclude-standard", "--", *TAKEN]
    files = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in files.splitlines():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)


def asked_for(file: Path) -> Iterator[Requirement]:
    for line in file.read_text().splitlines():
        if text := line.partition("#")[0].strip():
            yield Requirement(text)


def with_dependencies(requirements: Iterable[Requirement]) -> dict[str, Distribution]:
    """Return by name what pip would install for them here."""
    found: dict[str, Distribution] = {}
    waiting = [(requirement, "") for requirement in requirements]
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        if name in found and not requirement.extras:
            continue
        found[name] = distribution(name)
        needed = [Requirement(text) for text in found[name].requires or ()]
        waiting += [(one, extra) for one in needed for extra in ("", *requirement.extras)]
    return found


def link(distributions: Iterable[Distribution], folder: Path) -> None:
    """Make a folder of modules that has those distributions and no others."""
    folder.mkdir()
    for one in distributions:
        names = {file.parts[0] for file in one.files or ()} - {"..", "__pycache__"}
        for name in names:
            if not (folder / name).exists():
                (folder / name).symlink_to(Path(str(one.locate_file(name))))


def test_the_lab_needs_what_it_asks_for_and_nothing_of_the_site(tmp_path: Path) -> None:
    take(tmp_path)
    alone = [distribution(requirement.name) for requirement in asked_for(NO_DEPENDENCIES)]
    modules = tmp_path / "modules"
    link([*with_dependencies(asked_for(REQUIREMENTS)).values(), *alone], modules)
    # Without `site` nothing else that is installed can be imported.
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{modules}"}

    def output_of(*arguments: str) -> str:
        command = [sys.executable, "-S", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    listed = output_of("-m", "casestudies.lab", "list")
    assert [line.split("\t")[0] for line in listed.splitlines()] == list(STUDIES)
    # Every module of every study, and a run from its first event to its result.
    output_of("-c", f"import {', '.join(study.module for study in STUDIES.values())}")
    run = output_of("-m", "casestudies.lab", "run", "mixture-of-experts", "--preset", "smoke")
    assert run.splitlines()[-1].startswith('{"event":"result"')
