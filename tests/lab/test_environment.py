"""What a run says of its machine, and that float32 is float32 there."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from casestudies.lab import __main__ as lab
from casestudies.lab import gpu_check
from casestudies.lab.contract import Setup
from casestudies.lab.machine import Machine, said_of_processor
from casestudies.lab.measure import environment
from casestudies.lab.result import Environment, Gpu
from tests.lab.declared import TOY, document

Precision = tuple[str, bool]
EXACT: Precision = ("highest", False)


def in_force() -> Precision:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32


@pytest.fixture(autouse=True)
def _tf32_is_allowed() -> Iterator[None]:
    before = in_force()
    torch.set_float32_matmul_precision("high")
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


@pytest.fixture(autouse=True)
def _a_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_gpu", lambda: Gpu(name="A card", memory_bytes=1))


def test_float32_of_a_run_is_not_tf32_and_the_result_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[Precision] = []

    def measure(*given: object) -> str:
        seen.append(in_force())
        return "Done."

    monkeypatch.setitem(sys.modules, TOY.module, SimpleNamespace(run=measure))
    assert environment.environment("cuda").tf32 is True
    result = lab.run(TOY, TOY.check("smoke", {}), Setup("cuda", 0), lambda event: None)
    assert seen == [EXACT]
    assert result.environment.tf32 is False
    assert result.environment.libraries.keys() >= {"torch", "triton"}


def test_float32_of_a_check_is_not_tf32(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    seen: list[Precision] = []

    def check(*given: object) -> bool:
        seen.append(in_force())
        return True

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu_check, "check", check)
    (tmp_path / "report.md").touch()
    assert lab.main(["gpu-check", "--report", str(tmp_path)]) == 0
    assert seen == [EXACT]


def test_a_run_says_what_processor_it_had_and_how_busy_others_kept_it(monkeypatch) -> None:
    said = {"model name": "A processor", "flags": "sse amx_int8 avx2 avx512f_not"}
    monkeypatch.setattr(environment, "said_of_processor", lambda: said)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(psutil, "cpu_percent", lambda moment: 31.3)
    found = environment.environment("cpu")
    assert (found.processor, found.instructions) == ("A processor", ["avx2", "amx_int8"])
    assert (found.cores, found.load) == (8, 2.5)
    assert (found.gpu, found.tf32) == (None, None)
    machine = Machine.here()
    assert machine.cores == 8
    held = psutil.virtual_memory().total
    assert found.memory_bytes == machine.memory_bytes == pytest.approx(held, rel=0.01)


@pytest.mark.skipif(not Path("/proc/cpuinfo").exists(), reason="the system does not say it")
def test_of_several_processors_the_first_one_speaks() -> None:
    assert said_of_processor()["processor"] == "0"


def test_a_result_from_before_says_nothing_of_tf32() -> None:
    older = Environment(**document()["environment"])
    assert older.tf32 is None
    assert "tf32" not in older.model_dump()
