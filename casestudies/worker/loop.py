"""A worker's life: look for runs, carry them out one at a time, say that it lives, and stop."""

import asyncio
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Never

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command
from django.db.models.functions import Now
from django.utils import timezone

from casestudies.choices import Device
from casestudies.lab.catalogue import this_machine
from casestudies.lab.machine import GIB, Machine
from casestudies.models import Run, Worker
from casestudies.worker import runner, waking
from casestudies.worker.reconnecting import Outage, Unavailable, database
from reviewapp.limits.models import Count

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 5
SECONDS_OF_A_DAY = 86_400


def serve(devices: Sequence[Device], *, idle_seconds: float = math.inf) -> None:
    """Carry out the runs that wait for `devices` until SIGTERM or SIGINT, then end what runs.

    Leave also when none has waited for `idle_seconds`. When the database stops, the run that goes
    on does not, and both meet again afterwards.
    """
    asyncio.run(_serve(devices, idle_seconds))


def offer(machine: Machine) -> Machine:
    """Return what of the machine a run may use."""
    limit = int(settings.RUN_MEMORY_GIB * GIB)
    return replace(machine, memory_bytes=min(machine.memory_bytes, limit))


async def _serve(devices: Sequence[Device], idle_seconds: float) -> None:
    worker = Worker(
        name=f"{socket.gethostname()}:{os.getpid()}",
        devices=list(devices),
        machine=offer(this_machine()).facts(),
        started=timezone.now(),
    )
    stop, woken = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with asyncio.TaskGroup() as group:
        runs = group.create_task(_carry_out_runs(worker, woken, idle_seconds))
        runs.add_done_callback(lambda _: stop.set())
        duties = [
            runs,
            group.create_task(waking.listen(devices, woken.set)),
            group.create_task(_every(SECONDS_BETWEEN_LOOKS, lambda: give_a_sign_of_life(worker))),
            # Twice does no harm, so no worker need know whether another has done it today.
            group.create_task(_every(SECONDS_OF_A_DAY, clear_what_is_over)),
        ]
        await stop.wait()
        for duty in duties:
            duty.cancel()
    with suppress(Unavailable):
        await sync_to_async(_leave)(worker)


async def _carry_out_runs(worker: Worker, woken: asyncio.Event, idle_seconds: float) -> None:
    """Carry out what waits, then wait until woken; look now and then for what nobody told of.

    Return when none has waited for so long.
    """
    worked = time.monotonic()
    while True:
        woken.clear()
        try:
            while any(
                [await runner.work_once(Device(name), worker.offer) for name in worker.devices]
            ):
                worked = time.monotonic()
        except Unavailable:
            pass
        except Exception:
            # A run of which not even a failure can be stored ends as lost, and the others go on.
            log.exception("A run could not be carried out to its end")
        if time.monotonic() - worked >= idle_seconds:
            return
        with suppress(TimeoutError):
            await asyncio.wait_for(woken.wait(), SECONDS_BETWEEN_LOOKS)


async def _every(seconds: float, act: Callable[[], None]) -> Never:
    """Act now and then; tell once of a database that cannot be used meanwhile."""
    outage = Outage("a worker waits for it")
    while True:
        try:
            await sync_to_async(act)()
        except Unavailable as error:
            outage.goes_on(error)
        else:
            outage.is_over()
        await asyncio.sleep(seconds)


def give_a_sign_of_life(worker: Worker) -> None:
    """Write the worker's row, and what has become of the workers and runs that are silent."""
    with database():
        worker.heartbeat = Now()
        worker.save()
        Worker.objects.silent().delete()
        Run.objects.mark_lost()


def clear_what_is_over() -> None:
    """Delete the sessions that have expired, and the counts whose time is over."""
    with database():
        call_command("clearsessions")
        Count.objects.over().delete()


def _leave(worker: Worker) -> None:
    with database():
        worker.delete()
