"""Which graphics processor a run may use: one run at a time on each.

A lease is a locked file that the run's process inherits. The kernel frees it when the last process
that holds it ends, so no crash can leave a lease behind, and workers of any number of
installations on one machine respect each other.
"""

import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path


class Lease:
    """The sole use of one graphics processor, until `release` and the end of its inheritors."""

    def __init__(self, gpu: str, descriptor: int) -> None:
        self.gpu = gpu
        self.descriptor = descriptor

    def release(self) -> None:
        """Close this process's part of the lease."""
        os.close(self.descriptor)


def gpus() -> list[str]:
    """Return the UUIDs of this machine's NVIDIA graphics processors."""
    try:
        told = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, check=True, timeout=20
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return re.findall(r"^GPU \d+:.*\(UUID: (GPU-[0-9a-f-]+)\)", told, flags=re.MULTILINE)


def lease_one(names: Iterable[str]) -> Lease | None:
    """Return a lease of the first of the named processors that is free, or None."""
    for name in names:
        descriptor = _open(Path(tempfile.gettempdir()) / f"peak-atlas-{name}.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
        else:
            return Lease(name, descriptor)
    return None


def _open(path: Path) -> int:
    """Return a descriptor of the file, which another user's worker may have made first."""
    reading = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileExistsError):
        os.close(os.open(path, reading | os.O_CREAT | os.O_EXCL, 0o644))
    return os.open(path, reading)
