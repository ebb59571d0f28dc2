"""Which graphics processors a run may use: one run at a time on each.

A lease is a set of locked files that the run's process inherits. The kernel frees them when the
last process that holds them ends, so no crash can leave a lease behind, and workers of any number
of installations on one machine respect each other.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self


class Lease:
    """The sole use of some processors, until the end of its `with` and of its inheritors."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = list(names)
        self._held: dict[str, int] = {}

    @property
    def gpus(self) -> list[str]:
        """Return the UUIDs of the processors that are leased."""
        return list(self._held)

    @property
    def descriptors(self) -> list[int]:
        """Return the open files that a process has to inherit to hold the lease."""
        return list(self._held.values())

    def take(self, count: int) -> bool:
        """Lease `count` processors of those named that are free; if there are fewer, none.

        It never waits for one while it holds another, so workers cannot block each other: two that
        come at once and each get a part give it back, and try again when they look the next time.
        """
        for name in self._names:
            if len(self._held) == count:
                break
            if (descriptor := _lock(name)) is not None:
                self._held[name] = descriptor
        if len(self._held) < count:
            self.release()
        return len(self._held) == count

    def release(self) -> None:
        """Close this process's part of the lease."""
        for descriptor in self._held.values():
            os.close(descriptor)
        self._held.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def _lock(name: str) -> int | None:
    """Return the descriptor of the processor's file, locked, or None when somebody has it."""
    descriptor = _open(Path(tempfile.gettempdir()) / f"peak-atlas-{name}.lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _open(path: Path) -> int:
    """Return a descriptor of the file, which another user's worker may have made first."""
    reading = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileExistsError):
        os.close(os.open(path, reading | os.O_CREAT | os.O_EXCL, 0o644))
    return os.open(path, reading)
