"""What the smoke run of each study counts and computes, as it was written down.

python -m tests.lab.numbers [STUDY ...]           fails where one finds something else
python -m tests.lab.numbers --write [STUDY ...]   what they find is right from now on

What is counted is the same on any machine; what is computed is so but for rounding, which some
studies make more of; what is timed has an order of magnitude. Of a curve, that is the mean of its
heights. Of a verdict a number that is timed is not written down, which `--write` knows from a
second time. Beside it stands what each preset sets and needs, which no run tells.
"""

import json
import math
import re
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Study
from casestudies.lab.metrics import HIGHER, Metric
from casestudies.lab.result import Progress, Result
from tests.lab.smoke import SmokeRun, run_of

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
# So many times as long may take on another machine, or a busy one, what is timed.
BUSY = 30
LEAST_SHARE = 0.01
# In a verdict.
NUMBER = re.compile(r"[+−-]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[+-]?\d+)?")
# What was timed decides on these, and on words of the verdict: which plan or cluster is best, what
# a deadline or a link bears.
DECIDED_BY_TIMES = {
    "auto-parallel": {"bytes sent"},
    "communication-compression": {"break-even link"},
    "phase-splitting": {"machines for prompts", "machines for tokens"},
    "request-scheduling": {"goodput"},
    "fault-tolerance": set(),
    "statistical-multiplexing": {
        "served in time",
        "highest load",
        "greatest burstiness",
        "gain in rate",
        "gain in burstiness",
        "gain in latency",
        "prediction error",
        "formula error",
    },
}
# It decides where these curves have points, or how high they are.
AT_TIMES = {
    "time over work by interval, by replay",
    "P99 by load time, by replay",
    "idle share by micro-batches",
}


def measured(study: Study, result: Result) -> list[dict[str, Any]]:
    """Return what the run measured, how often each, without units and spreads."""
    told = {"metric", "variant", "settings", "n"}
    return [
        {**row.model_dump(include=told), "value": _telling(study.metric(row.metric), row.value)}
        for row in result.measurements
    ]


def curves(study: Study, result: Result) -> list[dict[str, Any]]:
    """Return of each curve its metric, how many points it has and their mean height."""
    metrics = {series.name: study.metric(series.metric) for series in study.series}
    return [
        {
            "curve": curve.name,
            "metric": metrics[curve.name].name,
            **curve.model_dump(include={"variant", "settings"}),
            "n": len(curve.points),
            "value": _telling(metrics[curve.name], fmean(y for _, y in curve.points or [(0, 0)])),
        }
        for curve in result.series
    ]


def _telling(metric: Metric, value: float) -> float:
    return float(f"{value:.2g}") if metric.evidence == "timed" else value


def presets(study: Study) -> dict[str, dict[str, Any]]:
    """Return what each preset sets and what a run of it needs, as JSON has it."""
    asked = {preset: study.check(preset, {}) for preset in study.presets}
    return {
        preset: {
            "needs": {**asdict(need := study.needs(one)), "libraries": [*need.libraries]},
            "parameters": one.model_dump(),
        }
        for preset, one in asked.items()
    }


def changed_presets(study: Study) -> list[str]:
    """Return in words which presets set something, or need it, otherwise than is written down."""
    before, now = _written().get(study.slug, {}).get("presets", {}), presets(study)
    return [
        f"{preset}: {before.get(preset)} before, {now.get(preset)} now"
        for preset in sorted({*before, *now})
        if before.get(preset) != now.get(preset)
    ]


def steps(run: SmokeRun) -> dict[str, list[float]]:
    """Return what the run said of how it goes on, without numbers, and how far it was each time."""
    said: dict[str, list[float]] = defaultdict(list)
    for event in run.events:
        if isinstance(event, Progress):
            said[NUMBER.sub("#", f"{event.stage}: {event.step}")].append(event.done)
    return said


def verdict(run: SmokeRun) -> tuple[str, list[str]]:
    """Return the words of the verdict and the numbers between them."""
    return NUMBER.sub("#", run.result.verdict), NUMBER.findall(run.result.verdict)


def changes(study: Study, run: SmokeRun) -> list[str]:
    """Return in words what the run found otherwise than is written down.

    Another version of Python carries another text, of which only what is measured is the same, not
    the numbers. A GPU has a memory of its own: nothing is said of it.
    """
    written = _written().get(study.slug)
    if written is None:
        return [f"what it finds is not written down yet; see {__name__}"]
    result, said = run.result, steps(run)
    if result.environment.device != "cpu":
        return []
    same_text = written["text"] == _text(result)
    before = _by_key([*written["numbers"], *written["curves"]])
    now = _by_key([*measured(study, result), *curves(study, result)])
    changed = [
        f"{key}: {before.get(key)} before, {now.get(key)} now"
        for key in sorted({*before, *now}, key=str)
        if not _agree(study, before.get(key), now.get(key), same_text=same_text)
    ]
    told = written["steps"]
    changed.extend(
        f"“{step}”: at {told.get(step)} of the run before, at {said.get(step)} now"
        for step in sorted({*told, *said})
        if told.get(step) != said.get(step)
    )
    if same_text and study.slug not in DECIDED_BY_TIMES:
        changed.extend(_otherwise(study, written["verdict"], run))
    return changed


def _otherwise(study: Study, written: dict[str, Any], run: SmokeRun) -> list[str]:
    """Return what the verdict says otherwise, but for numbers that are not written down."""
    words, numbers = verdict(run)
    if words != written["words"]:
        return [f"“{written['words']}” before, “{words}” now"]
    pairs = zip(written["numbers"], numbers, strict=True)
    return [
        f"{before} before, {now} now, in “{run.result.verdict}”"
        for before, now in pairs
        if before and not _reads_as(study, before, now)
    ]


def _reads_as(study: Study, before: str, now: str) -> bool:
    one, other = (float(number.replace(",", "").replace("−", "-")) for number in (before, now))
    last = 10.0 ** -len(before.partition("e")[0].partition(".")[2])
    if "e" in before + now:
        return max(one, other) <= NOTHING or _within(ORDER, one, other)
    return math.isclose(one, other, rel_tol=_apart(study), abs_tol=1.5 * last)


def _text(result: Result) -> str | None:
    read = result.environment.text
    return read.sha256 if read else None


def _written() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WRITTEN.read_text(encoding="utf-8"))
    return found


def _by_key(rows: list[dict[str, Any]]) -> dict[tuple[Any, ...], dict[str, Any]]:
    named = ("curve", "metric", "variant")
    return {(*map(row.get, named), *sorted(row["settings"].items())): row for row in rows}


def _agree(
    study: Study, before: dict[str, Any] | None, now: dict[str, Any] | None, *, same_text: bool
) -> bool:
    """Return whether two rows say the same, as far as the evidence of their metric lets them."""
    row = now or before or {}
    if row["metric"] in DECIDED_BY_TIMES.get(study.slug, ()):
        return True
    metric = study.metric(row["metric"])
    at_times = row.get("curve") in AT_TIMES
    if not before or not now or (before["n"] != now["n"] and not at_times):
        return False
    values = before["value"], now["value"]
    if metric.evidence == "timed" or at_times:
        return _within(BUSY, *(_time(metric, value) for value in values))
    return not same_text or _near(study, metric, *values)


def _near(study: Study, metric: Metric, before: float, now: float) -> bool:
    """Return whether what is no time is the same but for rounding, which is seldom none at all."""
    if metric.evidence == "counted":
        return math.isclose(before, now, rel_tol=ROUNDING)
    if before and not now:
        return False
    if (more := max(abs(before), abs(now))) < SMALL:
        return more <= NOTHING or _within(ORDER, abs(before), abs(now))
    return math.isclose(before, now, rel_tol=_apart(study))


def _apart(study: Study) -> float:
    return ROUGHLY_APART if study.slug in ROUGH else APART


def _time(metric: Metric, value: float) -> float:
    """Return what of a time is left, or what it has become, where a share was saved or added."""
    if metric.unit not in {"%", "fraction"}:
        return value
    share = value / 100 if metric.unit == "%" else value
    found = 1 - share if metric.direction == HIGHER else 1 + share
    return max(found, LEAST_SHARE) if found >= 0 else found


def _within(times: float, one: float, other: float) -> bool:
    """Return whether both have the same sign, and neither is more than so many times the other."""
    return one == other or (one * other > 0 and 1 / times <= one / other <= times)


def write(*slugs: str) -> None:
    """Write down what the smoke runs of these studies, or of all, find; keep the others'."""
    written = _written()
    for slug, run in runs(*slugs).items():
        written[slug] = {
            "text": _text(run.result),
            "presets": presets(STUDIES[slug]),
            "steps": steps(run),
            "verdict": _verdict(STUDIES[slug], run, written.get(slug, {}).get("verdict")),
            "numbers": measured(STUDIES[slug], run.result),
            "curves": curves(STUDIES[slug], run.result),
        }
    studies = []
    for slug in filter(written.__contains__, STUDIES):
        parts = ", ".join(f'"{name}": {_lines(part)}' for name, part in written[slug].items())
        studies.append(f'"{slug}": {{{parts}}}')
    WRITTEN.write_text("{" + ",\n".join(studies) + "}\n", encoding="utf-8")


def _verdict(study: Study, run: SmokeRun, before: dict[str, Any] | None) -> dict[str, Any]:
    """Return the verdict without numbers that a clock tells, or that another run told otherwise."""
    words, numbers = verdict(run)
    told = before["numbers"] if before and before["words"] == words else numbers
    rows = run.result.measurements
    timed = [row.value for row in rows if study.metric(row.metric).evidence == "timed"]
    read = {number for number in numbers if any(_is_of(number, value) for value in timed)}
    pairs = zip(numbers, told, strict=True)
    return {
        "words": words,
        "numbers": [now if now == then and now not in read else None for now, then in pairs],
    }


def _is_of(number: str, value: float) -> bool:
    """Return whether a sentence has the value so, or in percent."""
    digits = number.lstrip("+−-").replace(",", "")
    return "." in digits and any(is_rounded(digits, abs(n)) for n in (value, 100 * value))


def is_rounded(number: str, value: float) -> bool:
    """Return whether the number is the value, rounded to as many decimals."""
    decimals = len(number.partition(".")[2])
    return f"{value:.{decimals}f}" == number


def runs(*slugs: str) -> dict[str, SmokeRun]:
    """Return the smoke runs of these studies, or of all; exit where one fails."""
    of_all = run_of(*slugs)
    try:
        return {slug: of_all.of(slug) for slug in of_all.rows}
    except AssertionError as failed:
        sys.exit(str(failed))


def _lines(part: Any) -> str:
    if isinstance(part, list):
        return "[\n  " + ",\n  ".join(map(json.dumps, part)) + "]"
    return json.dumps(part)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write(*sys.argv[2:])
    else:
        lines = [
            f"{slug}: {line}"
            for slug, run in runs(*sys.argv[1:]).items()
            for line in changed_presets(STUDIES[slug]) + changes(STUDIES[slug], run)
        ]
        sys.exit("\n".join(lines) or None)
