"""`make mutants`: break the code in places drawn at random, one at a time; do the tests notice?

What is broken is a clone of what is committed, never the working tree. All tests run once unbroken,
which tells which of them run what. A mutant then meets the tests that run its function, those first
that run least; outside of functions, all that run anything of its file. One of the lab also meets
the smoke runs of studies that import it, processes of their own, of which nothing tells which tests
they are for: run this with the Python that `tests/lab/numbers.json` was written with, for of
another text these compare no number. It takes an hour or two.

    python -m benchmarks.mutants [--places N] [--seed N] [--map FILE] [--under FOLDER ...]
"""

import difflib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import grimp
from cosmic_ray.ast import ast_nodes, get_ast_from_path
from cosmic_ray.mutating import use_mutation
from cosmic_ray.plugins import get_operator, operator_names
from coverage import Coverage, CoverageData

from benchmarks.bars import Bar, all_reached
from reviewapp.server.postgres import EmbeddedServer, wheel_binaries

PACKAGES = ("reviewapp", "taxonomy", "casestudies")
# The tests of the server start whole sites, minutes each, and see them from outside; a run's guard
# is a bare Python of its own, of which nothing records what it runs.
CODE_LEFT_OUT = re.compile(r"/migrations/|/management/|reviewapp/server/|worker/guard\.py")
# The last holds bounds of files that do not hold where it is recorded what runs.
TESTS_LEFT_OUT = ["tests/browser", "tests/edge", "tests/launch", "tests/deploy/test_backup.py"]
# No slip of the pen makes these: bits of what is counted, and identity for equality or order.
FAR_FETCHED = re.compile(
    r"_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(LShift|RShift|BitOr|BitAnd|BitXor|Pow)$"
    r"|_Is(Not)?_(Eq|NotEq|[LG]tE?)$|_(Eq|NotEq|[LG]tE?)_Is(Not)?$"
)
OF_SPEED = re.compile(r"@(lru_cache|cache|compiled|numba\.njit|torch\.(no_grad|inference_mode))\b")
STUDY = re.compile(r"casestudies.lab.studies.(\w+)")
# What these see of a study in the run of all, its own smoke run shows a hundred times as fast.
OF_ALL_STUDIES = "tests/lab/test_smoke.py"
MODELS = re.compile(r"models\.py$")
# A field that is declared otherwise shows where models are compared with migrations, which runs
# none of their lines.
OF_MODELS = "tests/launch/test_settings.py::test_no_change_of_a_model_lacks_its_migration"
# So do studies and equations where all of them are read.
LAB = re.compile(r"casestudies/lab/")
OF_LAB = ["tests/lab/test_equations.py", "tests/lab/test_studies.py"]
# pytest's exit statuses where all tests passed, or there were none: what does not end, or takes all
# memory and is killed, was noticed.
PASSED, NONE_RUN = 0, 5
MOST_STUDIES = 5
MOST_TESTS = 150  # what only the others would notice counts as survived
SECONDS_TO_GIVE_UP = 900
LEAST_NOTICED = 90


@dataclass(frozen=True)
class Mutant:
    """One change of a file; `body` is the lines of the function that it is in, if any."""

    path: str
    line: int
    operator: str
    occurrence: int
    body: range


def places(clone: Path, under: Sequence[str]) -> list[list[Mutant]]:
    """Return for each place of the code in these folders the changes that can be made there.

    What is marked to need a GPU is left out: no test can run it elsewhere.
    """
    found: dict[tuple[str, tuple[int, int]], list[Mutant]] = defaultdict(list)
    operators = {name: get_operator(name) for name in operator_names()}
    coverage = Coverage(data_file=None)
    for file in sorted(file for folder in under for file in (clone / folder).rglob("*.py")):
        path = str(file.relative_to(clone))
        nodes = [] if CODE_LEFT_OUT.search(path) else list(ast_nodes(get_ast_from_path(file)))
        _, _, needs_a_gpu, *_ = coverage.analysis2(str(file))
        for name, operator in operators.items():
            if operator.arguments() or FAR_FETCHED.search(name):
                continue
            changes = [(node, at) for node in nodes for at in operator().mutation_positions(node)]
            for n, (node, (start, _)) in enumerate(changes):
                mutant = Mutant(path, start[0], name, n, _body(node))
                # A declared number, such as a limit, is a choice, which a test would only repeat.
                declared = name == "core/NumberReplacer" and not mutant.body
                if not (declared or mutant.line in needs_a_gpu or _is_no_place(node)):
                    found[path, start].append(mutant)
    return list(found.values())


def _is_no_place(node: Any) -> bool:
    return _of_types(node) or _of_speed(node) or _of_strict(node) or _of_modules_exceptions(node)


def _of_types(node: Any) -> bool:
    """Return whether it is in an annotation or a dataclass's decorator, which no user meets."""
    while node.parent:
        before = node.get_previous_sibling()
        if before == "->" or (before == ":" and node.parent.type in ("annassign", "tfpdef")):
            return True
        if node.type == "decorator" and "dataclass" in node.get_code():
            return True
        node = node.parent
    return False


def _of_speed(node: Any) -> bool:
    """Return whether it is a decorator without which the same is found, only later."""
    return node.type == "decorator" and bool(OF_SPEED.match(node.get_code().strip()))


def _of_strict(node: Any) -> bool:
    """Return whether it tells `zip` that lengths are the same, which no test could see broken."""
    return bool(node.parent and node.parent.get_code().lstrip().startswith("strict="))


def _of_modules_exceptions(node: Any) -> bool:
    """Return whether it catches `module.Exception`, which the operator fails to replace."""
    return node.type == "except_clause" and "." in node.children[1].get_code()


def _body(node: Any) -> range:
    if function := node.search_ancestor("funcdef"):
        body = function.children[-1]
        if body.start_pos <= node.start_pos:
            return range(body.start_pos[0] + 1, body.end_pos[0] + 1)
    return range(0)


class Map:
    """Which tests run which lines, as a run of all of them has recorded it in a file."""

    def __init__(self, recorded: Path) -> None:
        data = CoverageData(str(recorded))
        data.read()
        self.lines = {path: data.contexts_by_lineno(path) for path in data.measured_files()}
        every = (name for file in self.lines.values() for names in file.values() for name in names)
        self.extent = Counter(map(_test, every))

    def is_of(self, clone: Path) -> bool:
        """Return whether the clone has all the tests."""
        return _status(clone, "pytest", "--collect-only", *sorted({*self.extent} - {""})) == 0

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests that should notice the mutant, those that run least first."""
        file = self.lines.get(mutant.path, {})
        of_function = {_test(name) for line in mutant.body for name in file.get(line, ())} - {""}
        of_file = {_test(name) for names in file.values() for name in names} - {""}
        tests = of_function or of_file
        if STUDY.match(mutant.path):
            tests = {test for test in tests if not test.startswith(OF_ALL_STUDIES)}
        known = sorted(tests, key=lambda test: (self.extent[test], test))[:MOST_TESTS]
        return known if mutant.body else [*_of_declarations(mutant.path), *known]


def _of_declarations(path: str) -> list[str]:
    """Return the tests that read what is declared in such a file without running a line of it."""
    if LAB.match(path):
        return OF_LAB
    return [OF_MODELS] if MODELS.search(path) else []


def _test(context: str) -> str:
    """Return the test of a context such as `tests/test_pages.py::test_home[/about/]|run`."""
    return re.split(r"[\[@| ]", context)[0]


class Importers:
    """Which studies import what."""

    def __init__(self, clone: Path) -> None:
        sys.path.insert(0, str(clone))
        self.graph = grimp.build_graph("casestudies")

    def studies(self, path: str) -> list[str]:
        """Return the study that the file is of, or those that import it, directly if any do."""
        module = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        if not LAB.match(path):
            return []
        of = STUDY.match(module)
        found = [of] if of else self._of(self.graph.find_modules_that_directly_import(module))
        found = found or self._of(self.graph.find_downstream_modules(module))
        return sorted({study[1].replace("_", "-") for study in found})[:MOST_STUDIES]

    def _of(self, modules: set[str]) -> list[re.Match[str]]:
        return list(filter(None, map(STUDY.match, modules)))


def record(clone: Path, file: Path) -> None:
    """Run all tests unbroken and write to the file which of them ran what."""
    made = clone / ".coverage"
    settings = {"COVERAGE_PROCESS_START": clone / "pyproject.toml", "COVERAGE_FILE": made}
    tests = [sys.executable, "-m", "pytest", *(f"--ignore={path}" for path in TESTS_LEFT_OUT)]
    recorded = [*tests, "--cov", "--cov-context=test", "--cov-report="]
    environment = os.environ | {n: str(v) for n, v in settings.items()}
    failed = subprocess.call(recorded, cwd=clone, env=environment)
    # Some fail only since they are slower while it is recorded what they run.
    if failed and subprocess.call([*tests, "-n0", "--last-failed"], cwd=clone):
        sys.exit("Tests fail on what is committed, so they cannot tell what is broken")
    shutil.copyfile(made, file)


def noticed(clone: Path, tests: list[str]) -> bool:
    """Return whether one of the tests fails, or nothing can be imported, or they do not end."""
    options = ["-x", "-n0", "-p", "no:randomly"]
    return bool(tests) and _status(clone, "pytest", *options, *tests) not in (PASSED, NONE_RUN)


def smoke_runs_fail(clone: Path, studies: list[str]) -> bool:
    """Return whether a smoke run of one of the studies fails, or finds something else."""
    return bool(studies) and bool(_status(clone, "tests.lab.numbers", *studies))


def _status(clone: Path, *module_and_arguments: str) -> int:
    """Return how it ends; what does not end in time is killed."""
    with subprocess.Popen(
        [sys.executable, "-m", *module_and_arguments],
        cwd=clone,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as running:
        with suppress(subprocess.TimeoutExpired):
            return running.wait(SECONDS_TO_GIVE_UP)
        os.killpg(running.pid, signal.SIGKILL)
    return running.returncode


def survives(clone: Path, mutant: Mutant, tests: list[str], studies: list[str]) -> bool:
    """Break the clone while the tests run; print what was changed if they do not notice."""
    file, operator = clone / mutant.path, get_operator(mutant.operator)()
    with use_mutation(file, operator, mutant.occurrence) as (before, after):
        asked = [partial(noticed, clone, tests), partial(smoke_runs_fail, clone, studies)]
        if STUDY.match(mutant.path):  # one smoke run takes seconds, the tests may take minutes
            asked.reverse()
        if any(fails() for fails in asked):
            return False
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    print(f"{mutant.path}:{mutant.line}", *list(lines)[3:], sep="\n", flush=True)
    return True


def main(count: int, seed: int, kept: Path | None, under: Sequence[str]) -> bool:
    """Print each mutant that no test notices; return whether these are few enough."""
    with tempfile.TemporaryDirectory() as folder:
        clone, recorded = Path(folder) / "clone", (kept or Path(folder) / "map").absolute()
        subprocess.run(["git", "clone", "--quiet", ".", clone], check=True)
        server = EmbeddedServer(Path(folder) / "postgres", wheel_binaries())
        server.start()
        os.environ["DATABASE_URL"] = server.url
        try:
            if not recorded.exists():
                record(clone, recorded)
            met, importers, chance = Map(recorded), Importers(clone), random.Random(seed)
            if not met.is_of(clone):
                sys.exit(f"{recorded} is of other tests: delete it")
            mutants = [chance.choice(place) for place in chance.sample(places(clone, under), count)]
            survivors = 0
            for n, mutant in enumerate(mutants, 1):
                studies = importers.studies(mutant.path)
                survivors += survives(clone, mutant, met.tests(mutant), studies)
                print(f"{n} of {count} met the tests: {survivors} survived", file=sys.stderr)
        finally:
            server.leave()
    share = 100 * (1 - survivors / count)
    return all_reached([Bar(f"of {count} mutants noticed (%)", share, least=LEAST_NOTICED)])


if __name__ == "__main__":
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--places", type=int, default=100, help="how many to break")
    parser.add_argument("--seed", type=int, default=0, help="draws other places")
    parser.add_argument(
        "--map", type=Path, help="what runs what, kept while the code stays the same"
    )
    parser.add_argument("--under", nargs="+", default=PACKAGES, help="breaks these folders alone")
    asked = parser.parse_args()
    sys.exit(not main(asked.places, asked.seed, asked.map, asked.under))
