"""What holds for every kernel: equal to its reference, and within what GPUs offer."""

import json
import os
import subprocess
import sys

import pytest

from casestudies.lab import gpu_check, kernels
from casestudies.lab.kernels import why_not

# Types and sizes that studies launch and no equality has, some of them.
LAUNCHED = {f"attention, heads {width} wide, float32" for width in (64, 128, 256)}
LAUNCHED |= {"attention, heads 64 wide, bfloat16"}
LAUNCHED |= {"int3 kernel, 16 tokens", "tunstall-16, 16 tokens"}
MOST_SHARED = 99 * 1024  # bytes; an A100 offers a program 163 KiB, the GPUs of desktops this many


def test_each_is_as_near_to_float64_under_the_interpreter_as_on_a_gpu() -> None:
    for held in gpu_check.hold_kernels("cpu"):
        assert held.holds, held


@pytest.mark.long
@pytest.mark.parametrize(("capability", "launched"), [(80, set()), (90, LAUNCHED)])
def test_each_compiles_without_spills_into_the_shared_memory_of_a_small_gpu(
    capability, launched, tmp_path
) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.lab.kernels.compiling", str(capability)],
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path)},
        check=True,
        capture_output=True,
        text=True,
    )
    found = json.loads(done.stdout)
    assert {row["capability"] for row in found} == {capability}
    what = {row["what"] for row in found}
    # Every equality launches a kernel of its own; some launch more, and some the same.
    assert what & {equality.what for equality in kernels.equalities()}
    assert launched <= what
    for row in found:
        assert row["spilled"] == 0, row
        assert row["shared"] <= MOST_SHARED, row


@pytest.mark.parametrize(("device", "installed", "why"), [
    ("cpu", True, "needs a GPU"),
    ("cuda", False, "needs the Python package triton"),
    ("cuda", True, ""),
])  # fmt: skip
def test_a_study_is_told_why_it_has_no_kernels(monkeypatch, device, installed, why) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: installed)
    assert why_not(device) == why


def test_without_triton_the_check_of_kernels_is_left_out(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "casestudies.lab.kernels.few_bits", raising=False)
    monkeypatch.delattr(kernels, "few_bits", raising=False)
    (left_out,) = gpu_check.hold_kernels("cpu")
    assert left_out.holds is None
    assert left_out.why.startswith("skipped: ")
