"""The machine and the versions that a measurement belongs to."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

LIBRARIES = ("torch", "numpy", "numba", "gguf", "tokenizers")


def environment(device: str) -> dict[str, Any]:
    """Return the hardware, versions, commit and threads of this process; unknown is None."""
    return {
        "device": device,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "gpu": _gpu() if device == "cuda" else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": {library: version(library) for library in LIBRARIES},
        "commit": _commit(),
        "precision": "float32",
    }


def _processor() -> str | None:
    description = Path("/proc/cpuinfo")
    if not description.exists():
        return platform.processor() or None
    rows = (row.split(":", 1) for row in description.read_text().splitlines() if ":" in row)
    return next((value.strip() for name, value in rows if name.strip() == "model name"), None)


def _gpu() -> dict[str, Any]:  # pragma: no cover - needs a GPU
    properties = torch.cuda.get_device_properties(0)
    question = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    return {
        "name": properties.name,
        "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda,
        "driver": _output_of(question),
    }


def _commit() -> str | None:
    here = str(Path(__file__).parent)
    return _output_of(["git", "-C", here, "describe", "--always", "--dirty", "--abbrev=40"])


def _output_of(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().split("\n")[0] or None
