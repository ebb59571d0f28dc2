"""What a GPU must show in minutes: equal numbers, every smoke preset, and quick ones that fit.

All of it is written to a folder as it is found: `report.md`, in `runs` a record of each quick run,
as `fixtures/runs` has them, and all of these in `results.json`, to be sent, which has none of an
earlier check. Nothing is downloaded.
"""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from casestudies.lab import kernels, records
from casestudies.lab.batch import reason_to_skip, table, to_its_end
from casestudies.lab.contract import QUICK, Study
from casestudies.lab.equality import EQUALITIES
from casestudies.lab.measure.equality import Held, hold

DEVICE = "cuda"
# A preset declares the minutes that it takes on two CPU cores; on a GPU those that ship took about
# a quarter of that. One that takes more than is left is ended.
LEAST_SHARE = 0.5
FAILED = "FAILED"
WORDS = {True: "passed", False: FAILED, None: "skipped"}


@dataclass(frozen=True)
class Row:
    """What came of one study's preset; `passed` is None where it was skipped."""

    study: str
    said: str
    passed: bool | None


@dataclass
class Findings:
    """All that was found so far."""

    equal: list[Held] = field(default_factory=list)
    kernels: list[Held] = field(default_factory=list)
    smoke: list[Row] = field(default_factory=list)
    quick: list[Row] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Return whether all that was not skipped is as it must be."""
        return not self._of_word[FAILED]

    @property
    def _of_word(self) -> Counter[str]:
        held = [held.holds for held in [*self.equal, *self.kernels]]
        rows = [row.passed for row in [*self.smoke, *self.quick]]
        return Counter(WORDS[passed] for passed in [*held, *rows])

    def markdown(self) -> str:
        """Return the findings as tables."""
        columns = ("Study", "", "What came of it")
        counts = ", ".join(f"{self._of_word[word]} {word.lower()}" for word in WORDS.values())
        return "\n".join(
            [
                f"# On {DEVICE}: {WORDS[self.passed]} ({counts})\n",
                "## float32 on the device beside float64 on the CPU\n",
                _table_of(self.equal),
                "## Kernels on the device beside float64 on the CPU\n",
                _table_of(self.kernels),
                "## Preset smoke\n",
                table([columns, *((row.study, WORDS[row.passed], row.said) for row in self.smoke)]),
                "## Preset quick\n",
                table([columns, *((row.study, WORDS[row.passed], row.said) for row in self.quick)]),
            ]
        )


def check(studies: Sequence[Study], minutes: float, folder: Path) -> bool:
    """Find all that the minutes allow, write it to the folder, and return whether all passed."""
    end = monotonic() + 60 * minutes
    folder.mkdir(parents=True, exist_ok=True)
    sent = folder / "results.json"
    sent.unlink(missing_ok=True)  # of an earlier check, whose records lie in `runs` yet
    findings = Findings()
    made: list[dict[str, Any]] = []

    def left() -> float:
        return end - monotonic()

    def write() -> None:
        (folder / "report.md").write_text(findings.markdown(), encoding="utf-8")

    def record(study: Study) -> str:
        begun = monotonic()
        made.append(records.make(study.slug, QUICK, ["--device", DEVICE], left()))
        path = records.keep(folder / "runs", study.slug, made[-1])
        records.gather(made, sent)
        return f"{monotonic() - begun:.1f} s, {path.name}. {made[-1]['result']['verdict']}"

    findings.equal += hold(EQUALITIES, DEVICE)
    findings.kernels += hold_kernels(DEVICE)
    write()
    findings.smoke += smoke(folder / "smoke.json", left())
    write()
    for row in quick(studies, left, record):
        findings.quick.append(row)
        write()
    return findings.passed


def hold_kernels(device: str) -> Iterator[Held]:
    """Yield how each kernel comes out on the device beside its reference."""
    try:
        equalities = kernels.equalities()
    except ImportError as error:
        yield Held("kernels", 0, holds=None, why=f"skipped: {error}")
    else:
        yield from hold(equalities, device)


def smoke(report: Path, seconds: float) -> list[Row]:
    """Return what came of the smoke preset of every study on the device, in so many seconds."""
    command = [sys.executable, "-m", "casestudies.lab", "run-all", "--device", DEVICE]
    command += ["--report", str(report)]
    report.unlink(missing_ok=True)
    ended = ""
    try:
        done = to_its_end(command, max(seconds, 0), stdout=subprocess.DEVNULL)
        if done.returncode > 1 or done.returncode < 0:
            ended = f"failed: run-all ended with status {done.returncode}"
    except subprocess.TimeoutExpired:
        ended = f"failed: not done in {seconds:.0f} s"
    rows = json.loads(report.read_text(encoding="utf-8")) if report.exists() else []
    found = [row_of(row) for row in rows]
    return [*found, Row("further ones", ended, passed=False)] if ended else found


def row_of(one: Mapping[str, Any]) -> Row:
    """Return what came of a study that a report of `run-all` has."""
    reason, result = one["reason"], one["result"]
    if reason.startswith("skipped"):
        return Row(one["study"], reason, passed=None)
    said = reason or f"{one['seconds']:.1f} s. {result['verdict']}"
    return Row(one["study"], said, passed=result is not None)


def quick(
    studies: Iterable[Study], left: Callable[[], float], run: Callable[[Study], str]
) -> Iterable[Row]:
    """Yield what came of the quick presets, the shortest first, as long as seconds are left.

    `run` returns what is to be said of one, and raises if it fails.
    """
    for study in sorted(studies, key=lambda study: study.presets[QUICK].minutes):
        declared = study.presets[QUICK].minutes
        if reason := reason_to_skip(study, QUICK, DEVICE):
            yield Row(study.slug, reason, passed=None)
        elif left() < 60 * declared * LEAST_SHARE:
            said = f"declares {declared:g} min on two CPU cores; {max(0, left()) / 60:.1f} are left"
            yield Row(study.slug, f"skipped: {said}", passed=None)
        else:
            try:
                yield Row(study.slug, run(study), passed=True)
            except subprocess.TimeoutExpired as error:
                yield Row(study.slug, f"skipped: not done in {error.timeout:.0f} s", passed=None)
            except subprocess.CalledProcessError as error:
                yield Row(study.slug, f"failed: {records.last_words(error)}", passed=False)


def _table_of(found: Iterable[Held]) -> str:
    rows = [
        (held.what, held.why or f"{held.apart:.1e}", f"{held.tolerance:.0e}", WORDS[held.holds])
        for held in found
    ]
    return table([("Computation", "Apart", "Tolerance", ""), *rows])
