"""Several processes that do one piece of work together: the ranks of a group.

They are forked from a server process that has PyTorch loaded already, so that a group of two
starts in a tenth of a second after the first. Each rank watches the process that asked for it and
ends when that is gone, whatever killed it.
"""

import os
import tempfile
import threading
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist

from casestudies.lab.distributed.launched import this_launch

Found = TypeVar("Found")
# How long a rank waits for another that lives and is silent; one that has ended is noticed at once.
SILENCE = timedelta(minutes=2)
# Optimizers load PyTorch’s compiler when first made, which takes longer than all else.
PRELOADED = ["__main__", "torch._dynamo", "torch.distributed.fsdp", __name__]


class RanksFailed(RuntimeError):
    """A rank raised, was killed or took too long; the message says which and why."""


class _Gone(RanksFailed):
    """A rank ended without an answer."""


class _Place(NamedTuple):
    """A rank's place in its group, and whether it ends without waiting for the others."""

    rank: int
    world: int
    store: str
    alone: bool


@dataclass(frozen=True)
class _Rank:
    number: int
    process: BaseProcess
    answer: Connection


def on_ranks(
    world: int, work: Callable[..., Found], *arguments: Any, seconds: float | None = None
) -> list[Found]:
    """Return what `work(*arguments)` returns on each of `world` ranks, the first rank's first.

    `work` must be a function of a module; it finds its place with `torch.distributed`, whose
    default group (gloo) holds all ranks. Each rank has one thread. Raises RanksFailed as soon as a
    rank does not return, or after so many seconds if they are given; no rank is left then.

    Where torchrun has started this process as one of so many, it is itself the rank, and torchrun
    ends all when one fails. Of any other number the first process starts the ranks, and tells.
    """
    launch = this_launch()
    if launch and launch.world == world:
        return launch.as_rank(partial(work, *arguments), SILENCE)
    started = partial(started_here, world, work, *arguments, seconds=seconds)
    return launch.on_first(started) if launch else started()


def outlived(
    mortal: Collection[int], world: int, work: Callable[..., Found], *arguments: Any
) -> list[Found]:
    """Return what ranks of this machine return, some of which may be lost while others go on.

    The `mortal` ones that were lost are left out. Who talks to one meets a RuntimeError. Ranks do
    not wait for each other in the end. Raises RanksFailed as `on_ranks` does, for any other.
    """
    launch = this_launch()
    started = partial(started_here, world, work, *arguments, mortal=mortal)
    return launch.on_first(started) if launch else started()


def started_here(
    world: int,
    work: Callable[..., Found],
    *arguments: Any,
    seconds: float | None = None,
    mortal: Collection[int] = (),
) -> list[Found]:
    """Start ranks on this machine and return what each returns; see `on_ranks`, `outlived`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        ranks = []
        try:
            for number in range(world):
                ours, theirs = context.Pipe(duplex=False)
                place = _Place(number, world, str(Path(folder) / "store"), bool(mortal))
                process = context.Process(target=_serve, args=(theirs, place, work, arguments))
                ranks.append(_Rank(number, process, ours))
                process.start()
                theirs.close()
            return _answers(ranks, None if seconds is None else monotonic() + seconds, mortal)
        except (BrokenPipeError, EOFError):
            raise RanksFailed(f"rank {ranks[-1].number} ended before it began") from None
        finally:
            for rank in ranks:
                if rank.process.pid:
                    rank.process.kill()
                    rank.process.join()
                rank.answer.close()


def _answers(ranks: list[_Rank], until: float | None, mortal: Collection[int]) -> list[Any]:
    waiting = {rank.answer: rank for rank in ranks}
    found: dict[int, Any] = {}
    while waiting:
        left = None if until is None else max(0.0, until - monotonic())
        ready = connection.wait(waiting, left)
        if not ready:
            late = ", ".join(str(rank.number) for rank in waiting.values())
            raise RanksFailed(f"rank {late} did not finish in time")
        for answer in ready:
            rank = waiting.pop(cast("Connection", answer))
            try:
                found[rank.number] = _answer(rank)
            except _Gone:
                if rank.number not in mortal:
                    raise
    return [found[number] for number in sorted(found)]


def _answer(rank: _Rank) -> Any:
    try:
        returned, value = rank.answer.recv()
    except (EOFError, OSError):  # it ended before its answer, or amid it
        rank.process.join()
        raise _Gone(f"rank {rank.number} ended with status {rank.process.exitcode}") from None
    if not returned:
        raise RanksFailed(f"rank {rank.number}: {value}")
    return value


def _serve(
    answer: Connection,
    place: _Place,
    work: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    """Carry out the work as one rank of a group and answer with what it returns."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    # No rank works before all have joined: one that ends at once would be to blame for others
    # that are still connecting, and they, not it, would say so.
    os.environ["TORCH_DIST_INIT_BARRIER"] = "1"
    torch.set_num_threads(1)
    try:
        dist.init_process_group(
            "gloo",
            rank=place.rank,
            world_size=place.world,
            store=dist.FileStore(place.store, place.world),
            timeout=SILENCE,
        )
        value = work(*arguments)
        if not place.alone:
            dist.barrier()
        answer.send((True, value))
        if place.alone:  # what it has sent may be on its way; who asked for it ends it
            threading.Event().wait()
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}:{last.lineno}"
        answer.send((False, f"{type(error).__name__} at {where}: {error}"))
        raise
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _end_with_parent() -> None:
    """End this process, without asking it, when the one that asked for it has ended."""
    parent = parent_process()
    if parent:
        connection.wait([parent.sentinel])
        os._exit(1)
