"""The job queue. The only file that knows its library, procrastinate.

A job is a row in the database; a worker is a process started by `manage.py worker`.
"""

import asyncio
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateWorker
from procrastinate.exceptions import ConnectorException
from psycopg import OperationalError

from casestudies.models import Device, Run
from casestudies.worker import runner
from casestudies.worker.reconnecting import Unavailable, database

HEARTBEAT = timedelta(seconds=10)
DAYS_TO_KEEP_FINISHED_JOBS = 30
SECONDS_BETWEEN_LOOKS = 5
SECONDS_TO_RECONNECT = 1
QUEUES = {Device.CPU: "cpu", Device.CUDA: "gpu"}


@dataclass(frozen=True)
class Worker:
    """A worker that has lately said that it is alive."""

    id: int
    last_heartbeat: datetime


def workers_alive() -> list[Worker]:
    """Return the workers whose last heartbeat is at most three beats old, oldest worker first."""
    alive = ProcrastinateWorker.objects.filter(last_heartbeat__gte=timezone.now() - 3 * HEARTBEAT)
    return [Worker(row.id, row.last_heartbeat) for row in alive.order_by("id")]


def wake_a_worker(device: str) -> None:
    """Queue a job, in the transaction that goes on, that makes a worker look for a run."""
    carry_out_a_run.configure(queue=QUEUES[Device(device)]).defer(device=device)


def run_worker(queues: list[str]) -> None:
    """Work on the jobs of `queues` until SIGTERM or SIGINT, then end what runs.

    When the database stops, the run that goes on does too, and both meet again afterwards.
    """
    asyncio.run(_until_told_to_stop(queues))


async def _until_told_to_stop(queues: list[str]) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    devices = [device for device, queue in QUEUES.items() if queue in queues]
    tasks = [asyncio.create_task(_serve_queues(queues)), asyncio.create_task(_look_for(devices))]
    stop = asyncio.create_task(told.wait())
    done, _ = await asyncio.wait([stop, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in [stop, *tasks, *_going_on]:
        task.cancel()
    await asyncio.gather(stop, *tasks, *_going_on, return_exceptions=True)
    for task in done - {stop}:
        task.result()


async def _serve_queues(queues: list[str]) -> None:
    while True:
        with suppress(ConnectorException, OperationalError):
            connector = app.connector.get_worker_connector()  # type: ignore[attr-defined]
            with app.replace_connector(connector):
                async with app.open_async():
                    await app.run_worker_async(
                        queues=queues,
                        name=f"{socket.gethostname()}:{os.getpid()}",
                        update_heartbeat_interval=HEARTBEAT.total_seconds(),
                        shutdown_graceful_timeout=0,
                        install_signal_handlers=False,
                    )
        await asyncio.sleep(SECONDS_TO_RECONNECT)


async def _look_for(devices: list[Device]) -> None:
    """Look now and then for what no job told of, and for runs whose worker was killed."""
    while True:
        with suppress(Unavailable):
            await sync_to_async(_mark_lost)()
        _begin(devices)
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


def _mark_lost() -> None:
    with database():
        Run.objects.mark_lost()


def _begin(devices: list[Device]) -> "asyncio.Task[None]":
    """Return the task that carries out what waits, a new one if none goes on in this process.

    It outlives the job that it began in, which ends when the queue loses the database.
    """
    if not _going_on:
        task = asyncio.create_task(_work_through(devices))
        _going_on.add(task)
        task.add_done_callback(_going_on.discard)
    return next(iter(_going_on))


async def _work_through(devices: list[Device]) -> None:
    with suppress(Unavailable):
        for device in devices:
            await runner.work_once(device)


_going_on: set["asyncio.Task[None]"] = set()


@app.task(queue="cpu")
async def carry_out_a_run(device: str) -> None:
    """Carry out the oldest run that waits for `device`, or wait until what goes on has ended.

    While it waits, the runs' other jobs stay for workers that are free.
    """
    await asyncio.shield(_begin([Device(device)]))


@app.periodic(cron="0 3 * * *")
@app.task(queue="cpu", queueing_lock="remove_outdated_rows")
async def remove_outdated_rows(timestamp: int) -> None:
    """Delete expired sessions and the jobs that finished long ago, whatever their result."""
    await sync_to_async(call_command)("clearsessions")
    await app.job_manager.delete_old_jobs(
        nb_hours=24 * DAYS_TO_KEEP_FINISHED_JOBS,
        include_failed=True,
        include_cancelled=True,
        include_aborted=True,
    )
