"""The whole study as a child process, which is how the site runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Report, Setup
from casestudies.lab.studies.qmoe import study
from casestudies.lab.studies.qmoe.about import QMoeParameters

ROOT = Path(__file__).parents[3]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "casestudies.lab", "run", "qmoe", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment
    )


def test_the_smoke_preset_trains_compresses_and_reports(tmp_path) -> None:
    done = lab("--preset", "smoke", "--json", str(tmp_path / "result.json"))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    fractions = [event["done"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result == events[-1]["result"]
    measured = {(m["metric"], m["variant"]): m["value"] for m in result["measurements"]}
    assert {name for name, _ in measured} == {
        metric.name for metric in STUDIES["qmoe"].metrics if metric.name != "matched loss ratio"
    }
    assert measured["loss increase", "gptq"] < measured["loss increase", "rtn"]
    for code in ("paper", "tunstall-16", "tunstall-8", "rans"):
        assert measured["payload", f"gptq, {code}"] < measured["total", f"gptq, {code}"]
    assert measured["product speed", "paper, 1 MiB"] > 0
    assert 1.15 <= measured["payload over entropy", "paper"] <= 1.18
    assert f"to {measured['perplexity', 'gptq']:.4g} with GPTQ" in result["verdict"]
    comparison = next(c for c in STUDIES["qmoe"].comparisons if c.supported)
    assert comparison.status(measured[comparison.metric, comparison.variant]) == "supported"


@pytest.mark.parametrize(
    ("given", "model", "reason"),
    [
        ({}, Path("some.gguf"), "trains its own model"),
        ({"evaluation_windows": 4096}, None, "not 4096"),
    ],
)
def test_a_run_that_cannot_be_says_why(given, model, reason) -> None:
    parameters = STUDIES["qmoe"].check("smoke", given)
    report = Report(STUDIES["qmoe"], lambda event: None)
    with pytest.raises(ValueError, match=reason):
        study.run(cast(QMoeParameters, parameters), Setup("cpu", 0, model), report)
