"""Carrying out runs: claim one, start its process, keep what it says, store how it ended."""

import asyncio
import logging
import os
import shlex
import socket
import uuid
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import Error, connection, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from casestudies.lab.contract import Study
from casestudies.models import ACTIVE, Device, Run, State
from casestudies.worker import leases
from casestudies.worker.child import Child
from casestudies.worker.journal import Journal
from casestudies.worker.reconnecting import Unavailable, database

SECONDS_BETWEEN_SIGNS_OF_LIFE = 0.5
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_DRAIN = 5
CLAIMING = 0x5065616B  # the key of an advisory lock: only one worker claims at a time
GIB = 2**30

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class End:
    """How a run ended, and why when it did not succeed."""

    state: State
    error: str = ""


def command(run: Run, study: Study) -> list[str]:
    """Return the arguments after `python` that carry out exactly this run."""
    preset = study.check(run.preset, {}).model_dump(mode="json")
    options = ["--preset", run.preset, "--device", run.device, "--seed", str(run.seed)]
    if threads := run.environment.get("threads"):
        options += ["--threads", str(threads)]
    for name, value in run.parameters.items():
        if preset.get(name) != value:
            options += [f"--{name.replace('_', '-')}", str(value)]
    return ["-m", "casestudies.lab", "run", study.slug, *options]


def command_line(run: Run, study: Study) -> str:
    """Return what to type to repeat the run."""
    return shlex.join(["python", *command(run, study)])


def claim(device: Device) -> Run | None:
    """Take the oldest run that waits for `device` and may start, or return None.

    A person who has as many runs going as one may have waits, and does not hold up the others.
    Raises Unavailable.
    """
    with database(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CLAIMING])
        busy = (
            Run.objects.active()
            .values("owner")
            .annotate(n=Count("id"))
            .filter(n__gte=settings.RUNS_RUNNING_PER_USER, owner__isnull=False)
        )
        free = Run.objects.queued().filter(device=device)
        free = free.filter(Q(owner=None) | ~Q(owner__in=busy.values("owner")))
        run = free.order_by("created", "id").first()
        if run is None:
            return None
        run.claim, run.worker = uuid.uuid4(), f"{socket.gethostname()}:{os.getpid()}"
        # The run may have been cancelled since it was read.
        taken = (
            Run.objects.filter(pk=run.pk)
            .queued()
            .update(
                state=State.RUNNING,
                claim=run.claim,
                worker=run.worker,
                started=timezone.now(),
                heartbeat=Now(),
            )
        )
    return run if taken else None


async def work_once(device: Device) -> bool:
    """Carry out one run that waits for `device`; return whether there was one."""
    lease = leases.lease_one(leases.gpus()) if device == Device.CUDA else None
    if device == Device.CUDA and lease is None:
        return False
    try:
        run = await sync_to_async(claim)(device)
        if run is None:
            return False
        await carry_out(run, lease)
        return True
    finally:
        if lease:
            lease.release()


async def carry_out(run: Run, lease: leases.Lease | None = None) -> None:
    """Carry out a claimed run and store its end; cancelled, end its process and call it lost."""
    journal = Journal(run)
    try:
        end = await _live(run, journal, lease)
    except asyncio.CancelledError:
        await _store(
            journal, End(State.LOST, "Its worker was stopped. The run is not repeated by itself.")
        )
        raise
    except (OSError, ValueError) as error:
        end = End(State.FAILED, f"The run could not be carried out: {error}")
    storing = asyncio.create_task(_store(journal, end))
    try:
        await asyncio.shield(storing)
    except asyncio.CancelledError:
        # What has been measured is stored before the worker stops.
        await storing
        raise


async def _live(run: Run, journal: Journal, lease: leases.Lease | None) -> End:
    """Return how the run's process ended, or was made to end."""
    study = run.definition
    if study is None:
        return End(State.FAILED, f"The study {run.study} is no longer in the catalogue")
    environment = {"CUDA_VISIBLE_DEVICES": lease.gpu} if lease else {}
    keep_open = [lease.descriptor] if lease else []
    child = await Child.start(command(run, study), environment, keep_open)
    reading = asyncio.create_task(child.read(journal.said, journal.complained))
    endings = [
        asyncio.create_task(_exit(child, journal, reading)),
        asyncio.create_task(_past_limits(child)),
        asyncio.create_task(_told_to_end(journal)),
    ]
    try:
        done, _ = await asyncio.wait(endings, return_when=asyncio.FIRST_COMPLETED)
        # In the order above: a run that ended by itself has ended, whatever else is true.
        return next(task for task in endings if task in done).result()
    finally:
        await asyncio.shield(child.end())
        for task in (*endings, reading):
            task.cancel()
        await asyncio.gather(*endings, reading, return_exceptions=True)
        await child.close()


async def _exit(child: Child, journal: Journal, reading: "asyncio.Task[None]") -> End:
    while (status := child.status) is None:
        if reading.done():
            # Nothing is left to read, or a line was too long and the process may wait for ever.
            reading.result()
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    # A descendant that still lives may hold the pipes open.
    await child.end()
    read, _ = await asyncio.wait([reading], timeout=SECONDS_TO_DRAIN)
    for task in read:
        task.result()
    if status == 0 and journal.result is not None:
        return End(State.SUCCEEDED)
    if status < 0:
        reason = f"Its process was ended by signal {-status}, perhaps for want of memory"
    else:
        reason = f"Its process ended with exit status {status}"
    return End(State.FAILED, f"{journal.last_words()}\n{reason}".strip())


async def _past_limits(child: Child) -> End:
    clock = asyncio.get_running_loop()
    deadline = clock.time() + 60 * settings.RUN_MINUTES
    while clock.time() < deadline:
        if child.memory() > settings.RUN_MEMORY_GIB * GIB:
            limit = f"{settings.RUN_MEMORY_GIB:g} GiB"
            return End(State.FAILED, f"It used more memory than the {limit} that a run may use")
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
    limit = f"{settings.RUN_MINUTES:g} minutes"
    return End(State.TIMED_OUT, f"It took longer than the {limit} that a run may take")


async def _told_to_end(journal: Journal) -> End:
    while True:
        try:
            state = await sync_to_async(journal.flush)()
        except Unavailable as error:
            log.warning("The database does not answer, a run goes on: %s", error)
        else:
            if state == State.CANCELLING:
                return End(State.CANCELLED)
            if state not in ACTIVE:
                return End(State.CANCELLED, "The run was removed while it went on")
        await asyncio.sleep(SECONDS_BETWEEN_SIGNS_OF_LIFE)


async def _store(journal: Journal, end: End) -> None:
    """Store the end, however long the database takes to answer."""
    while True:
        try:
            await sync_to_async(journal.close)(end.state, end.error)
        except Unavailable:
            await asyncio.sleep(SECONDS_BETWEEN_SIGNS_OF_LIFE)
        except (Error, KeyError, TypeError, ValueError) as error:
            if end.state != State.SUCCEEDED:
                raise
            end = End(State.FAILED, f"Its result is not in the form that is expected: {error!r}")
        else:
            return
