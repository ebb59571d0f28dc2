"""What the rules say of each claim beside the runs that ship, as it was written down.

python -m tests.lab.outcomes           fails where a rule says something else
python -m tests.lab.outcomes --write   what they say is right from now on

Beside each run on this device and as if on another: as measured, and how the claim stands with one
metric of a variant so many times as large, where that is otherwise.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import CLAIMS, Answer, Judgement, Study
from casestudies.lab.result import Result

WRITTEN = Path(__file__).with_suffix(".json")
RUNS = Path(__file__).parents[2] / "fixtures" / "runs"
FACTORS = (0.01, 0.1, 0.3, 0.5, 0.7, 0.85, 0.95, 1.05, 1.15, 1.4, 2, 3, 10, 100)
Row = dict[str, Any]
Changed = dict[tuple[str, str], dict[float, Result]]  # by metric and variant, and by factor


def shipped(study: Study) -> Iterator[tuple[str, Result]]:
    """Yield the name and the result of each run that claims are held against."""
    for path in sorted(RUNS.glob(f"{study.slug}-{CLAIMS}-*.json")):
        yield path.stem, study.read(json.loads(path.read_text(encoding="utf-8"))["result"])


def outcomes(study: Study) -> list[Row]:
    """Return what each rule of the study says of each result, as JSON has it."""
    cases = []
    for name, run in shipped(study):
        for device in study.devices:
            environment = run.environment.model_copy(update={"device": device})
            result = run.model_copy(update={"environment": environment})
            measured = sorted({(one.metric, one.variant) for one in result.measurements})
            changed = {what: {n: _changed(result, what, n) for n in FACTORS} for what in measured}
            cases.append(({"run": name, "device": device}, result, changed))
    return [
        row
        for answer in study.answers
        for of, result, changed in cases
        for row in _said(answer, {"claim": answer.claim, **of}, result, changed)
    ]


def _said(answer: Answer, of: Row, result: Result, changed: Changed) -> Iterator[Row]:
    found = answer.judgement(result)
    yield {**of, "status": found.status, "reason": found.reason, "numbers": _numbers(found)}
    for what, results in changed.items():
        by_factor = {str(n): answer.judgement(one).status for n, one in results.items()}
        turned = {n: status for n, status in by_factor.items() if status != found.status}
        if turned:
            yield {**of, "of": [*what], "times": turned}


def _numbers(found: Judgement) -> list[list[Any]]:
    return [[one.name, float(f"{one.value:.6g}"), one.unit, one.claimed] for one in found.numbers]


def _changed(result: Result, what: tuple[str, str], factor: float) -> Result:
    rows = [
        row.model_copy(update={"value": row.value * factor})
        if (row.metric, row.variant) == what
        else row
        for row in result.measurements
    ]
    return result.model_copy(update={"measurements": rows})


def changes(study: Study) -> list[str]:
    """Return in words what the study's rules say otherwise than is written down."""
    before: list[Row] = json.loads(WRITTEN.read_text(encoding="utf-8")).get(study.slug, [])
    now = outcomes(study)
    return [
        *(f"said before: {row}" for row in before if row not in now),
        *(f"said now: {row}" for row in now if row not in before),
    ]


def write() -> None:
    """Write down what the rules of all studies say."""
    rows = {slug: ",\n  ".join(map(json.dumps, outcomes(study))) for slug, study in STUDIES.items()}
    studies = [f"{json.dumps(slug)}: [\n  {lines}]" for slug, lines in rows.items()]
    WRITTEN.write_text("{" + ",\n".join(studies) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write()
    else:
        sys.exit("\n".join(line for study in STUDIES.values() for line in changes(study)) or None)
