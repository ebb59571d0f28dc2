"""Time and memory of a piece of work, on a CPU or a GPU."""

import contextlib
import resource
import sys
import threading
import time
from pathlib import Path

import psutil
import torch

CLEAR_REFS = Path("/proc/self/clear_refs")
STATUS = Path("/proc/self/status")
RESET_PEAK = "5"
SECONDS_BETWEEN_LOOKS = 0.1


class Measured:
    """A context whose `seconds`, `cpu_seconds` and `peak_mib` are known once it is left.

    `seconds` are wall clock, after the GPU has finished; `cpu_seconds` are of all threads of the
    process and of its descendants. `peak_mib` is the largest memory allocated on the GPU, or on a
    CPU the largest that the process and its descendants held at one time, a page that several
    share counted in equal parts. Of the process alone that peak is exact where the system can
    reset it, and else the largest since the process began; descendants are looked at every tenth
    of a second, so a shorter peak of theirs is missed.
    """

    def __init__(self, device: str) -> None:
        self._gpu = device == "cuda"
        self.seconds = self.cpu_seconds = self.peak_mib = 0.0

    def __enter__(self) -> "Measured":
        self._tree = Descendants()
        if self._gpu:  # pragma: no cover - needs a GPU
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        else:
            with contextlib.suppress(OSError):
                CLEAR_REFS.write_text(RESET_PEAK)
        self._tree.start()
        self._wall, self._cpu = time.perf_counter(), _own_cpu_seconds()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._gpu:  # pragma: no cover - needs a GPU
            torch.cuda.synchronize()
        self.seconds = time.perf_counter() - self._wall
        self._tree.stop()
        self.cpu_seconds = _own_cpu_seconds() - self._cpu + self._tree.cpu_seconds
        if self._gpu:  # pragma: no cover - needs a GPU
            peak = torch.cuda.max_memory_allocated()
        else:
            peak = max(_peak_resident_bytes(), self._tree.peak_bytes)
        self.peak_mib = peak / 2**20


class Descendants:
    """Watches the processes below this one: their memory with ours, and their time."""

    def __init__(self) -> None:
        self._own = psutil.Process()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._before: dict[psutil.Process, float] = {}
        self._latest: dict[psutil.Process, float] = {}
        self.peak_bytes = 0

    def start(self) -> None:
        """Begin; what descendants that live already have used is not counted."""
        self._before = self._cpu_times()
        self._thread.start()

    def stop(self) -> None:
        """Look a last time and end."""
        self._stopped.set()
        self._thread.join()

    @property
    def cpu_seconds(self) -> float:
        """Return the time of descendants that still live; that of the ended is their parents'.

        What either used before `start` is taken off, since a parent is given all of it.
        """
        alive = [used for process, used in self._latest.items() if process.is_running()]
        return sum(alive) - sum(self._before.values())

    def _watch(self) -> None:
        while not self._stopped.wait(SECONDS_BETWEEN_LOOKS):
            self._look()
        self._look()

    def _look(self) -> None:
        self._latest = self._cpu_times()
        if self._latest:
            held = sum(map(_held_bytes, [self._own, *self._latest]))
            self.peak_bytes = max(self.peak_bytes, held)

    def _cpu_times(self) -> dict[psutil.Process, float]:
        times = {}
        for process in self._own.children(recursive=True):
            with contextlib.suppress(psutil.Error):
                used = process.cpu_times()
                ended = used.children_user + used.children_system
                times[process] = used.user + used.system + ended
        return times


def _held_bytes(process: psutil.Process) -> int:
    """Return the process's proportional set size, or its resident memory where there is none."""
    with contextlib.suppress(psutil.Error):
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))
    return 0


def _own_cpu_seconds() -> float:
    """Return the time of this process's threads and of the children that it has waited for."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _peak_resident_bytes() -> int:
    if STATUS.exists():
        line = next(row for row in STATUS.read_text().splitlines() if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
