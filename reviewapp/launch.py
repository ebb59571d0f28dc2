"""`make run`: start the site and all it needs, and stop all of that, but nothing else.

Each child leads a process group of its own, so that Ctrl-C reaches this process only, which then
stops its children. When this process is killed, the kernel ends them (`setpriv --pdeathsig`).
"""

import fcntl
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import IO, NoReturn

from reviewapp import postgres
from reviewapp.postgres import EmbeddedServer, StartProblem

CHECKOUT = Path(__file__).resolve().parent.parent
SECONDS_TO_ANSWER = 60
SECONDS_TO_STOP = 10


class Children:
    """The processes started here, by name."""

    def __init__(self) -> None:
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str, keep_open: Iterable[int] = ()) -> None:
        """Start Python with `arguments`, in a process group that ends no later than this process.

        The child inherits the files whose descriptors are in `keep_open`.
        """
        self._processes[name] = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", sys.executable, *arguments],
            cwd=CHECKOUT,
            env={**os.environ, "DATA_DIR": str(postgres.data_dir())},
            stdin=subprocess.DEVNULL,
            pass_fds=tuple(keep_open),
            process_group=0,
        )

    def finish(self, name: str) -> int:
        """Wait until the child has ended by itself, and return its exit status."""
        status = self._processes[name].wait()
        del self._processes[name]
        return status

    def check(self) -> None:
        """Raise StartProblem when one has ended."""
        for name, process in self._processes.items():
            if (status := process.poll()) is not None:
                raise StartProblem(f"{name} stopped unexpectedly, with exit status {status}")

    def stop(self) -> None:
        """Ask every child to end, and after a time of grace end whatever is left of its group."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + SECONDS_TO_STOP
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main() -> NoReturn:
    """Run until a signal asks to stop (exit status 0) or something fails (says why; status 1)."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    children = Children()
    try:
        _run(children)
    except StartProblem as problem:
        sys.exit(str(problem))
    finally:
        # Impatience must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        children.stop()


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _run(children: Children) -> NoReturn:
    folder = postgres.writable_data_dir()
    host, port = _address()
    with _only_launch_in(folder), _listen(host, port) as listener:
        os.environ["SECRET_KEY"] = os.environ.get("SECRET_KEY") or _kept_secret_key(folder)
        server = _database()
        # Holding the server's lock too, the children never see it stop before they do.
        locks = [server.lock] if server else []
        children.start("The preparation", "-m", "reviewapp.prepare", keep_open=locks)
        if children.finish("The preparation"):
            raise StartProblem("The database or the static files could not be prepared, see above")
        children.start("The site", *_gunicorn(listener), keep_open=[listener.fileno(), *locks])
        children.start("The worker", "manage.py", "worker", keep_open=locks)
        listener.close()
        _wait_for_answer(children, host, port)
        print(f"Peak Atlas is ready at {_url(host, port)}", flush=True)  # noqa: T201
        _watch(children, server)


def _address() -> tuple[str, int]:
    """Return HOST and PORT from the environment; raise StartProblem for an impossible port."""
    host, port = os.environ.get("HOST") or "127.0.0.1", os.environ.get("PORT") or "8000"
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65_535):
        raise StartProblem(f"PORT must be a number from 1 to 65535, not {port!r}")
    return host, int(port)


def _url(host: str, port: int) -> str:
    name = f"[{_reachable(host)}]" if ":" in host else _reachable(host)
    return f"http://{name}:{port}/"


def _reachable(host: str) -> str:
    """Return an address that reaches a server bound to `host`, which may mean "all of them"."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _only_launch_in(folder: Path) -> IO[str]:
    """Return an open file whose lock makes this the only launch that uses `folder`."""
    lock = (folder / "launch.lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartProblem(f"DATA_DIR {folder} is in use by another running Peak Atlas") from None
    return lock


def _listen(host: str, port: int) -> socket.socket:
    """Return the socket that the web server inherits: held from now on, nobody can take it."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while ")
        problem = f"Port {port} of {host} cannot be used: {reason}; set PORT to another one"
        raise StartProblem(problem) from None


def _kept_secret_key(folder: Path) -> str:
    """Return the installation's own key, made at its first start, readable by its owner only."""
    path = folder / "secret_key"
    if not path.exists():
        unfinished = folder / "secret_key.unfinished"
        unfinished.unlink(missing_ok=True)
        unfinished.touch(mode=0o600)
        unfinished.write_text(secrets.token_urlsafe(50))
        unfinished.rename(path)
    return path.read_text()


def _database() -> EmbeddedServer | None:
    """Set DATABASE_URL to a server that answers; return it when it is the embedded one."""
    if url := os.environ.get("DATABASE_URL"):
        postgres.check_version(url)
        return None
    server = postgres.embedded_server()
    server.start()
    os.environ["DATABASE_URL"] = server.url
    return server


def _gunicorn(listener: socket.socket) -> list[str]:
    """Return the arguments that make Python serve the site on the open `listener`."""
    socket_options = ["--bind", f"fd://{listener.fileno()}", "--no-control-socket"]
    workers = ["--worker-class", "gthread", "--workers", "2", "--threads", "8"]
    quiet = ["--log-level", "warning", "--graceful-timeout", str(SECONDS_TO_STOP // 2)]
    return ["-m", "gunicorn", "reviewapp.wsgi", *socket_options, *workers, *quiet]


def _wait_for_answer(children: Children, host: str, port: int) -> None:
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not _answers(host, port):
        children.check()
        if time.monotonic() > deadline:
            raise StartProblem(f"The site did not answer within {SECONDS_TO_ANSWER} s")
        time.sleep(0.1)


def _answers(host: str, port: int) -> bool:
    """Return whether /healthz says that the site works."""
    connection = http.client.HTTPConnection(_reachable(host), port, timeout=5)
    try:
        connection.request("GET", "/healthz", headers={"Host": "localhost"})
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _watch(children: Children, server: EmbeddedServer | None) -> NoReturn:
    """Return never; raise StartProblem when a child or the embedded server ends."""
    while True:
        try:
            children.check()
        finally:
            # Without its database a child ends too: the cause is what is named.
            if server and not server.running():
                raise StartProblem(f"PostgreSQL stopped, see {server.folder}/log")
        time.sleep(0.5)


if __name__ == "__main__":
    main()
