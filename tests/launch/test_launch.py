"""Real launches, each on a port and in a folder of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import psycopg
import pytest

from reviewapp.server.postgres import EmbeddedServer, wheel_binaries
from tests.corpus.prisma_flows import with_reasons
from tests.database import new_database, url_of
from tests.edge.test_costly_images import ask
from tests.waiting import alive, wait_until

SECONDS = 120.0
SECONDS_TO_END = 15.0  # 5 on a machine that does nothing else
CREATE_RUNNER = ["create_runner", "anna"]
LAUNCH = [sys.executable, "-m", "reviewapp.server.launch"]
IN_A_HURRY = """
from reviewapp.server import launch, supervisor
supervisor.SECONDS_TO_WAIT = 0.05
launch.main()
"""
# Of each process of the tests that needs the first start one would be made.
shares_the_first_start = pytest.mark.xdist_group("first start")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # pytest's own temporary paths are too long for a socket.
    with tempfile.TemporaryDirectory(prefix="peak-atlas-launch-") as folder:
        data_dir = Path(folder) / "da ta"
        yield data_dir
        for pid in processes_of(data_dir):
            os.kill(pid, signal.SIGKILL)


class FirstStart(NamedTuple):
    """A launch in a new folder, ended by Ctrl+C; it takes much longer than any later one."""

    folder: Path
    seconds: float  # until it was ready
    processes: int  # while it ran
    said: str
    end: tuple[int, str]


@pytest.fixture(scope="session")
def first_start() -> Iterator[FirstStart]:
    """One for all tests, which use copies of its folder."""
    with tempfile.TemporaryDirectory(prefix="peak-atlas-launch-") as parent:
        folder, begun = Path(parent) / "da ta", time.monotonic()
        launch = Launch(folder).until_ready()
        seconds, processes = time.monotonic() - begun, len(processes_of(folder))
        end = launch.end(signal.SIGINT)
        yield FirstStart(folder, seconds, processes, launch.out.read_text(), end)


@pytest.fixture
def used_dir(data_dir: Path, first_start: FirstStart) -> Path:
    """A folder of the test's own in which a site has run before."""
    subprocess.run(["cp", "--archive", first_start.folder, data_dir], check=True)
    return data_dir


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Launch:
    """One run of the launcher, with its output in files."""

    def __init__(self, data_dir: Path, command: Sequence[str] = LAUNCH, **settings: str) -> None:
        self.port = int(settings.setdefault("PORT", str(free_port())))
        output = Path(tempfile.mkdtemp(dir=data_dir.parent))
        self.out, self.err = output / "out", output / "err"
        outside = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "SECRET_KEY")}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                env={**outside, "DATA_DIR": str(data_dir), **settings},
                stdout=out,
                stderr=err,
            )

    def until_ready(self) -> "Launch":
        address = f"http://127.0.0.1:{self.port}/"
        ready = f"Peak Atlas is ready at {address}\n"
        wait_until(lambda: self.process.poll() is not None or ready in self.out.read_text())
        assert self.out.read_text().endswith(ready), self.err.read_text()
        wait_until(self.answers)
        return self

    def answers(self) -> bool:
        """Return whether the site says that it works."""
        try:
            address = f"http://127.0.0.1:{self.port}/healthz"
            with urllib.request.urlopen(address, timeout=5) as response:
                return response.status == 200
        except OSError:
            return False

    def end(self, number: int | None = None) -> tuple[int, str]:
        """Return the exit status and the error output, after sending the signal if there is one."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(SECONDS), self.err.read_text()


def processes_of(data_dir: Path) -> list[int]:
    """Return the processes, zombies left out, that were started for `data_dir`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            traces = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(data_dir) in traces:
            found.append(int(folder.name))
    return found


def command_of(pid: int) -> str:
    return " ".join(psutil.Process(pid).cmdline())


def oldest(data_dir: Path, command: str) -> int:
    """Return the first process started of those with this in their command line, 0 for none."""
    found = [
        process
        for process in map(psutil.Process, filter(alive, processes_of(data_dir)))
        if command in command_of(process.pid)
    ]
    return min(found, key=lambda process: (process.create_time(), process.pid)).pid if found else 0


@shares_the_first_start
def test_ctrl_c_stops_everything_and_the_next_start_is_quick(
    first_start: FirstStart, used_dir: Path
) -> None:
    assert first_start.processes >= 5
    assert "manage.py createsuperuser" in first_start.said
    assert first_start.end == (0, "")
    assert processes_of(first_start.folder) == []
    key = used_dir / "secret_key"
    assert key.stat().st_mode & 0o777 == 0o600
    kept = key.read_text()

    begun = time.monotonic()
    second = Launch(used_dir, DEMO="1").until_ready()
    # On a machine too busy to tell, at least what the first start did is not done again.
    assert time.monotonic() - begun < max(10, first_start.seconds)
    # The demo account can sign in, so nobody needs to be told of a first one.
    assert second.out.read_text().count("\n") == 1
    assert second.end(signal.SIGTERM) == (0, "")
    assert key.read_text() == kept


def replaced(launch: Launch, data_dir: Path, name: str, command: str) -> int:
    """Kill the process with that command, and return the one that takes its place."""
    killed = oldest(data_dir, command)
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: f"{name} stopped, " in launch.err.read_text())
    wait_until(lambda: launch.answers() and oldest(data_dir, command) not in (0, killed))
    return oldest(data_dir, command)


def asked_run(port: int, study: str, token: str) -> dict[str, Any]:
    """Ask for the study's smallest preset as who has the token; return what is said of the run."""
    asked = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v1/runs/",
        json.dumps({"study": study, "preset": "smoke"}).encode(),
        {"Authorization": f"Token {token}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(asked) as answer:  # noqa: S310
        assert answer.status == 201
        return json.load(answer)


def start_run(launch: Launch, data_dir: Path) -> Callable[[], tuple[str, str]]:
    """Let the demo account start a study; return what tells its state, and why it failed."""
    url = EmbeddedServer(data_dir / "postgres", wheel_binaries()).url
    with psycopg.connect(url) as database:
        database.execute(
            "INSERT INTO authtoken_token (key, created, user_id)"
            " SELECT 'a-key', now(), id FROM auth_user WHERE username = 'demo'"
        )
    number = asked_run(launch.port, "sparsegpt", "a-key")["id"]

    def seen() -> tuple[str, str]:
        query = "SELECT state, error FROM casestudies_run WHERE id = %s"
        with psycopg.connect(url) as database:
            return database.execute(query, [number]).fetchone() or ("", "")

    return seen


@shares_the_first_start
def test_what_is_killed_comes_back_and_takes_nothing_else_along(used_dir: Path) -> None:
    launch = Launch(used_dir, DEMO="1").until_ready()
    parts = {
        "Web server 1": "reviewapp.server.web",
        "PostgreSQL": "bin/postgres",
        "The worker": "manage.py worker",
    }
    run = start_run(launch, used_dir)
    wait_until(lambda: run()[0] == "running")
    pids = {name: oldest(used_dir, command) for name, command in parts.items()}
    for name, command in parts.items():
        others = [pid for other, pid in pids.items() if other != name]
        pids[name] = replaced(launch, used_dir, name, command)
        assert all(map(alive, others)), f"something ended with {name}"
        if name == "PostgreSQL":  # no run is lost with it, nor with the web server
            wait_until(lambda: run()[0] not in {"queued", "running"})
            assert run() == ("succeeded", "")
    said = [line for line in launch.err.read_text().splitlines() if "started again" in line]
    assert [line.partition(" stopped")[0] for line in said] == list(parts)
    assert launch.end(signal.SIGINT)[0] == 0
    assert processes_of(used_dir) == []


@shares_the_first_start
def test_what_does_nothing_but_end_is_given_up_with_the_reason(used_dir: Path) -> None:
    launch = Launch(used_dir, command=[sys.executable, "-c", IN_A_HURRY]).until_ready()
    configuration = used_dir / "postgres/data/postgresql.conf"
    configuration.write_text("max_connections = nonsense")
    os.kill(oldest(used_dir, "bin/postgres"), signal.SIGKILL)
    status, said = launch.end()
    assert status == 1
    reason = said.splitlines()[-1]
    assert reason.startswith("PostgreSQL stopped 6 times in a row")
    assert "max_connections" in reason or "configuration file" in reason
    wait_until(lambda: not processes_of(used_dir))


def kill(launch: Launch, pid: int, data_dir: Path) -> None:
    """Kill the process while an image is drawn, and see everything else end."""
    webs = [p for p in processes_of(data_dir) if "reviewapp.server.web" in command_of(p)]
    image = f"http://127.0.0.1:{launch.port}/prisma/import/"
    with ThreadPoolExecutor(1) as threads:
        costly = threads.submit(ask, image, text=with_reasons(5000), export="png", dpi=100)
        wait_until(lambda: any(psutil.Process(web).children() for web in webs))
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not processes_of(data_dir), SECONDS_TO_END)
        assert costly.exception()
    launch.end()


@shares_the_first_start
def test_a_kill_of_make_ends_everything(used_dir: Path) -> None:
    launch = Launch(used_dir, command=["make", "run"]).until_ready()
    kill(launch, launch.process.pid, used_dir)


@shares_the_first_start
def test_a_kill_of_the_launcher_ends_everything_and_the_next_start_mends_what_it_left(
    used_dir: Path,
) -> None:
    launch = Launch(used_dir, command=["make", "run"]).until_ready()
    kill(launch, oldest(used_dir, "reviewapp.server.launch"), used_dir)
    # Half written, as a kill at another moment leaves them.
    (used_dir / "postgres/data/postmaster.pid").write_text("")
    (used_dir / "secret_key").write_text("")
    assert Launch(used_dir).until_ready().end(signal.SIGINT) == (0, "")
    assert len((used_dir / "secret_key").read_text()) > 50


@pytest.mark.parametrize("megabytes", [20, 50])
def test_a_full_disk_is_named_as_the_reason(data_dir: Path, megabytes: int) -> None:
    """When PostgreSQL is made it is full, or when the site's tables are."""
    data_dir.mkdir()
    disk: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", data_dir]
    if subprocess.run(disk, stderr=subprocess.DEVNULL, check=False).returncode:
        pytest.skip("a small disk may not be mounted here")
    try:
        status, said = Launch(data_dir).end()
        wait_until(lambda: not processes_of(data_dir))
    finally:
        subprocess.run(["umount", "--lazy", data_dir], check=True)
    assert (status, said.count("\n")) == (1, 1), said
    assert "No space left on device" in said


def test_a_file_that_may_not_grow_is_named_as_the_reason(data_dir: Path) -> None:
    limited = ["prlimit", "--fsize=1000000", sys.executable, "-m", "reviewapp.server.launch"]
    status, said = Launch(data_dir, command=limited).end()
    assert (status, said.count("\n")) == (1, 1), said
    assert "File too large" in said


@shares_the_first_start
def test_a_port_or_a_folder_in_use_is_refused(used_dir: Path) -> None:
    running = Launch(used_dir).until_ready()
    status, said = Launch(used_dir).end()
    assert (status, said) == (1, f"DATA_DIR {used_dir} is in use by another running Peak Atlas\n")
    status, said = Launch(used_dir.with_name("other"), PORT=str(running.port)).end()
    assert status == 1
    assert said.startswith(f"Port {running.port} of 127.0.0.1 cannot be used: Address already in")
    assert said.count("\n") == 1
    assert running.end(signal.SIGINT) == (0, "")


@pytest.mark.parametrize(
    ("setting", "value", "reason"),
    [
        ("PORT", "80800", "PORT must be a number from 1 to 65535, not '80800'"),
        ("DATA_DIR", "/etc/passwd/var", "DATA_DIR /etc/passwd/var cannot be written: Not a dir"),
        ("DATABASE_URL", "postgresql://127.0.0.1:1/none", "DATABASE_URL cannot be used"),
        ("DATABASE_URL", "mysql://127.0.0.1/none", "DATABASE_URL cannot be used"),
        ("DATABASE_URL", "nonsense", "DATABASE_URL cannot be used"),
        ("HOST", "no such name", "HOST 'no such name' cannot be used"),
        ("HOST", "example..org", "HOST 'example..org' cannot be used"),
        ("HTTPS", "1", "HTTPS=1 needs TRUSTED_PROXIES"),
        ("RUN_MINUTES", "soon", "RUN_MINUTES must be a number above zero, not 'soon'"),
        (
            "TRUSTED_PROXIES",
            "my-proxy",
            "TRUSTED_PROXIES: 'my-proxy' does not appear to be an IPv4",
        ),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR, not 'LOUD'"),
    ],
)
def test_an_impossible_setting_is_refused_in_one_line(
    data_dir: Path, setting: str, value: str, reason: str
) -> None:
    status, said = Launch(data_dir, **{setting: value}).end()
    assert (status, said.count("\n")) == (1, 1), said
    assert reason in said


@pytest.mark.parametrize(
    ("command", "setting", "value", "reason"),
    [
        (CREATE_RUNNER, "DATABASE_URL", "postgresql://127.0.0.1:1/none", "Connection refused"),
        (CREATE_RUNNER, "RUN_MINUTES", "soon", "RUN_MINUTES must be a number above zero"),
        (CREATE_RUNNER, "LOG_LEVEL", "LOUD", "LOG_LEVEL must be one of"),
        (CREATE_RUNNER, "PASSWORD", "a long enough password", "The database is not prepared"),
        (["worker"], "PASSWORD", "", "The database is not prepared"),
    ],
)
def test_a_command_says_in_one_line_what_keeps_it_from_working(
    data_dir: Path, command: list[str], setting: str, value: str, reason: str
) -> None:
    outside = {k: v for k, v in os.environ.items() if k != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "manage.py", *command],
        env={**outside, "DATA_DIR": str(data_dir), setting: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    assert reason in done.stderr


def test_a_folder_too_deep_for_a_socket_is_refused(data_dir: Path) -> None:
    status, said = Launch(data_dir.with_name("x" * 90)).end()
    assert (status, said.count("\n")) == (1, 1), said
    assert "bytes too long for PostgreSQL's socket" in said


def test_another_postgresql_is_used_and_left_running(data_dir: Path) -> None:
    with new_database("launched") as name:
        url = url_of(name)
        launch = Launch(data_dir, DATABASE_URL=url).until_ready()
        with psycopg.connect(url, autocommit=True) as launched:
            count = "SELECT count(*) FROM casestudies_worker"
            wait_until(lambda: launched.execute(count).fetchone() == (1,))
            assert launch.end(signal.SIGINT) == (0, "")
            assert launched.execute(count).fetchone() == (0,)
        assert not (data_dir / "postgres").exists()
