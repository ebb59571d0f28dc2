"""Waiting for what another process does, and whether it is there."""

import time
from collections.abc import Callable

import psutil

SECONDS = 180.0


def wait_until(condition: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return once the condition holds; fail when it does not for so long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def alive(pid: int) -> bool:
    """Return whether the process runs; one that has ended may not have been cleared away."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
