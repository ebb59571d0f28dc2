"""Time and memory of a piece of work, on a CPU or a GPU."""

import contextlib
import resource
import sys
import time
from pathlib import Path

import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"


class Measured:
    """A context whose `seconds`, `cpu_seconds` and `peak_mib` are known once it is left.

    `seconds` are wall clock, after the GPU has finished; `cpu_seconds` are of all threads of the
    process. `peak_mib` is the largest resident memory of the process inside the context, or on a
    GPU the largest memory allocated there; where the system cannot reset the peak, it is the
    largest since the process began.
    """

    def __init__(self, device: str) -> None:
        self._gpu = device == "cuda"
        self.seconds = self.cpu_seconds = self.peak_mib = 0.0

    def __enter__(self) -> "Measured":
        if self._gpu:  # pragma: no cover - needs a GPU
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):
                CLEAR_REFS.write_text(RESET_PEAK)
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._gpu:  # pragma: no cover - needs a GPU
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._wall
        self.cpu_seconds = time.process_time() - self._cpu
        peak = torch.cuda.max_memory_allocated() if self._gpu else _peak_resident_bytes()
        self.peak_mib = peak / 2**20


def _peak_resident_bytes() -> int:
    if STATUS.exists():
        line = next(row for row in STATUS.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
