"""A run's process and all that it starts: begun together, watched together, ended together."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from casestudies.worker import guard

CHECKOUT = Path(__file__).resolve().parents[2]
GUARD = Path(guard.__file__)
SECONDS_TO_END = 1.0
SECONDS_BETWEEN_LOOKS = 0.05
# What a study may need of the worker's environment. All else stays behind, so that nothing in a run
# reaches the database by accident; to code that means to, a process of the same user is no barrier.
ALLOWED = {"PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "TZ", "TMPDIR", "VIRTUAL_ENV"}
ALLOWED |= {"CC", "CXX", "LD_LIBRARY_PATH", "MODELS_DIR"}
ALLOWED_FAMILIES = (
    *("LC_", "PYTHON", "XDG_", "OMP_", "GOMP_", "MKL_", "OPENBLAS_", "NUMBA_"),
    *("CUDA_", "NVIDIA_", "NCCL_", "GLOO_", "TORCH", "PYTORCH_", "TRITON_"),
)
LONGEST_LINE = 16 * 2**20


class Child:
    """A process in a group of its own, under a guard that leads the group, and its descendants.

    They end together with the worker, even when that is killed, and short of memory the kernel ends
    them before anything else.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        # Kept, since one that leaves the group is a descendant only while its parent lives.
        self._known: set[psutil.Process] = set()

    @classmethod
    async def start(
        cls, arguments: list[str], environment: Mapping[str, str], keep_open: Iterable[int] = ()
    ) -> "Child":
        """Start Python with `arguments`; the files in `keep_open` stay open as long as it lives."""
        process = await asyncio.create_subprocess_exec(
            *["choom", "--adjust", "1000", "--"],
            *[sys.executable, "-S", str(GUARD), str(os.getpid()), sys.executable, *arguments],
            cwd=CHECKOUT,
            env={**_allowed(os.environ), **environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LONGEST_LINE,
            process_group=0,
            pass_fds=tuple(keep_open),
        )
        return cls(process)

    @property
    def status(self) -> int | None:
        """Return the exit status, negative for a signal's; None as long as the process runs.

        asyncio's own way to wait for it waits on until every descendant has closed the pipes.
        """
        return self._process.returncode

    async def read(
        self, on_line: Callable[[str], None], on_error_line: Callable[[str], None]
    ) -> None:
        """Give `on_line` each line of standard output and `on_error_line` each of standard error.

        Returns when both are closed. Raises ValueError for a line over LONGEST_LINE.
        """
        await asyncio.gather(
            _read_lines(self._process.stdout, on_line),
            _read_lines(self._process.stderr, on_error_line),
        )

    async def close(self) -> None:
        """Throw away what an ended process has said and nobody has read, and close its pipes."""
        for stream in (self._process.stdout, self._process.stderr):
            with suppress(TimeoutError):
                await asyncio.wait_for(
                    stream.read() if stream else asyncio.sleep(0), SECONDS_TO_END
                )

    def memory(self) -> int:
        """Return the bytes of resident memory of the process and its descendants."""
        total = 0
        for process in self._family():
            with suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    async def end(self) -> None:
        """End the process and all its descendants: ask, wait a second, then kill."""
        self._family()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ended(), SECONDS_TO_END)
        if self.status is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, guard.END_ALL)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended(), SECONDS_TO_END)
        # The guard may have been killed.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for process in self._family():
            with suppress(psutil.Error):
                process.kill()
        await self._ended()

    async def _ended(self) -> None:
        while self.status is None:
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    def _family(self) -> set[psutil.Process]:
        """Return the process and every descendant that was ever seen and still runs."""
        with suppress(psutil.Error):
            leader = psutil.Process(self._process.pid)
            self._known |= {leader, *leader.children(recursive=True)}
        self._known = {process for process in self._known if process.is_running()}
        return self._known


def _allowed(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in environment.items()
        if name in ALLOWED or name.startswith(ALLOWED_FAMILIES)
    }


async def _read_lines(stream: asyncio.StreamReader | None, give: Callable[[str], None]) -> None:
    while stream and (line := await stream.readline()):
        give(line.decode("utf-8", "replace").rstrip("\n"))
