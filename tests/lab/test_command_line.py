"""`python -m casestudies.lab` as a child process, which is how the site runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "casestudies.lab", *arguments]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=root, env=environment
    )


def test_list_names_the_studies() -> None:
    assert lab("list").stdout.startswith("sparsegpt\tSparseGPT: ")


def test_the_smoke_preset_prunes_the_bundled_model_and_reports_it(tmp_path) -> None:
    done = lab("run", "sparsegpt", "--preset", "smoke", "--json", str(tmp_path / "result.json"))
    assert done.returncode == 0, done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [events[0]["event"], events[-1]["event"]] == ["started", "result"]
    fractions = [event["done"] for event in events if event["event"] == "progress"]
    assert fractions == sorted(fractions)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result == events[-1]["result"]
    assert result["environment"]["model"]["name"].startswith("SmolLM2-135M")
    assert len(result["environment"]["text"]["sha256"]) == 64
    measured = {(m["metric"], m["variant"]): m["value"] for m in result["measurements"]}
    assert 10 < measured["perplexity", "dense"] < 100
    assert measured["sparsity", "sparsegpt"] == pytest.approx(0.5, abs=0.001)
    error = {name: measured["reconstruction error", name] for name in ("wanda", "sparsegpt")}
    assert error["sparsegpt"] < 0.5 * error["wanda"]
    assert f"{measured['perplexity', 'sparsegpt']:.4g} with SparseGPT" in result["verdict"]


def test_a_failed_run_says_why_in_its_last_event(tmp_path) -> None:
    done = lab("run", "sparsegpt", "--preset", "smoke", "--model", str(tmp_path))
    assert done.returncode == 1
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["event"] == "failed"
    assert "config.json" in last["error"]


@pytest.mark.parametrize(
    ("option", "value", "line"),
    [
        ("--sparsity", "2", "sparsity: '2' is not valid; number, 0.05 to 0.95\n"),
        ("--threads", "0", "threads: 0 is not valid; integer, 1 or more\n"),
        ("--text", "missing.txt", "text: missing.txt does not exist\n"),
    ],
)
def test_an_invalid_parameter_is_one_line_and_status_2(option, value, line) -> None:
    done = lab("run", "sparsegpt", option, value)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
