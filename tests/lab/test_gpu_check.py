"""What `gpu-check` does, as far as a CPU can tell."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import pytest
import torch

from casestudies.lab import equality, gpu_check, records
from casestudies.lab.batch import reason_to_skip
from casestudies.lab.contract import Preset
from casestudies.lab.gpu_check import Findings, Row
from casestudies.lab.machine import Needs
from casestudies.lab.measure.equality import Equality, Held, hold
from tests.lab.declared import document, toy
from tests.lab.smoke import lab


def study_of(minutes: float, slug: str, **changes):
    """Return a study whose quick preset declares so many minutes."""
    presets = {**toy().presets, "quick": Preset(minutes)}
    return toy(slug=slug, presets=presets, needs=lambda parameters: Needs(), **changes)


@pytest.mark.parametrize("held", equality.EQUALITIES, ids=lambda held: held.what)
def test_float32_here_is_as_near_to_float64_as_a_gpu_must_be(held) -> None:
    assert held.apart("cpu") <= held.tolerance


def test_what_is_further_apart_or_cannot_be_computed_does_not_hold() -> None:
    exact = Equality("exact", 0, equality.EQUALITIES[0].apart)
    (apart,) = hold([exact], "cpu")
    assert apart.apart
    assert not apart.holds
    (failed,) = hold([exact], "no such device")
    assert failed.apart is None
    assert "no such device" in failed.why
    assert not failed.holds
    assert not Findings(equal=[apart]).passed
    assert not Findings(kernels=[apart]).passed
    assert "| exact | " in Findings(equal=[apart]).markdown()


def test_what_was_skipped_is_not_said_to_have_passed() -> None:
    found = Findings(
        equal=[Held("exact", 1e-5, holds=True, apart=0.0)],
        kernels=[Held("kernels", 0, holds=None, why="skipped: No module named 'triton'")],
        smoke=[Row("kv-cache", "1.0 s. Done.", passed=True)],
        quick=[Row("zero", "skipped: it runs on cpu", passed=None)],
    )
    assert found.passed
    head, *rest = found.markdown().splitlines()
    assert head == "# On cuda: passed (2 passed, 0 failed, 2 skipped)"
    assert "| kernels | skipped: No module named 'triton' | 0e+00 | skipped |" in rest
    assert "| zero | skipped | skipped: it runs on cpu |" in rest
    failing = replace(found, smoke=[*found.smoke, Row("lora", "failed: no number", passed=False)])
    assert not failing.passed
    head, *_ = failing.markdown().splitlines()
    assert head == "# On cuda: FAILED (2 passed, 1 failed, 2 skipped)"


def test_smoke_presets_that_this_machine_lacks_something_for_are_skipped() -> None:
    lacks = {"study": "zero", "seconds": 0.0, "reason": "skipped: needs 2 GPUs", "result": None}
    fails = lacks | {"reason": "failed: ArithmeticError: no number"}
    done = lacks | {"reason": "", "result": document()}
    assert [gpu_check.row_of(row).passed for row in (lacks, fails, done)] == [None, False, True]


def test_what_a_package_is_missing_for_is_left_out() -> None:
    def needs_a_package(device: str) -> float:
        return float(import_module("no_such_package").apart(device))

    (left_out,) = hold([Equality("needy", 0, needs_a_package)], "cpu")
    assert left_out.holds is None
    assert left_out.why == "skipped: No module named 'no_such_package'"


def rows_of(seconds: float, run: Callable[..., str], **changes) -> dict[str, Row]:
    """Return what came of studies of 3, 1 and 2 minutes, each of which took what it declares."""
    studies = [study_of(minutes, f"of-{minutes}", **changes) for minutes in (3, 1, 2)]
    left = [seconds]

    def taking(study) -> str:
        left[0] -= 60 * study.presets["quick"].minutes
        return run(study)

    return {row.study: row for row in gpu_check.quick(studies, lambda: left[0], taking)}


def test_quick_presets_run_from_the_shortest_as_long_as_there_is_time() -> None:
    rows = rows_of(200, lambda study: f"ran {study.slug}")
    assert list(rows) == ["of-1", "of-2", "of-3"]
    assert [row.said for row in rows.values()][:2] == ["ran of-1", "ran of-2"]
    assert rows["of-3"].said == ("skipped: declares 3 min on two CPU cores; 0.3 are left")
    assert [row.passed for row in rows.values()] == [True, True, None]


def test_one_that_fails_says_why_and_ends_no_other() -> None:
    def run(study) -> str:
        if study.slug == "of-1":
            said = '{"event": "failed", "error": "ArithmeticError: no number"}\n'
            raise subprocess.CalledProcessError(1, "run", said)
        if study.slug == "of-2":
            raise subprocess.TimeoutExpired("run", 30)
        return "ran"

    rows = rows_of(1000, run)
    assert {slug: (row.said, row.passed) for slug, row in rows.items()} == {
        "of-1": ("failed: ArithmeticError: no number", False),
        "of-2": ("skipped: not done in 30 s", None),
        "of-3": ("ran", True),
    }


def test_one_that_is_killed_in_the_middle_of_a_line_ends_no_other() -> None:
    def run(study) -> str:
        if study.slug == "of-1":
            raise subprocess.CalledProcessError(-9, "run", '{"event": "log"}\n{"event": "resu')
        return "ran"

    said = [row.said for row in rows_of(1000, run).values()]
    assert said == ["failed: its process ended with status -9", "ran", "ran"]


def test_what_a_machine_lacks_is_the_reason_to_skip() -> None:
    assert reason_to_skip(study_of(1, "fits"), "quick", "cpu") == ""
    assert reason_to_skip(toy(devices=("cpu",)), "quick", "cuda") == "skipped: it runs on cpu"
    assert reason_to_skip(toy(), "full", "cpu") == "skipped: it has no preset full"
    needy = replace(study_of(1, "needy"), needs=lambda p: Needs(libraries=("no_such",)))
    assert reason_to_skip(needy, "quick", "cpu") == "skipped: needs the Python package no_such"


def test_a_study_that_reads_the_bundled_model_waits_for_it(monkeypatch) -> None:
    reads = study_of(1, "reads", accepts=("model",))
    assert reason_to_skip(reads, "quick", "cpu") == ""
    monkeypatch.setattr("casestudies.lab.batch.BUNDLED_PACKAGE", "no_such_package")
    assert "is not installed" in reason_to_skip(reads, "quick", "cpu")


def test_a_record_is_named_after_the_card(tmp_path) -> None:
    result = document()
    gpu = {"name": "NVIDIA H100 80GB HBM3", "memory_bytes": 2**36}
    result["environment"] |= {"device": "cuda", "gpu": gpu}
    path = records.keep(tmp_path / "runs", "toy", {"preset": "quick", "result": result})
    assert path.name == "toy-quick-nvidia-h100-80gb-hbm3.json"


def test_what_is_sent_is_of_this_check_alone(monkeypatch, tmp_path) -> None:
    """An earlier check, of an older version, has left a record that no import takes any more."""
    monkeypatch.setattr(gpu_check, "DEVICE", "cpu")
    monkeypatch.setattr(gpu_check, "EQUALITIES", ())
    monkeypatch.setattr(gpu_check, "hold_kernels", lambda device: [])
    monkeypatch.setattr(gpu_check, "smoke", lambda report, seconds: [])
    older = tmp_path / "runs" / "older-quick-nvidia-h100.json"
    older.parent.mkdir()
    older.write_text('{"preset": "no longer"}')
    sent = tmp_path / "results.json"
    sent.write_text(f"[{older.read_text()}]")

    gpu_check.check([], 1, tmp_path)
    assert not sent.exists()

    def made(slug: str, preset: str, *given: object) -> dict[str, Any]:
        return {"preset": preset, "result": document() | {"study": slug}}

    monkeypatch.setattr(records, "make", made)
    # Three minutes on two CPU cores are half as long here, at least, and there are two.
    gpu_check.check([study_of(0, "one"), study_of(3, "two"), study_of(5, "long")], 2, tmp_path)
    assert "| two | passed | 0.0 s, two-quick-" in (tmp_path / "report.md").read_text()
    assert [record["result"]["study"] for record in json.loads(sent.read_text())] == ["one", "two"]
    assert older.exists()


@pytest.mark.parametrize(("status", "ends"), [(0, True), (1, True), (2, False), (-9, False)])
def test_smoke_presets_have_passed_only_where_all_were_carried_out(
    monkeypatch, tmp_path, status, ends
) -> None:
    """One that fails says so itself, by its reason: status 1 is no other failure."""
    report = tmp_path / "smoke.json"
    report.write_text("of an earlier check")

    def carried_out(command, seconds, **streams) -> subprocess.CompletedProcess[str]:
        assert not report.exists()
        row = {"study": "toy", "seconds": 1.0, "reason": "", "result": document()}
        report.write_text(json.dumps([row]))
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(gpu_check, "to_its_end", carried_out)
    found = gpu_check.smoke(report, 600)
    assert [row.study for row in found] == ["toy"] + ["further ones"] * (not ends)
    assert all(row.passed for row in found) is ends


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_smoke_presets_that_do_not_come_to_their_end_have_not_passed(tmp_path) -> None:
    (refused,) = gpu_check.smoke(tmp_path / "smoke.json", 600)
    assert (refused.said, refused.passed) == ("failed: run-all ended with status 2", False)
    (late,) = gpu_check.smoke(tmp_path / "smoke.json", 0.1)
    assert (late.said, late.passed) == ("failed: not done in 0 s", False)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_it_says_so_in_a_line(tmp_path) -> None:
    done = lab("gpu-check", "--report", str(tmp_path / "out"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "gpu-check needs a CUDA device; this machine has none\n"
    assert not (tmp_path / "out").exists()
