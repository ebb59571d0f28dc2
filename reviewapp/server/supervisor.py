"""Keeping processes alive: what ends is started again, unless it does nothing but end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from reviewapp.server import postgres
from reviewapp.server.postgres import EmbeddedServer, StartProblem

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS_TO_STOP = 10
SECONDS_TO_PROVE_ITSELF = 10
MOST_SHORT_LIVES = 6
SECONDS_TO_WAIT = 1.0  # after the second short life in a row, and twice as long after each further


class Patience:
    """When something that has ended is to be started again: sooner the longer it has lived."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._short_lives = 0
        self._born = self._due = time.monotonic()

    def begin(self) -> None:
        """Take note that it starts."""
        self._born = time.monotonic()

    def end(self, how: str, *, started: bool = True) -> None:
        """Take note that it has ended; raise StartProblem if it does so again and again.

        What could not even be started has not lived, however long that took.
        """
        now = time.monotonic()
        short = not started or now - self._born < SECONDS_TO_PROVE_ITSELF
        self._short_lives = self._short_lives + 1 if short else 0
        if self._short_lives == MOST_SHORT_LIVES:
            raise StartProblem(
                f"{self._name} stopped {MOST_SHORT_LIVES} times in a row, each time within"
                f" {SECONDS_TO_PROVE_ITSELF} s of its start; the last time {how}"
            )
        doubled = 2 ** (self._short_lives - 2) if self._short_lives > 1 else 0
        self._due = now + SECONDS_TO_WAIT * doubled
        _say(f"{self._name} stopped, {how}, and is started again")

    @property
    def over(self) -> bool:
        """Return whether it is time to start it."""
        return time.monotonic() >= self._due


class Program:
    """A Python program in a process group of its own, which ends no later than this process.

    It inherits the files whose descriptors are in `keep_open`.
    """

    def __init__(self, name: str, *arguments: str, keep_open: Iterable[int] = ()) -> None:
        self._arguments, self._keep_open = arguments, tuple(keep_open)
        self._patience = Patience(name)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start the program."""
        self._patience.begin()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, *self._arguments],
            cwd=CHECKOUT,
            env={**os.environ, "DATA_DIR": str(postgres.data_dir())},
            stdin=subprocess.DEVNULL,
            pass_fds=self._keep_open,
            process_group=0,
        )

    def finish(self) -> int:
        """Wait until it has ended by itself, and return its exit status."""
        return self._process.wait() if self._process else 0

    def look(self) -> None:
        """Start it again if it has ended; raise StartProblem if it ends again and again."""
        if self._process is None:
            if self._patience.over:
                self._start_again()
        elif (status := self._process.poll()) is not None:
            self._end_group(self._process.pid)
            self._process = None
            self._patience.end(_how(status))

    def _start_again(self) -> None:
        try:
            self.start()
        except OSError as error:
            self._patience.end(f"{error}", started=False)

    def ask_to_end(self) -> None:
        """Send it SIGTERM."""
        if self._process:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait for its end until the `deadline`, then end whatever is left of its group."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        self._end_group(self._process.pid)
        self._process.wait()

    @staticmethod
    def _end_group(leader: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(leader, signal.SIGKILL)


class Database:
    """The embedded server, which other processes may use and stop as well."""

    def __init__(self, server: EmbeddedServer) -> None:
        self._server = server
        self._patience = Patience("PostgreSQL")
        self._runs = True
        server.start()

    @property
    def lock(self) -> int:
        """Return the open file that makes who inherits it a user of the server."""
        return self._server.lock

    def look(self) -> None:
        """Start it again if it has ended; raise StartProblem if it ends again and again."""
        if self._runs:
            self._runs = self._server.running()
            if not self._runs:
                self._patience.end(f"see {self._server.log}")
        elif self._patience.over:
            self._patience.begin()
            try:
                self._server.start_again()
            except (StartProblem, OSError) as problem:
                self._patience.end(str(problem), started=False)
            else:
                self._runs = True


def stop(children: Iterable[Program]) -> None:
    """Ask every child to end, and after a time of grace end them all."""
    children = list(children)
    for child in children:
        child.ask_to_end()
    deadline = time.monotonic() + SECONDS_TO_STOP
    for child in children:
        child.end(deadline)


def _say(line: str) -> None:
    """Tell the person at the terminal."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def _how(status: int) -> str:
    """Return in words how a process ended."""
    return f"ended by signal {-status}" if status < 0 else f"with exit status {status}"
