"""A stored run wakes the workers that serve its device, whatever happened to their connection."""

import asyncio

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import connection, transaction

from casestudies.choices import Device
from casestudies.worker import waking

SECONDS = 30


async def until_woken(woken: asyncio.Event) -> None:
    await asyncio.wait_for(woken.wait(), SECONDS)
    woken.clear()


def wake(device: Device) -> None:
    with transaction.atomic():
        waking.wake_a_worker(device)


def end_the_listeners_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN %'"
        )


@pytest.mark.django_db(transaction=True)
def test_a_worker_is_woken_for_its_devices_and_after_it_lost_the_database() -> None:
    async def scenario() -> None:
        woken, other = asyncio.Event(), asyncio.Event()
        listening = [
            asyncio.create_task(waking.listen([Device.CPU], woken.set)),
            asyncio.create_task(waking.listen([Device.CUDA], other.set)),
        ]
        # Each start is followed by a look, since a run may have been stored before.
        await until_woken(woken)
        await until_woken(other)
        await sync_to_async(wake)(Device.CPU)
        await until_woken(woken)
        await sync_to_async(end_the_listeners_connection)()
        await until_woken(woken)
        await until_woken(other)
        await sync_to_async(wake)(Device.CUDA)
        await until_woken(other)
        assert not woken.is_set()
        for task in listening:
            task.cancel()
        await asyncio.gather(*listening, return_exceptions=True)

    async_to_sync(scenario)()
