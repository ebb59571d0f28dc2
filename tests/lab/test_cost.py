"""Memory and time of a piece of work and of the processes that it starts."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import psutil
import pytest

from casestudies.lab.measure.cost import Measured

MIB = 2**20
HELD = 200  # MiB
# Pages of an interpreter that come and go with a thread or a pipe.
NOISE = 8
BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"
HOLD = f"held = b'x' * ({HELD} * {MIB})\n"
WAIT = "print('ready', flush=True)\ninput()\n"
FORK = f"""
import os
from casestudies.lab.measure.cost import Measured
{HOLD}
with Measured("cpu") as alone:
    pass
told, tell = os.pipe()
with Measured("cpu") as shared:
    if not os.fork():
        os.close(tell)
        os.read(told, 1)
        os._exit(0)
os.close(tell)
os.wait()
print(alone.peak_mib, shared.peak_mib)
"""


@dataclass(frozen=True)
class Cost:
    """What a context measured."""

    seconds: float
    cpu_seconds: float
    peak_mib: float


def cost_of(measured: Measured) -> Cost:
    return Cost(measured.seconds, measured.cpu_seconds, measured.peak_mib)


@pytest.fixture(scope="module")
def alone() -> Iterator[Callable[[Callable[[], Any]], Any]]:
    """Give what calls a function in a process where nothing else runs, nor has living children."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield lambda function: process.submit(function).result()


def python(program: str) -> subprocess.Popen[str]:
    """Start an interpreter that runs the program."""
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def until_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    assert child.stdout.readline() == "ready\n"


def nothing() -> Cost:
    """Return what this process holds at this moment."""
    with Measured("cpu") as measured:
        pass
    return cost_of(measured)


def own() -> tuple[float, float]:
    """Return in MiB what this process holds alone, and that with what it shares with others."""
    return psutil.Process().memory_full_info().uss / MIB, nothing().peak_mib


def assert_with_what_a_child_holds(cost: Cost, own: tuple[float, float]) -> None:
    """Libraries that strangers have loaded too count in part, so our share has two bounds."""
    interpreters = 2 * 20
    least, most = own[0] + HELD, own[1] + HELD + interpreters
    assert least - NOISE < cost.peak_mib < most + NOISE


def hold_and_release() -> list[Cost]:
    before = nothing()
    with Measured("cpu") as first:
        held = b"x" * (HELD * MIB)
        del held
    return [before, cost_of(first), nothing()]


def test_the_peak_of_one_process_is_exact_and_forgets_what_was_before(alone) -> None:
    before, first, after = alone(hold_and_release)
    assert first.peak_mib - before.peak_mib == pytest.approx(HELD, abs=NOISE)
    assert after.peak_mib - before.peak_mib == pytest.approx(0, abs=NOISE)


def wait_for_a_child() -> list[Any]:
    before = own()
    with Measured("cpu") as cost:
        python(HOLD + BURN.format(seconds=1)).communicate()
    return [before, cost_of(cost)]


def test_memory_and_time_of_a_child_count_when_it_has_ended(alone) -> None:
    before, cost = alone(wait_for_a_child)
    assert_with_what_a_child_holds(cost, before)
    assert 1 <= cost.cpu_seconds < 2
    assert cost.seconds >= 1


def look_at_a_child_that_lives() -> list[Any]:
    before = own()
    with Measured("cpu") as cost:
        child = python(HOLD + BURN.format(seconds=0.5) + WAIT)
        until_ready(child)
    later = nothing()
    with Measured("cpu") as end:
        child.communicate("\n")
    return [before, cost_of(cost), later, cost_of(end)]


def test_memory_and_time_of_a_child_count_while_it_lives_but_not_what_it_used_before(
    alone,
) -> None:
    before, cost, later, end = alone(look_at_a_child_that_lives)
    assert_with_what_a_child_holds(cost, before)
    assert 0.5 <= cost.cpu_seconds < 1.5
    assert 0 <= later.cpu_seconds < 0.2
    assert 0 <= end.cpu_seconds < 0.2


def look_at_a_grandchild() -> list[Any]:
    before = own()
    inner = HOLD + BURN.format(seconds=0.5) + WAIT
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}])\n"
    with Measured("cpu") as cost:
        child = python(outer)
        until_ready(child)
    child.communicate("\n")
    return [before, cost_of(cost)]


def test_a_grandchild_counts(alone) -> None:
    before, cost = alone(look_at_a_grandchild)
    assert_with_what_a_child_holds(cost, before)
    assert 0.5 <= cost.cpu_seconds < 1.5


def test_memory_that_a_child_shares_is_counted_once() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    alone, shared = map(float, done.stdout.split())
    assert alone > HELD
    assert shared < alone + HELD / 4
