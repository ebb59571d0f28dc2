"""The job queue. The only file that knows its library, procrastinate.

A job is a row in the database; a worker is a process started by `manage.py worker`.
"""

import os
import socket
from dataclasses import dataclass
from datetime import datetime, timedelta

from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.utils import timezone
from procrastinate.contrib.django import app
from procrastinate.contrib.django.models import ProcrastinateWorker

HEARTBEAT = timedelta(seconds=10)
DAYS_TO_KEEP_FINISHED_JOBS = 30
SECONDS_TO_FINISH = 5


@dataclass(frozen=True)
class Worker:
    """A worker that has lately said that it is alive."""

    id: int
    last_heartbeat: datetime


def workers_alive() -> list[Worker]:
    """Return the workers whose last heartbeat is at most three beats old, oldest worker first."""
    alive = ProcrastinateWorker.objects.filter(last_heartbeat__gte=timezone.now() - 3 * HEARTBEAT)
    return [Worker(row.id, row.last_heartbeat) for row in alive.order_by("id")]


def run_worker(queues: list[str]) -> None:
    """Work on the jobs of `queues` until SIGTERM or SIGINT, then finish or abort what runs."""
    with app.replace_connector(app.connector.get_worker_connector()):  # type: ignore[attr-defined]
        app.run_worker(
            queues=queues,
            name=f"{socket.gethostname()}:{os.getpid()}",
            update_heartbeat_interval=HEARTBEAT.total_seconds(),
            shutdown_graceful_timeout=SECONDS_TO_FINISH,
        )


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
