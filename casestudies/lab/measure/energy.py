"""Energy by the machine's own counters: NVML's of a GPU, RAPL's of processors.

Both count what the whole card and all processor packages take, other work and idling included.
Many machines offer neither: virtual ones have no RAPL, and elsewhere only root may read it.
"""

import threading
from collections.abc import Callable
from pathlib import Path

import torch

from casestudies.lab.result import Energy

RAPL = Path("/sys/class/powercap")
# A counter begins anew at its range, the smallest of which lasts minutes at full power.
SECONDS_BETWEEN_LOOKS = 30


class Package:
    """The counter of one processor package, in a folder of RAPL's. Raises OSError, ValueError."""

    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text())
        self._last = self._read()
        self.joules = 0.0

    def look(self) -> None:
        """Add what it has counted since the last look."""
        now = self._read()
        self.joules += (now - self._last) % self._range / 1e6
        self._last = now

    def _read(self) -> int:
        return int(self._counter.read_text())


def packages(folder: Path = RAPL) -> list[Package]:
    """Return the counters of all processor packages; none if one of them cannot be read."""
    try:
        return [
            Package(domain)
            for domain in sorted(folder.glob("intel-rapl:*"))
            if (domain / "name").read_text().startswith("package")  # others are parts of these
        ]
    except (OSError, ValueError):
        return []


class Meter:
    """A context whose `energy` is known once it is left; None where the machine counts nothing."""

    def __init__(self, device: str, folder: Path = RAPL) -> None:
        self._packages = packages(folder)
        self._gpu = _counter_of_gpu() if device == "cuda" else None
        self._left = threading.Event()
        self._looks = threading.Thread(target=self._look, daemon=True)
        self.energy: Energy | None = None

    def __enter__(self) -> "Meter":
        self._gpu_before = self._gpu() if self._gpu else None
        if self._packages:
            self._looks.start()
        return self

    def __exit__(self, *exception: object) -> None:
        now = self._gpu() if self._gpu else None
        gpu = None if now is None or self._gpu_before is None else now - self._gpu_before
        if gpu is not None and gpu < 0:  # its driver was loaded anew
            gpu = None
        if self._packages:
            self._left.set()
            self._looks.join()
        processor = sum(package.joules for package in self._packages) if self._packages else None
        if gpu is not None or processor is not None:
            self.energy = Energy(gpu_joules=gpu, processor_joules=processor)

    def _look(self) -> None:
        left = False
        while not left:
            left = self._left.wait(SECONDS_BETWEEN_LOOKS)
            try:
                for package in self._packages:
                    package.look()
            except (OSError, ValueError):
                self._packages = []  # what was counted before is not the whole
                return


def _counter_of_gpu() -> Callable[[], float | None] | None:
    """Return what reads the joules that the GPU has taken since its driver was loaded.

    It returns None once the counter is lost.
    """
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        uuid = torch.cuda.get_device_properties(0).uuid
        card = pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(card)
    except (AttributeError, pynvml.NVMLError):  # an older card, or an older PyTorch
        return None

    def joules() -> float | None:
        try:
            return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(card) / 1000)
        except pynvml.NVMLError:
            return None

    return joules
