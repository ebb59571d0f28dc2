"""Real workers on real runs of the lab, and what can happen to them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta

import psutil
import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.db.models import F
from django.utils import timezone

from casestudies.choices import Device, State
from casestudies.lab.catalogue import STUDIES
from casestudies.models import Run, Worker
from casestudies.querysets import SILENCE
from casestudies.runs.starting import Request, start
from tests.casestudies.making import a_person
from tests.database import url_of
from tests.waiting import SECONDS, alive, wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("worker")]
Process = subprocess.Popen[bytes]


@pytest.fixture
def start_worker() -> Iterator[Callable[..., Process]]:
    """Return what starts a worker on the test's database; it ends with the test."""
    workers: list[Process] = []
    own = url_of(connection.settings_dict["NAME"])

    def start_one(*options: str) -> Process:
        command = [sys.executable, "manage.py", "worker", "--queues", "cpu", *options]
        environment = {**os.environ, "DATABASE_URL": own}
        workers.append(subprocess.Popen(command, env=environment))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.wait(SECONDS)


def a_queued_run(preset: str = "smoke") -> Run:
    study = STUDIES["paged-kv-cache"]  # whose runs are short
    owner = a_person(f"person {Run.objects.count()}", "add_run")
    return start(owner, Request.checked(study, preset, {}, 0, Device.CPU))


def wait_for(run: Run, *states: str) -> None:
    wait_until(lambda: refreshed(run).state in states)


def refreshed(run: Run) -> Run:
    run.refresh_from_db()
    return run


def lab_processes(worker: Process) -> list[int]:
    """Return the run's process, and its guard."""
    return [process.pid for process in psutil.Process(worker.pid).children(recursive=True)]


def test_a_run_outlives_the_loss_of_every_connection_to_the_database(
    start_worker: Callable[[], Process],
) -> None:
    first, second = start_worker(), start_worker()
    run = a_queued_run()
    wait_until(run.events.filter(kind="progress").exists)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    wait_for(run, State.SUCCEEDED, State.FAILED)
    assert run.state == State.SUCCEEDED, run.error
    assert run.verdict
    # Two workers raced for it.
    assert run.events.filter(kind="started").count() == 1
    again = a_queued_run()
    wait_for(again, State.RUNNING)
    assert (first.poll(), second.poll()) == (None, None)


def test_a_worker_is_known_while_it_lives_and_clears_what_has_expired(
    start_worker: Callable[[], Process],
) -> None:
    now = timezone.now()
    for key, days in (("expired", -1), ("current", 1)):
        expire_date = now + timedelta(days=days)
        Session.objects.create(session_key=key, session_data="", expire_date=expire_date)
    stopped, killed = start_worker(), start_worker()
    wait_until(lambda: Worker.objects.alive().serving(Device.CPU).count() == 2)
    assert not Worker.objects.alive().serving(Device.CUDA).exists()
    wait_until(lambda: [each.session_key for each in Session.objects.all()] == ["current"])

    killed.kill()
    killed.wait()
    Worker.objects.filter(name__endswith=f":{killed.pid}").update(heartbeat=now - SILENCE)
    # The other one removes it.
    wait_until(lambda: Worker.objects.count() == 1)
    stopped.terminate()
    assert stopped.wait(SECONDS) == 0
    assert not Worker.objects.exists()


def test_a_worker_that_may_leave_carries_out_what_waits_first(
    start_worker: Callable[..., Process],
) -> None:
    run = a_queued_run()
    assert start_worker("--leave-when-idle", "0").wait(SECONDS) == 0
    assert refreshed(run).state == "succeeded"
    assert not Worker.objects.exists()


def test_a_killed_worker_loses_its_run_which_nobody_repeats(
    start_worker: Callable[[], Process],
) -> None:
    workers = {str(worker.pid): worker for worker in (start_worker(), start_worker())}
    run, other_run = a_queued_run("quick"), a_queued_run("quick")
    for each in (run, other_run):
        wait_until(each.events.exists)
    worker = workers.pop(refreshed(run).worker.rpartition(":")[2])
    lab = lab_processes(worker)
    assert lab
    worker.kill()
    worker.wait()
    wait_until(lambda: not any(map(alive, lab)))
    assert Run.objects.mark_lost() == 0
    # Instead of waiting until the worker has been silent for long enough.
    Run.objects.filter(pk=run.pk).update(heartbeat=F("heartbeat") - SILENCE)
    # A worker notices it that is busy itself.
    wait_for(run, State.LOST)
    assert "killed" in run.error

    [other] = workers.values()
    lab = lab_processes(other)
    assert lab
    other.send_signal(signal.SIGTERM)
    assert other.wait(SECONDS) == 0
    assert not any(map(alive, lab))
    assert refreshed(other_run).state == State.LOST
    assert "stopped" in other_run.error
    start_worker()
    last = a_queued_run()
    wait_for(last, State.RUNNING)
    for each in (run, other_run):
        assert refreshed(each).state == State.LOST
        assert each.events.filter(kind="started").count() == 1
