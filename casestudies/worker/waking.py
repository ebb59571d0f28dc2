"""What wakes a worker: a notification that PostgreSQL sends once the run is stored.

It carries no truth. A worker that misses one finds the run when it looks the next time.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Never

from django.db import connection
from psycopg import AsyncConnection, AsyncCursor, OperationalError

CHANNEL = "peak_atlas_runs"
SECONDS_TO_RECONNECT = 1


def wake_a_worker(device: str) -> None:
    """Tell the workers that serve `device` of a run, when the transaction that goes on ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, device])


async def listen(devices: Collection[str], woken: Callable[[], None]) -> Never:
    """Call `woken` for each run stored for one of `devices`, whatever the database goes through."""
    # Django's own cursors are for connections that are not asynchronous.
    parameters = {**connection.get_connection_params(), "cursor_factory": AsyncCursor}
    while True:
        with suppress(OperationalError):
            listening = await AsyncConnection.connect(**parameters, autocommit=True)
            async with listening:
                await listening.execute(f"LISTEN {CHANNEL}")
                woken()  # for what was stored before
                async for notification in listening.notifies():
                    if notification.payload in devices:
                        woken()
        await asyncio.sleep(SECONDS_TO_RECONNECT)
