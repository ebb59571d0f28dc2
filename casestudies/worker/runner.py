"""Carrying out runs: claim one, start its process, keep what it says, store how it ended."""

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.utils import timezone

from casestudies import run_command
from casestudies.choices import Device, State
from casestudies.lab.contract import InvalidParameter
from casestudies.lab.machine import GIB, Machine
from casestudies.models import Run, Worker
from casestudies.worker.child import Child
from casestudies.worker.journal import Journal
from casestudies.worker.leases import Lease
from casestudies.worker.reconnecting import Outage, Unavailable, database

log = logging.getLogger(__name__)

SECONDS_BETWEEN_SIGNS_OF_LIFE = 0.5
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_TO_DRAIN = 5
CLAIMING = 0x5065616B  # the key of an advisory lock: only one worker claims at a time


@dataclass(frozen=True)
class End:
    """How a run ended, and why when it did not succeed."""

    state: State
    error: str = ""


def claim(device: Device, machine: Machine, lease: Lease) -> Run | None:
    """Take the oldest run that waits for `device` and may start, or return None.

    A person who has as many runs going as one may have waits, and does not hold up the others. A
    run that needs more than this machine has is left to a worker that has it, if there is one. A
    run for which `lease` cannot get as many processors as it needs is left to wait, and keeps its
    place before the others. Raises Unavailable.
    """
    with database(), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [CLAIMING])
        busy = (
            Run.objects.running()
            .values("owner")
            .annotate(n=Count("id"))
            .filter(n__gte=ceil(settings.RUNS_RUNNING_PER_USER), owner__isnull=False)
        )
        free = Run.objects.queued().filter(device=device)
        free = free.filter(Q(owner=None) | ~Q(owner__in=busy.values("owner")))
        others = [worker.offer for worker in Worker.objects.alive().serving(device)]
        waiting = free.order_by("created", "id").iterator()
        run = next((run for run in waiting if _is_ours(run, machine, others)), None)
        if run is None or not lease.take(_gpus(run, machine)):
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


def _is_ours(run: Run, machine: Machine, others: Sequence[Machine]) -> bool:
    """Return whether the run is for this machine, be it only to end it with the reason."""
    if not _lacking(run, machine):
        return True
    return all(_lacking(run, other) for other in others)


def _lacking(run: Run, machine: Machine) -> list[str]:
    """Return in words what the machine lacks for the run, or why the run can be on none."""
    try:
        return run.needs.unmet(machine)
    except InvalidParameter as error:
        return [f"its study no longer accepts {error}"]
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        # One study's mistake must not hold up the others' runs.
        return [f"its study cannot say what it needs: {error!r}"]


def _gpus(run: Run, machine: Machine) -> int:
    """Return how many processors to lease; none for a run that is only to end with the reason."""
    if run.device == Device.CPU or _lacking(run, machine):
        return 0
    return run.needs.gpus


async def work_once(device: Device, machine: Machine) -> bool:
    """Carry out one run that waits for `device`; return whether there was one.

    A run on graphics processors gets as many of the machine's as it needs, all of them free, to
    itself.
    """
    with Lease(machine.gpus) as lease:
        run = await sync_to_async(claim)(device, machine, lease)
        if run is None:
            return False
        if lacking := _lacking(run, machine):
            reason = f"No worker here can carry it out: {'; '.join(lacking)}."
            await _store(run, Journal(run), End(State.FAILED, reason))
        else:
            await carry_out(run, lease)
        return True


async def carry_out(run: Run, lease: Lease) -> None:
    """Carry out a claimed run and store its end; cancelled, end its process and call it lost.

    Whatever else goes wrong is the end of this run alone, which has failed for that reason.
    """
    journal = Journal(run)
    try:
        end = await _live(run, journal, lease)
    except asyncio.CancelledError:
        reason = "Its worker was stopped. The run is not repeated by itself."
        await _store(run, journal, End(State.LOST, reason))
        raise
    except Exception as error:
        log.exception("Run %s could not be carried out", run.pk)
        end = _failure(error)
    storing = asyncio.create_task(_store(run, journal, end))
    try:
        await asyncio.shield(storing)
    except asyncio.CancelledError:
        # What has been measured is stored before the worker stops.
        await storing
        raise


async def _live(run: Run, journal: Journal, lease: Lease) -> End:
    """Return how the run's process ended, or was made to end."""
    if run.definition is None:
        return End(State.FAILED, f"The study {run.study} is no longer in the catalogue")
    environment = {"CUDA_VISIBLE_DEVICES": ",".join(lease.gpus)} if lease.gpus else {}
    child = await Child.start(run_command.arguments(run), environment, lease.descriptors)
    reading = asyncio.create_task(child.read(journal.take_line, journal.take_error_line))
    endings = [
        asyncio.create_task(_exit(child, journal, reading)),
        asyncio.create_task(_past_limits(child)),
        asyncio.create_task(_asked_to_end(journal)),
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


async def _asked_to_end(journal: Journal) -> End:
    outage = Outage("a run goes on")
    while True:
        try:
            run = await sync_to_async(journal.flush)()
        except Unavailable as error:
            outage.goes_on(error)
        else:
            outage.is_over()
            if run is None:
                return End(State.CANCELLED, "The run was removed while it went on")
            if run.cancel_asked:
                return End(State.CANCELLED)
        await asyncio.sleep(SECONDS_BETWEEN_SIGNS_OF_LIFE)


async def _store(run: Run, journal: Journal, end: End) -> None:
    """Store the end; where what the run left cannot be stored, that one succeeded has failed."""
    try:
        await _close(journal, end)
    except Exception as error:
        log.exception("What run %s left could not be stored", run.pk)
        await _close(Journal(run), _failure(error) if end.state == State.SUCCEEDED else end)


async def _close(journal: Journal, end: End) -> None:
    """Write what waits and the end, however long the database takes to answer."""
    while True:
        try:
            await sync_to_async(journal.close)(end.state, end.error)
        except Unavailable:
            await asyncio.sleep(SECONDS_BETWEEN_SIGNS_OF_LIFE)
        else:
            return


def _failure(error: Exception) -> End:
    """Return that the run failed, with as much of the reason as everyone may read."""
    said = str(error).partition("\n")[0]
    return End(State.FAILED, f"The run could not be carried out: {type(error).__name__}: {said}")
