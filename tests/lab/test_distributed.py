"""Work on several ranks: what it returns, how it fails, that no rank outlives it, what it sends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._functional_collectives import all_gather_tensor
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel

from casestudies.lab.distributed.ranks import RanksFailed, on_ranks, outlived
from casestudies.lab.distributed.traffic import Traffic
from tests.waiting import alive, wait_until

pytestmark = pytest.mark.xdist_group("ranks")


def summed(number: float) -> tuple[int, float]:
    value = torch.tensor(number * (dist.get_rank() + 1))
    dist.all_reduce(value)
    return dist.get_rank(), value.item()


def failing() -> None:
    if dist.get_rank() == 1:
        raise ArithmeticError("no number")
    time.sleep(600)


def killed() -> None:
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def pid_then_wait(folder: str) -> None:
    Path(folder, str(os.getpid())).touch()
    time.sleep(600)


def test_each_rank_answers_in_its_place_and_a_group_starts_anew() -> None:
    assert on_ranks(3, summed, 2.0) == [(0, 12.0), (1, 12.0), (2, 12.0)]
    assert on_ranks(2, summed, 1.0) == [(0, 3.0), (1, 3.0)]


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (failing, "rank 1: ArithmeticError at test_distributed.py:[0-9]+: no number"),
        (killed, "rank 1 ended with status -9"),
    ],
)
def test_a_rank_that_fails_ends_the_work_with_the_reason(work, words) -> None:
    with pytest.raises(RanksFailed, match=words):
        on_ranks(2, work)


def asking_both() -> list[str]:
    """Return, on the first rank, what it hears of the others, of which the second is killed."""
    heard = []
    if dist.get_rank() == 0:
        for other in (1, 2):
            try:
                dist.recv(torch.empty(1), other)
                heard.append(f"{other} answers")
            except RuntimeError:
                heard.append(f"{other} is lost")
    elif dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        dist.send(torch.empty(1), 0)
    return heard


def test_who_outlives_a_rank_goes_on_with_the_others() -> None:
    assert outlived({1}, 3, asking_both) == [["1 is lost", "2 answers"], []]
    with pytest.raises(RanksFailed, match="rank 1 ended with status -9"):
        outlived({2}, 3, asking_both)


def test_ranks_that_take_too_long_are_named_and_ended(tmp_path: Path) -> None:
    with pytest.raises(RanksFailed, match="rank 0, 1 did not finish in time"):
        on_ranks(2, pid_then_wait, str(tmp_path), seconds=3)
    assert not [pid for pid in map(int, os.listdir(tmp_path)) if alive(pid)]


def test_ranks_end_with_the_process_that_asked_for_them(tmp_path: Path) -> None:
    program = (
        "from casestudies.lab.distributed.ranks import on_ranks\n"
        "from tests.lab.test_distributed import pid_then_wait\n"
        f"on_ranks(2, pid_then_wait, {str(tmp_path)!r})\n"
    )
    asking = subprocess.Popen([sys.executable, "-c", program])
    try:
        wait_until(lambda: len(os.listdir(tmp_path)) == 2, seconds=60)
        ranks = [psutil.Process(int(pid)) for pid in os.listdir(tmp_path)]
    finally:
        asking.kill()
        asking.wait()
    wait_until(lambda: not any(rank.is_running() for rank in ranks))


def every_collective() -> list[tuple[dict[str, int], int, float]]:
    """Return what was counted of each collective over tensors of 12 numbers on 3 ranks."""
    x, part = torch.ones(12), torch.ones(4)
    after, before = (dist.get_rank() + 1) % 3, (dist.get_rank() - 1) % 3
    model = DistributedDataParallel(nn.Linear(3, 3))
    collectives = [
        lambda: dist.all_reduce(x),
        lambda: dist.all_gather([torch.empty(4) for _ in range(3)], part),
        lambda: dist.reduce_scatter(torch.empty(4), list(x.split(4))),
        lambda: dist.broadcast(x, 0),
        lambda: dist.all_to_all_single(torch.empty(12), x),
        lambda: model(torch.ones(1, 3)).sum().backward(),
        lambda: [
            work.wait()
            for work in dist.batch_isend_irecv(
                [dist.P2POp(dist.isend, x, after), dist.P2POp(dist.irecv, torch.empty(12), before)]
            )
        ],
    ]
    counted = []
    for collective in collectives:
        with Traffic() as traffic:
            collective()
        counted.append((dict(traffic.calls), traffic.elements, traffic.bytes_sent))
    return counted


def test_what_a_ring_sends_is_counted_whoever_starts_it() -> None:
    once = 2 / 3 * 12 * 4
    expected = [
        ({"all-reduce": 1}, 24, 2 * once),
        ({"all-gather": 1}, 12, once),
        ({"reduce-scatter": 1}, 12, once),
        ({"broadcast": 1}, 12, once),
        ({"all-to-all": 1}, 12, once),
        ({"all-reduce": 1}, 24, 2 * once),
        ({"send": 1}, 12, 12 * 4),
    ]
    for counted in on_ranks(3, every_collective):
        assert counted == [(calls, n, pytest.approx(sent)) for calls, n, sent in expected]


def counted_by_group() -> list[tuple[dict[str, int], float]]:
    """Return what was counted of the collectives of two groups, each a pair of four ranks."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("across", "inside"))
    across, inside = mesh.get_group("across"), mesh.get_group("inside")
    x = torch.ones(12)
    with Traffic(across) as one, Traffic(inside) as other:
        dist.all_reduce(x, group=inside)
        all_gather_tensor(x, 0, inside).sum().item()
        dist.all_to_all_single(torch.empty(12), x, group=across)
        dist.broadcast(x, 0)
    return [(dict(traffic.calls), traffic.bytes_sent) for traffic in (one, other)]


def test_what_a_group_carries_is_counted_apart() -> None:
    pair = 12 * 4
    for across, inside in on_ranks(4, counted_by_group):
        assert across == ({"all-to-all": 1}, pair / 2)
        assert inside == ({"all-reduce": 1, "all-gather": 1}, pair + pair)
