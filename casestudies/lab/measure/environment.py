"""The machine and the versions that a measurement belongs to."""

import csv
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from casestudies.lab.machine import said_of_processor
from casestudies.lab.result import Environment, Gpu

MOMENT = 0.5  # seconds in which it is seen how much the machine does
LAB = Path(__file__).resolve().parents[1]
ASKED = ("uuid", "driver_version", "clocks.sm", "clocks.mem", "power.limit")  # of nvidia-smi
# Of two processors of one name these decide whether 8 and 16 bits are faster than 32, or slower.
INSTRUCTIONS = (
    *("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16"),
    *("asimddp", "sve", "i8mm", "bf16"),
)
LIBRARIES = ("torch", "triton", "numpy", "numba", "gguf", "tokenizers")


def keep_float32() -> None:
    """Let no product or convolution of float32 be computed in TF32, which has 10 bits of 23."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def takes_tf32() -> bool:
    """Return whether a GPU may compute products or convolutions of float32 in TF32."""
    in_products = torch.get_float32_matmul_precision() != "highest"
    return in_products or torch.backends.cudnn.allow_tf32


def environment(device: Literal["cpu", "cuda"]) -> Environment:
    """Return the hardware, versions, commit, threads and load of this process and its machine.

    The load is how many cores are at work in a moment in which this process waits. The system's
    own average would hold what was run here in the minute before.
    """
    cores, said = os.cpu_count() or 1, said_of_processor()
    return Environment(
        device=device,
        processor=said.get("model name") or platform.processor() or None,
        instructions=_instructions(said),
        cores=cores,
        threads=torch.get_num_threads(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=_gpu() if device == "cuda" else None,
        tf32=takes_tf32() if device == "cuda" else None,
        load=round(cores * psutil.cpu_percent(MOMENT) / 100, 2),
        system=platform.platform(),
        python=platform.python_version(),
        libraries={library: _version(library) for library in LIBRARIES},
        commit=_commit(),
    )


def lacking_memory(device: str, gib: float) -> str:
    """Return why the device does not hold what takes so much of a GPU, or nothing if it does."""
    if device == "cpu":
        return "that needs a GPU"
    offered = torch.cuda.get_device_properties(0).total_memory / 2**30  # pragma: no cover
    return (  # pragma: no cover - needs a GPU
        f"that needs {gib:g} GiB; this GPU has {offered:.0f}" if offered < gib else ""
    )


def environments() -> dict[str, Environment]:
    """Return what `environment` says by each device that PyTorch can use here, the best first."""
    found = {"cuda": environment("cuda")} if torch.cuda.is_available() else {}
    return {**found, "cpu": environment("cpu")}


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _instructions(said: Mapping[str, str]) -> list[str] | None:
    """Return the `INSTRUCTIONS` that the processor has; None where the system does not say."""
    flags = said.get("flags", said.get("Features"))
    return None if flags is None else [name for name in INSTRUCTIONS if name in flags.split()]


def _gpu() -> Gpu:  # pragma: no cover - needs a GPU
    properties = torch.cuda.get_device_properties(0)
    asked = ["nvidia-smi", f"--query-gpu={','.join(ASKED)}", "--format=csv,noheader,nounits"]
    return Gpu(
        name=properties.name,
        memory_bytes=properties.total_memory,
        cuda=torch.version.cuda,
        **said_of_gpu(_output_of(asked) or "", str(getattr(properties, "uuid", ""))),
    )


def said_of_gpu(table: str, uuid: str) -> dict[str, Any]:
    """Return driver, clocks and power limit by their names in `Gpu`, as nvidia-smi's table has.

    It has a row for each card, with what was `ASKED`; of an unknown card the first one speaks.
    What is no number there, such as "[N/A]", is None.
    """
    rows = [[cell.strip() for cell in row] for row in csv.reader(table.splitlines())]
    whole = [row for row in rows if len(row) == len(ASKED)]
    if not whole:
        return {}
    driver, *numbers = next((row for row in whole if uuid and row[0].endswith(uuid)), whole[0])[1:]
    clock, memory_clock, power_limit = map(_number, numbers)
    return {
        "driver": driver,
        "clock_mhz": clock,
        "memory_clock_mhz": memory_clock,
        "power_limit_watts": power_limit,
    }


def _number(said: str) -> float | None:
    try:
        return float(said)
    except ValueError:
        return None


def _commit() -> str | None:
    """Return the checkout's commit, with "-dirty" where the lab itself is another than there."""
    git = ["git", "-C", str(LAB)]
    commit = _output_of([*git, "rev-parse", "HEAD"])
    changed = commit and _output_of([*git, "status", "--porcelain", "--", "."])
    return f"{commit}-dirty" if changed else commit


def _output_of(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
