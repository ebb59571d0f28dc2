"""`make run`: start the site and all it needs, keep it going, and stop all of that.

Each child leads a process group of its own, so that Ctrl-C reaches this process only, which then
stops its children. When this process is killed, the kernel ends them (`setpriv --pdeathsig`). When
a child or the database is killed, it is started again and nothing else is touched.
"""

import fcntl
import http.client
import os
import secrets
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

from reviewapp.server import postgres, supervisor
from reviewapp.server.postgres import StartProblem
from reviewapp.server.problems import in_one_line
from reviewapp.server.supervisor import Database, Program

WEB_PROCESSES = 2
SECONDS_TO_ANSWER = 60
SECONDS_BETWEEN_LOOKS = 0.2


def main() -> NoReturn:
    """Run until a signal asks to stop (exit status 0) or something fails (says why; status 1)."""
    signal.signal(signal.SIGINT, _leave)
    signal.signal(signal.SIGTERM, _leave)
    with in_one_line():
        _run()


def _leave(*_: object) -> NoReturn:
    raise SystemExit(0)


def _run() -> NoReturn:
    """Start everything and watch over it; raise StartProblem for what keeps it from working."""
    folder = postgres.writable_data_dir()
    host, port = _address()
    with (
        _only_launch_in(folder),
        _listen(host, port) as listener,
        _stopped_in_the_end() as children,
    ):
        os.environ["SECRET_KEY"] = os.environ.get("SECRET_KEY") or _kept_secret_key(folder)
        database = _database()
        # Holding the server's lock too, the children never see it stop before they do.
        locks = [database.lock] if database else []
        preparation = Program("The preparation", "-m", "reviewapp.server.prepare", keep_open=locks)
        children.append(preparation)
        if (status := preparation.finish()) < 0:
            raise StartProblem(f"The preparation was ended by signal {-status}")
        if status:
            sys.exit(status)  # it has said why
        children.remove(preparation)
        web = ("-m", "reviewapp.server.web", str(listener.fileno()))
        for n in range(1, WEB_PROCESSES + 1):
            name, files = f"Web server {n}", [listener.fileno(), *locks]
            children.append(Program(name, *web, keep_open=files))
        children.append(Program("The worker", "manage.py", "worker", keep_open=locks))
        parts: list[Program | Database] = [database, *children] if database else [*children]
        _wait_for_answer(parts, host, port)
        print(f"Peak Atlas is ready at {_url(host, port)}", flush=True)  # noqa: T201
        while True:
            _look_after(parts)
            time.sleep(SECONDS_BETWEEN_LOOKS)


@contextmanager
def _stopped_in_the_end() -> Iterator[list[Program]]:
    """Yield a list; stop the children that are on it at the end, however that comes."""
    children: list[Program] = []
    try:
        yield children
    finally:
        # Impatience must not leave processes behind.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        supervisor.stop(children)


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
    path = folder / "launch.lock"
    try:
        lock = path.open("w")
    except OSError as error:
        raise StartProblem(f"{path} cannot be used: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise StartProblem(f"DATA_DIR {folder} is in use by another running Peak Atlas") from None
    return lock


def _listen(host: str, port: int) -> socket.socket:
    """Return the socket that the web servers inherit: held from now on, nobody can take it."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no host name"
        raise StartProblem(f"HOST {host!r} cannot be used: {reason}") from None
    both = host == "::" and socket.has_dualstack_ipv6()
    try:
        return socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (while ")
        problem = f"Port {port} of {host} cannot be used: {reason}; set PORT or HOST to another one"
        raise StartProblem(problem) from None


def _kept_secret_key(folder: Path) -> str:
    """Return the installation's own key, made at its first start, readable by its owner only."""
    path = folder / "secret_key"
    try:
        # A disk that was full can have left an empty file.
        if not path.exists() or not path.read_text().strip():
            unfinished = folder / "secret_key.unfinished"
            unfinished.unlink(missing_ok=True)
            unfinished.touch(mode=0o600)
            unfinished.write_text(secrets.token_urlsafe(50))
            unfinished.rename(path)
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StartProblem(f"{path} cannot be used: {error}") from None


def _database() -> Database | None:
    """Set DATABASE_URL to a server that answers; return it when it is the embedded one."""
    if url := os.environ.get("DATABASE_URL"):
        postgres.check_version(url)
        return None
    server = postgres.embedded_server()
    database = Database(server)
    os.environ["DATABASE_URL"] = server.url
    return database


def _look_after(parts: Sequence[Program | Database]) -> None:
    """Start again what has ended; raise StartProblem when it does so again and again."""
    for part in parts:
        part.look()


def _wait_for_answer(parts: Sequence[Program | Database], host: str, port: int) -> None:
    deadline = time.monotonic() + SECONDS_TO_ANSWER
    while not _answers(host, port):
        _look_after(parts)
        if time.monotonic() > deadline:
            raise StartProblem(f"The site did not answer within {SECONDS_TO_ANSWER} s")
        time.sleep(SECONDS_BETWEEN_LOOKS)


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


if __name__ == "__main__":
    main()
