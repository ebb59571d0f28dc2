"""Turns at work that costs much: threads of a web process stay free for pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import BoundedSemaphore


class Busy(Exception):
    """As many as may are at work, or wait for it."""


class Turns:
    """Of a web process's threads so many may be at work at once, and so many wait for it."""

    def __init__(self, running: int, waiting: int) -> None:
        self._running = BoundedSemaphore(running)
        self._admitted = BoundedSemaphore(running + waiting)

    @contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """Wait for the turn. Raises Busy at once where too many wait, else after `seconds`."""
        if not self._admitted.acquire(blocking=False):
            raise Busy
        try:
            if not self._running.acquire(timeout=seconds):
                raise Busy
            try:
                yield
            finally:
                self._running.release()
        finally:
            self._admitted.release()
