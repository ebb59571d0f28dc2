"""Ranks that torchrun has started, on this machine or on several: this process is one of them."""

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from multiprocessing import connection
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist

from casestudies.lab.machine import launched_rank

Found = TypeVar("Found")
LONGEST_WORK = timedelta(days=7)


class Launched:
    """This process's place among those that torchrun has started.

    All of them carry out the same program, so they come to the same work in the same order.
    """

    def __init__(self, rank: int, world: int) -> None:
        self.rank, self.world = rank, world
        self._store, _, _ = next(dist.rendezvous("env://"))
        self._count = itertools.count()
        if os.environ.get("LOCAL_WORLD_SIZE") == str(world):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        threading.Thread(target=_end_with_parent, daemon=True).start()

    def as_rank(self, work: Callable[[], Found], silence: timedelta) -> list[Found]:
        """Return what the work returns on each rank, of which this process is one, with a thread.

        A rank that is silent for longer than that is taken for lost.
        """
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with self._group(silence):
                found: list[Any] = [None] * self.world
                dist.all_gather_object(found, work())
                return found
        finally:
            torch.set_num_threads(threads)

    def on_first(self, work: Callable[[], Found]) -> Found:
        """Return what the work returns on the first rank, where alone it is carried out."""
        found: list[Any] = [work() if self.rank == 0 else None]
        # The others wait here for as long as that takes.
        with self._group(LONGEST_WORK):
            dist.broadcast_object_list(found)
        return cast(Found, found[0])

    @contextmanager
    def _group(self, timeout: timedelta) -> Iterator[None]:
        """Make all ranks the default group, within the context."""
        store = dist.PrefixStore(f"group {next(self._count)}", self._store)
        store.set_timeout(timeout)
        dist.init_process_group(
            "gloo", rank=self.rank, world_size=self.world, store=store, timeout=timeout
        )
        try:
            yield
            dist.barrier()
        finally:
            dist.destroy_process_group()


@cache
def this_launch() -> Launched | None:
    """Return this process's place among those that torchrun has started, or None."""
    place = launched_rank()
    return Launched(*place) if place else None


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, where the system can say so."""
    if hasattr(os, "pidfd_open"):
        connection.wait([os.pidfd_open(os.getppid())])
        os._exit(1)
