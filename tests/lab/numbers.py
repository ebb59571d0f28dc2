"""What the smoke run of each study counts and computes, as it was written down.

python -m tests.lab.numbers [STUDY ...]           fails where one finds something else
python -m tests.lab.numbers --write [STUDY ...]   what they find is right from now on

What is counted is the same on any machine; what is computed is so but for rounding, which training
and fitting make more of. What is timed is not written down.
"""

import json
import math
import sys
from pathlib import Path
from typing import Any

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.result import Result
from tests.lab.smoke import report_of

WRITTEN = Path(__file__).with_suffix(".json")
# Of numbers that a count is divided by or into.
ROUNDING = 1e-9
# Of what is computed; with one thread, and without vector instructions, 4 % was the most.
APART = 0.1
# Below this it may be rounding alone, also in 16 bits, which is held to its order of magnitude.
SMALL, ORDER = 1e-2, 10
NOTHING = 1e-3


def untimed(study: Study, result: Result) -> list[dict[str, Any]]:
    """Return what the run measured of the metrics that depend on no clock."""
    timed = {metric.name for metric in study.metrics if metric.evidence == "timed"}
    return [
        row.model_dump(include={"metric", "variant", "settings", "value"})
        for row in result.measurements
        if row.metric not in timed
    ]


def changes(study: Study, result: Result) -> list[str]:
    """Return in words what the run found otherwise than is written down.

    Another version of Python carries another text, and a GPU has a memory of its own: nothing is
    said of these.
    """
    written = _written().get(study.slug)
    if written is None:
        return [f"{study.slug}: what it finds is not written down yet; see {__name__}"]
    environment = result.environment
    text = environment.text and environment.text.sha256
    if environment.device != "cpu" or written["text"] != text:
        return []
    exact = {metric.name for metric in study.metrics if metric.evidence == "counted"}
    before, now = _by_key(written["numbers"]), _by_key(untimed(study, result))
    return [
        f"{study.slug}: {', '.join(map(str, key))}: {before.get(key)} before, {now.get(key)} now"
        for key in sorted({*before, *now}, key=str)
        if not _same(before.get(key), now.get(key), exact=key[0] in exact)
    ]


def _written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WRITTEN.read_text(encoding="utf-8"))
    return found


def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], float]:
    return {
        (row["metric"], row["variant"], *sorted(row["settings"].items())): row["value"]
        for row in rows
    }


def _same(before: float | None, now: float | None, *, exact: bool) -> bool:
    if before is None or now is None:
        return False
    if exact:
        return math.isclose(before, now, rel_tol=ROUNDING)
    less, more = sorted((abs(before), abs(now)))
    if more < SMALL:
        return more <= max(NOTHING, ORDER * less)
    return math.isclose(before, now, rel_tol=APART)


def results(*slugs: str) -> dict[str, Result]:
    """Return what the smoke runs of these studies, or of all, found; exit where one fails."""
    done, rows = report_of(*slugs)
    if done.returncode:
        sys.exit(done.stderr)
    return {row["study"]: STUDIES[row["study"]].read(row["result"]) for row in rows}


def write(*slugs: str) -> None:
    """Write down what the smoke runs of these studies, or of all, find; keep the others'."""
    written = _written()
    for slug, result in results(*slugs).items():
        text = result.environment.text
        written[slug] = {
            "text": text and text.sha256,
            "numbers": untimed(STUDIES[slug], result),
        }
    studies = []
    for slug in filter(written.__contains__, STUDIES):
        rows = ",\n  ".join(map(json.dumps, written[slug]["numbers"]))
        text_of_study = json.dumps(written[slug]["text"])
        studies.append(f'"{slug}": {{"text": {text_of_study}, "numbers": [\n  {rows}]}}')
    WRITTEN.write_text("{" + ",\n".join(studies) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(*sys.argv[2:])
    else:
        found = results(*sys.argv[1:])
        lines = [line for slug in found for line in changes(STUDIES[slug], found[slug])]
        sys.exit("\n".join(lines) or None)
