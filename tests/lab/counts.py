"""What the smoke run of each study counts, the same on any machine, as it was written down.

python -m tests.lab.counts [STUDY ...]           fails where one counts otherwise
python -m tests.lab.counts --write [STUDY ...]   what they count is right from now on
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


def counted(study: Study, result: Result) -> list[dict[str, Any]]:
    """Return what the run measured of the metrics that are exact on any machine."""
    exact = {metric.name for metric in study.metrics if metric.evidence == "counted"}
    return [
        row.model_dump(include={"metric", "variant", "settings", "value"})
        for row in result.measurements
        if row.metric in exact
    ]


def changes(study: Study, result: Result) -> list[str]:
    """Return in words what the run counted otherwise than is written down.

    Another version of Python carries another text, and a GPU has a memory of its own: nothing is
    said of these.
    """
    written = _written().get(study.slug)
    if written is None:
        return [f"{study.slug}: what it counts is not written down yet; see {__name__}"]
    environment = result.environment
    text = environment.text and environment.text.sha256
    if environment.device != "cpu" or written["text"] != text:
        return []
    before, now = _by_key(written["counts"]), _by_key(counted(study, result))
    return [
        f"{study.slug}: {', '.join(map(str, key))}: {before.get(key)} before, {now.get(key)} now"
        for key in sorted({*before, *now}, key=str)
        if not _same(before.get(key), now.get(key))
    ]


def _written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WRITTEN.read_text(encoding="utf-8"))
    return found


def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], float]:
    return {
        (row["metric"], row["variant"], *sorted(row["settings"].items())): row["value"]
        for row in rows
    }


def _same(before: float | None, now: float | None) -> bool:
    if before is None or now is None:
        return False
    return math.isclose(before, now, rel_tol=ROUNDING)


def results(*slugs: str) -> dict[str, Result]:
    """Return what the smoke runs of these studies, or of all, found; exit where one fails."""
    done, rows = report_of(*slugs)
    if done.returncode:
        sys.exit(done.stderr)
    return {row["study"]: STUDIES[row["study"]].read(row["result"]) for row in rows}


def write(*slugs: str) -> None:
    """Write down what the smoke runs of these studies, or of all, count; keep the others'."""
    written = _written()
    for slug, result in results(*slugs).items():
        text = result.environment.text
        written[slug] = {
            "text": text and text.sha256,
            "counts": counted(STUDIES[slug], result),
        }
    studies = []
    for slug in filter(written.__contains__, STUDIES):
        rows = ",\n  ".join(map(json.dumps, written[slug]["counts"]))
        text_of_study = json.dumps(written[slug]["text"])
        studies.append(f'"{slug}": {{"text": {text_of_study}, "counts": [\n  {rows}]}}')
    WRITTEN.write_text("{" + ",\n".join(studies) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(*sys.argv[2:])
    else:
        found = results(*sys.argv[1:])
        lines = [line for slug in found for line in changes(STUDIES[slug], found[slug])]
        sys.exit("\n".join(lines) or None)
