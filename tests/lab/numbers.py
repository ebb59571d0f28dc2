"""What the smoke run of each study counts and computes, as it was written down.

python -m tests.lab.numbers [STUDY ...]           fails where one finds something else
python -m tests.lab.numbers --write [STUDY ...]   what they find is right from now on

What is counted is the same on any machine; what is computed is so but for rounding, which some
studies make more of. What is timed is not written down; of curves, how many points they have.
Beside it stands what each preset needs, which no run tells.
"""

import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.result import Result
from tests.lab.smoke import report_of

WRITTEN = Path(__file__).with_suffix(".json")
# Of numbers that a count is divided by or into.
ROUNDING = 1e-9
# Of what is computed; with one thread, and without vector instructions, 0.06 % was the most.
APART = 0.01
# These invert nearly singular matrices or compute in 16 bits: there it was 10 %.
ROUGH = {"sparsegpt", "qmoe", "quantization", "structured-pruning", "mixed-precision"}
ROUGHLY_APART = 0.15
# Below this it may be rounding alone, also in 16 bits, which is held to its order of magnitude.
SMALL, ORDER = 1e-2, 10
NOTHING = 1e-3
# How long loading or saving took decides where these have points.
AT_TIMES = {"time over work by interval, by replay", "P99 by load time, by replay"}


def untimed(study: Study, result: Result) -> list[dict[str, Any]]:
    """Return what the run measured of the metrics that depend on no clock."""
    timed = {metric.name for metric in study.metrics if metric.evidence == "timed"}
    return [
        row.model_dump(include={"metric", "variant", "settings", "value"})
        for row in result.measurements
        if row.metric not in timed
    ]


def points(result: Result) -> list[dict[str, Any]]:
    """Return how many points each curve has that does not depend on a clock for them."""
    return [
        {**curve.model_dump(include={"name", "variant", "settings"}), "points": len(curve.points)}
        for curve in result.series
        if curve.name not in AT_TIMES
    ]


def needs(study: Study) -> dict[str, dict[str, Any]]:
    """Return what a run of each preset needs, as JSON has it."""
    each = {preset: study.needs(study.check(preset, {})) for preset in study.presets}
    return {
        preset: {**asdict(need), "libraries": [*need.libraries]} for preset, need in each.items()
    }


def changed_needs(study: Study) -> list[str]:
    """Return in words which presets need otherwise than is written down."""
    before, now = _written().get(study.slug, {}).get("needs", {}), needs(study)
    return [
        f"{preset}: needed {before.get(preset)} before, {now.get(preset)} now"
        for preset in sorted({*before, *now})
        if before.get(preset) != now.get(preset)
    ]


def changes(study: Study, result: Result) -> list[str]:
    """Return in words what the run found otherwise than is written down.

    Another version of Python carries another text, of which only what is measured is the same, not
    the numbers. A GPU has a memory of its own: nothing is said of it.
    """
    written = _written().get(study.slug)
    if written is None:
        return [f"what it finds is not written down yet; see {__name__}"]
    if result.environment.device != "cpu":
        return []
    same_text = written["text"] == _text(result)
    exact = {metric.name for metric in study.metrics if metric.evidence == "counted"}
    apart = ROUGHLY_APART if study.slug in ROUGH else APART
    before, now = _by_key(written["numbers"]), _by_key(untimed(study, result))
    drawn, curves = points(result), written["curves"]
    changed = [
        key
        for key in sorted({*before, *now}, key=str)
        if (key in before) != (key in now)
        or (same_text and not _same(before[key], now[key], ROUNDING if key[0] in exact else apart))
    ]
    return [
        *(f"a curve that was not there: {curve}" for curve in drawn if curve not in curves),
        *(f"a curve that is gone: {curve}" for curve in curves if curve not in drawn),
        *(f"{key}: {before.get(key)} before, {now.get(key)} now" for key in changed),
    ]


def _text(result: Result) -> str | None:
    read = result.environment.text
    return read.sha256 if read else None


def _written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WRITTEN.read_text(encoding="utf-8"))
    return found


def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], float]:
    return {
        (row["metric"], row["variant"], *sorted(row["settings"].items())): row["value"]
        for row in rows
    }


def _same(before: float, now: float, apart: float) -> bool:
    less, more = sorted((abs(before), abs(now)))
    if apart > ROUNDING and more < SMALL:
        return more <= max(NOTHING, ORDER * less)
    return math.isclose(before, now, rel_tol=apart)


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
        written[slug] = {
            "text": _text(result),
            "needs": needs(STUDIES[slug]),
            "numbers": untimed(STUDIES[slug], result),
            "curves": points(result),
        }
    studies = []
    for slug in filter(written.__contains__, STUDIES):
        parts = ", ".join(f'"{name}": {_lines(part)}' for name, part in written[slug].items())
        studies.append(f'"{slug}": {{{parts}}}')
    WRITTEN.write_text("{" + ",\n".join(studies) + "}\n", encoding="utf-8")


def _lines(part: Any) -> str:
    if isinstance(part, list):
        return "[\n  " + ",\n  ".join(map(json.dumps, part)) + "]"
    return json.dumps(part)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(*sys.argv[2:])
    else:
        found = results(*sys.argv[1:])
        lines = [
            f"{slug}: {line}"
            for slug, result in found.items()
            for line in changed_needs(STUDIES[slug]) + changes(STUDIES[slug], result)
        ]
        sys.exit("\n".join(lines) or None)
