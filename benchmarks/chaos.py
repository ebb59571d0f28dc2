"""`make chaos`: what is lost when parts of a running site are killed at random moments.

It starts the site with `make run` in a folder of its own, keeps runs going, and kills (`kill -9`) a
worker, a process of a run, a web process, the database, the launcher or make, one after another, at
random moments. It takes about a quarter of an hour.

    python -m benchmarks.chaos [KILLS] [SEED]
"""

import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import django
import psutil

from benchmarks.bars import Bar, all_reached
from reviewapp.server.postgres import EmbeddedServer, wheel_binaries

if TYPE_CHECKING:
    from casestudies.models import Run

T = TypeVar("T")

KILLS, SEED = 100, 0
STUDY, PRESET = "qmoe", "smoke"
SECONDS_TO_ANSWER, SECONDS_TO_END, SECONDS_TO_WATCH = 15, 5, 30
SECONDS_AT_LEAST, SECONDS_AT_MOST = 0.5, 12.0
SECONDS_TO_GIVE_UP = 120
# By what its command line holds; a run's process is one of all that descend from its guard.
PARTS = {
    "worker": "manage.py worker",
    "process of a run": "casestudies.lab",
    "web process": "reviewapp.server.web",
    "database": "bin/postgres",
    "launcher": "reviewapp.server.launch",
    "make": "make run",
}
FATAL = {"worker", "process of a run", "launcher", "make"}  # to the run that goes on
TOGETHER = {"launcher", "make"}  # what takes everything along


@dataclass
class Site:
    """The site under test: its folder, its port, and what `make run` is now."""

    folder: Path
    port: int
    make: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it without waiting until it answers."""
        environment = {**os.environ, "DATA_DIR": str(self.folder), "PORT": str(self.port)}
        environment |= {"TMPDIR": str(self.folder.parent), "OMP_NUM_THREADS": "1"}
        # A run counts as going on until its worker has been silent for a while.
        environment["RUNS_RUNNING_PER_USER"] = "100"
        environment.pop("DATABASE_URL", None)
        with (self.folder.parent / "log").open("ab") as log:
            self.make = subprocess.Popen(["make", "run"], env=environment, stdout=log, stderr=log)

    def answers(self) -> bool:
        """Return whether the site says that it works."""
        with suppress(OSError):
            address = f"http://127.0.0.1:{self.port}/healthz"
            with urllib.request.urlopen(address, timeout=2) as answer:
                return bool(answer.status == 200)
        return False

    def processes(self) -> list[psutil.Process]:
        """Return all that were started for the site, those included that have left its tree."""
        marks = {"TMPDIR": str(self.folder.parent), "DATA_DIR": str(self.folder)}
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                environment = process.environ()
                ours = any(environment.get(name) == value for name, value in marks.items())
                ours = ours or str(self.folder) in " ".join(process.cmdline())
                if ours and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def processes_of(self, part: str) -> list[psutil.Process]:
        """Return the processes that are this part of the site."""
        return [process for process in self.processes() if PARTS[part] in _command(process)]


@dataclass
class Tally:
    """What the kills have cost."""

    kills: Counter[str] = field(default_factory=Counter)
    fatal: list[float] = field(default_factory=list)
    not_back: int = 0
    orphans: int = 0
    back: list[float] = field(default_factory=list)
    gone: list[float] = field(default_factory=list)


def main(kills: int, seed: int) -> int:
    """Print what was lost, and return 1 if anything was."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="peak-atlas-chaos-") as name:
        folder = Path(name) / "data"
        with socket.create_server(("127.0.0.1", 0)) as listener:
            site = Site(folder, listener.getsockname()[1])
        os.environ["DATABASE_URL"] = EmbeddedServer(folder / "postgres", wheel_binaries()).url
        django.setup()
        site.start()
        try:
            _wait(site.answers)
            tally = _attack(site, chance, kills)
            _retried(_drain)
            return int(not all_reached(_bars(tally, _retried(partial(_verdicts, tally.fatal)))))
        finally:
            for process in site.processes():
                with suppress(psutil.Error):
                    process.kill()


def _attack(site: Site, chance: random.Random, kills: int) -> Tally:
    """Kill one part after another, and take note of how the site comes back."""
    tally = Tally()
    for n in range(kills):
        _retried(_keep_going)
        _retried(partial(_ask_for_an_end, chance))
        time.sleep(chance.uniform(SECONDS_AT_LEAST, SECONDS_AT_MOST))
        there = {part: found for part in PARTS if (found := site.processes_of(part))}
        part = chance.choice(list(there))
        if part in FATAL:
            tally.fatal.append(time.time())
        with suppress(psutil.Error):
            chance.choice(there[part]).kill()
        tally.kills[part] += 1
        if part in TOGETHER:
            _see_it_end_and_start_it(site, tally)
        _see_it_come_back(site, tally)
        print(f"\r{n + 1} of {kills}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return tally


def _see_it_end_and_start_it(site: Site, tally: Tally) -> None:
    took = _seconds_until(lambda: not site.processes())
    tally.gone.append(took)
    if took > SECONDS_TO_END:
        tally.orphans += len(site.processes())
        _wait(lambda: not site.processes())
    if site.make:
        site.make.wait()
    site.start()


def _see_it_come_back(site: Site, tally: Tally) -> None:
    took = _seconds_until(site.answers)
    tally.back.append(took)
    tally.not_back += took > SECONDS_TO_ANSWER
    _wait(site.answers)
    _wait(lambda: bool(site.processes_of("worker")))
    tally.orphans += len(_orphans(site))


def _orphans(site: Site) -> list[psutil.Process]:
    """Return the processes of runs that have no worker above them, and do not end either."""

    def without_worker() -> list[psutil.Process]:
        found = []
        for process in site.processes_of("process of a run"):
            with suppress(psutil.Error):
                if not any(PARTS["worker"] in _command(above) for above in process.parents()):
                    found.append(process)
        return found

    _seconds_until(lambda: not without_worker(), SECONDS_TO_END)
    return without_worker()


def _keep_going() -> None:
    """Let a few runs wait."""
    from django.contrib.auth.models import User

    from casestudies.choices import Device
    from casestudies.lab.catalogue import STUDIES
    from casestudies.models import Run
    from casestudies.runs.starting import Request, start

    owner, _ = User.objects.get_or_create(username="chaos")
    while Run.objects.queued().count() < 2:
        start(owner, Request.checked(STUDIES[STUDY], PRESET, {}, 0, Device.CPU))


def _ask_for_an_end(chance: random.Random) -> None:
    """Now and then ask for the end of the run that goes on."""
    from casestudies.models import Run
    from casestudies.runs.starting import cancel

    run = Run.objects.running().first()
    if run and chance.random() < 0.1:
        cancel(run)


@dataclass(frozen=True)
class Verdicts:
    """What became of the runs."""

    ends: Counter[str]
    lost: list["Run"]
    repeated: list["Run"]
    lies: list[str]


def _verdicts(fatal: list[float]) -> Verdicts:
    """Return what became of the runs, given when one was killed."""
    from casestudies.choices import State
    from casestudies.lab.catalogue import STUDIES
    from casestudies.models import Run

    runs = list(Run.objects.filter(reference=None).prefetch_related("measurements", "events"))
    lies, repeated, lost = [], [], []
    for run in runs:
        starts = sum(event.kind == "started" for event in run.events.all())
        if starts > 1:
            repeated.append(run)
        if run.state == State.SUCCEEDED:
            if STUDIES[run.study].read(run.result.model_dump(mode="json")).measurements == []:
                lies.append(f"{run} without a measurement")
            if run.cancel_asked:
                lies.append(f"{run} though its end was asked for")
        elif run.over and run.started and run.finished and not run.cancel_asked:
            began, ended = run.started.timestamp(), run.finished.timestamp()
            if not any(began - 1 <= at <= ended + 1 for at in fatal):
                lost.append(run)
        elif not run.over:
            lies.append(f"{run} though it has had time to end")
    return Verdicts(Counter(run.state for run in runs), lost, repeated, lies)


def _bars(tally: Tally, found: Verdicts) -> list[Bar]:
    """Print what happened, and return what must be nothing."""
    print("killed:", ", ".join(f"{n} x {part}" for part, n in tally.kills.most_common()))
    print("runs:", ", ".join(f"{n} {state}" for state, n in found.ends.most_common()))
    print(f"back after a kill: at most {max(tally.back):.1f} s")
    print(f"all ended after a kill of launcher or make: at most {max(tally.gone, default=0):.1f} s")
    for run in (*found.lost, *found.repeated):
        print(f"  {run}: {run.error}")
    for lie in found.lies:
        print(f"  {lie}")
    nothing = partial(Bar, most=0)
    return [
        nothing("measurements lost, of runs that nothing fatal happened to", len(found.lost)),
        nothing("runs repeated", len(found.repeated)),
        nothing("processes that outlived what they belong to", tally.orphans),
        nothing("states that lie", len(found.lies)),
        nothing(f"sites not back in {SECONDS_TO_ANSWER} s", tally.not_back),
        Bar(
            "seconds until all has ended after launcher or make",
            max(tally.gone, default=0),
            most=SECONDS_TO_END,
        ),
    ]


def _drain() -> None:
    """Cancel what waits, and wait until nothing goes on that a worker carries out."""
    from casestudies.models import Run
    from casestudies.runs.starting import cancel

    for run in Run.objects.queued():
        cancel(run)
    deadline = time.monotonic() + SECONDS_TO_GIVE_UP
    while Run.objects.unfinished().exists() and time.monotonic() < deadline:
        time.sleep(0.5)


def _retried(act: Callable[[], T]) -> T:
    """Act, again and again as long as the database does not answer."""
    from django.db import InterfaceError, OperationalError, connection

    deadline = time.monotonic() + SECONDS_TO_GIVE_UP
    while True:
        try:
            return act()
        except (OperationalError, InterfaceError):
            connection.close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _seconds_until(condition: Callable[[], object], most: float = SECONDS_TO_WATCH) -> float:
    """Return how long it takes until the condition holds; infinity if that is more than `most`."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > most:
            return float("inf")
        time.sleep(0.05)
    return time.monotonic() - begun


def _wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS_TO_GIVE_UP
    while not condition():
        if time.monotonic() > deadline:
            sys.exit("The site does not come back any more")
        time.sleep(0.1)


def _command(process: psutil.Process) -> str:
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "reviewapp.settings")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    asked = [int(number) for number in sys.argv[1:]]
    sys.exit(main(*asked, *(KILLS, SEED)[len(asked) :]))
