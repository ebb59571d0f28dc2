"""What a run needs of a machine, what one offers, and how threads wait; no PyTorch is imported."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

GIB = 2**30
SPINS = 100_000  # of GNU OpenMP, about a millisecond; between two operations less time passes
BUSY = 15.0  # percent of all cores that other work takes
MOMENT = 0.2  # seconds in which that is seen


@dataclass(frozen=True)
class Machine:
    """Processor cores, memory, the UUIDs of GPUs, a C++ compiler or none, and libraries."""

    cores: int
    memory_bytes: int
    gpus: tuple[str, ...] = ()
    compiler: bool = False
    libraries: tuple[str, ...] = ()

    @classmethod
    def here(cls, libraries: Iterable[str] = ()) -> "Machine":
        """Return this machine, with those of the named libraries that are installed."""
        return cls(
            cores=os.cpu_count() or 1,
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            gpus=gpus(),
            compiler=any(map(shutil.which, ("c++", "g++", "clang++"))),
            libraries=tuple(sorted(name for name in set(libraries) if find_spec(name))),
        )

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Machine":
        """Return the machine of `facts`, be they those of an older or a newer version."""
        known = {field.name: facts[field.name] for field in fields(cls) if field.name in facts}
        return cls(
            **{
                **known,
                "gpus": tuple(known.get("gpus", ())),
                "libraries": tuple(known.get("libraries", ())),
            }
        )

    def facts(self) -> dict[str, Any]:
        """Return the machine as JSON values."""
        return {**asdict(self), "gpus": list(self.gpus), "libraries": list(self.libraries)}


def gpus() -> tuple[str, ...]:
    """Return the UUIDs of this machine's NVIDIA graphics processors."""
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    found = re.findall(r"^GPU \d+:.*\(UUID: (GPU-[0-9a-f-]+)\)", listed, flags=re.MULTILINE)
    return tuple(found)


def said_of_processor() -> dict[str, str]:
    """Return what Linux says of the first processor, by its own names; nothing elsewhere."""
    description = Path("/proc/cpuinfo")
    lines = description.read_text().splitlines() if description.exists() else []
    rows = [line.partition(":") for line in lines]
    # Each processor has the same names; of two rows the first is to stay.
    return {name.strip(): value.strip() for name, _, value in reversed(rows)}


def prepare_threads(threads: int | None) -> None:
    """Set how many threads compute, all cores for None, and whether they spin while they wait.

    PyTorch and NumPy read both from the environment when they are first imported, so that this
    comes before. On a busy machine a thread that spins takes the core from those that work. Where
    cores are idle it must not sleep: waking it takes longer than many an operation, in a virtual
    machine most of all. What the environment says of waiting stays as it is.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if "GOMP_SPINCOUNT" not in os.environ and psutil.cpu_percent(MOMENT) < BUSY:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)


def launched_rank() -> tuple[int, int] | None:
    """Return this process's rank and their number, if torchrun or the like started it; or None."""
    place = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR")]
    return (int(place[0]), int(place[1])) if all(place) else None


@dataclass(frozen=True)
class Needs:
    """The least that a run can do with: processes at once, GPUs, memory, libraries, a compiler.

    `processes` are those that need a core each, as where their time is compared; a study that only
    counts what more of them do needs fewer.
    """

    processes: int = 1
    gpus: int = 0
    memory_gib: float = 0
    libraries: tuple[str, ...] = ()
    compiler: bool = False

    def unmet(self, machine: Machine) -> list[str]:
        """Return in words what the machine lacks; empty when it can carry the run out."""
        offered = machine.memory_bytes / GIB
        lacking = []
        if self.gpus > len(machine.gpus):
            wanted = _several(self.gpus, "GPU")
            lacking.append(f"needs {wanted}; this machine has {len(machine.gpus)}")
        # A process that shares a core only waits: what it measures would be of the waiting.
        if self.processes > machine.cores:
            processes = _several(self.processes, "process", "processes")
            lacking.append(f"needs {processes} at once; this machine has {machine.cores} cores")
        if self.memory_gib > offered:
            lacking.append(f"needs {self.memory_gib:g} GiB; this machine offers {offered:.0f}")
        missing = [name for name in self.libraries if name not in machine.libraries]
        if missing:
            lacking.append(f"needs the Python package {' and '.join(missing)}")
        if self.compiler and not machine.compiler:
            lacking.append("needs a C++ compiler")
        return lacking


def _several(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"
