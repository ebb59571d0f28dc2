"""The whole study as a child process, which is how the site runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Setup
from casestudies.lab.report import Report
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
    found = STUDIES["qmoe"].read(result)
    assert {m.metric for m in found.measurements} == {
        metric.name for metric in STUDIES["qmoe"].metrics if metric.name != "matched loss ratio"
    }
    assert found.value("loss increase", "gptq") < found.value("loss increase", "rtn")
    for code in ("paper", "tunstall-16", "tunstall-8", "rans"):
        payload = found.value("payload", "gptq", code=code)
        assert payload < found.value("bits per weight", "gptq", code=code)
    assert found.value("product speed", "paper", size=1) > 0
    assert 1.15 <= found.value("payload over entropy", "paper") <= 1.18
    assert f"to {found.value('perplexity', 'gptq'):.4g} with GPTQ" in result["verdict"]
    outcomes = {claim: outcome.status for claim, outcome in STUDIES["qmoe"].judge(found).items()}
    assert outcomes == {
        "frantar2023qmoe-0": "supported",
        "frantar2023qmoe-1": "supported",
        "frantar2023qmoe-2": "not run",
    }


def test_a_run_that_cannot_be_says_why() -> None:
    parameters = STUDIES["qmoe"].check("smoke", {"evaluation_windows": 4096})
    report = Report(STUDIES["qmoe"], lambda event: None)
    with pytest.raises(ValueError, match="not 4096"):
        study.run(cast(QMoeParameters, parameters), Setup("cpu", 0), report)
