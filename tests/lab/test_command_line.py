"""`python -m casestudies.lab` as a child process, which is how the site runs it."""

import json
import os

import psutil
import pytest

from casestudies.lab.machine import prepare_threads
from tests.lab.smoke import lab, shares_the_smoke_run, smoke_run


def test_list_names_the_studies() -> None:
    assert lab("list").stdout.startswith("sparsegpt\tSparseGPT: ")


@shares_the_smoke_run("sparsegpt")
def test_sparsegpt_prunes_the_bundled_model() -> None:
    found = smoke_run("sparsegpt").result
    assert found.environment.model
    assert found.environment.model.name.startswith("SmolLM2-135M")
    assert 10 < found.value("perplexity", "dense") < 100
    assert found.value("sparsity", "sparsegpt") == pytest.approx(0.5, abs=0.001)
    error = {name: found.value("reconstruction error", name) for name in ("wanda", "sparsegpt")}
    assert error["sparsegpt"] < 0.5 * error["wanda"]
    assert f"{found.value('perplexity', 'sparsegpt'):.4g} with SparseGPT" in found.verdict


def test_a_run_writes_the_result_with_which_its_events_end(tmp_path) -> None:
    path = tmp_path / "result.json"
    done = lab("run", "paged-kv-cache", "--preset", "smoke", "--seed", "3", "--json", str(path))
    assert done.returncode == 0, done.stderr
    last = json.loads(done.stdout.splitlines()[-1])
    assert last == {"event": "result", "result": json.loads(path.read_text(encoding="utf-8"))}
    assert last["result"]["seed"] == 3


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
        ("--seed", "-1", f"seed: -1 is not valid; integer, 0 to {2**63 - 1}\n"),
        ("--json", "missing/found.json", "json: missing does not exist\n"),
    ],
)
def test_an_invalid_parameter_is_one_line_and_status_2(option, value, line) -> None:
    done = lab("run", "sparsegpt", option, value)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)


def test_run_all_names_what_is_no_study() -> None:
    done = lab("run-all", "lora", "nonsense")
    said = "nonsense is no study; `list` names them\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


@pytest.mark.parametrize(("others_take", "spins"), [(2.0, True), (60.0, False)])
def test_threads_that_wait_spin_only_where_cores_are_idle(
    monkeypatch: pytest.MonkeyPatch, others_take: float, spins: bool
) -> None:
    monkeypatch.setattr(os, "environ", {})
    monkeypatch.setattr(psutil, "cpu_percent", lambda moment: others_take)
    prepare_threads(2)
    assert ("GOMP_SPINCOUNT" in os.environ) is spins
    assert os.environ["OMP_NUM_THREADS"] == "2"


def test_what_the_environment_says_of_waiting_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"OMP_WAIT_POLICY": "active"})
    prepare_threads(None)
    assert os.environ == {"OMP_WAIT_POLICY": "active"}
