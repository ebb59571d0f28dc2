"""Memory and time of a piece of work and of the processes that it starts."""

import subprocess
import sys

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


def python(program: str) -> subprocess.Popen[str]:
    """Start an interpreter that runs the program."""
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def until_ready(child: subprocess.Popen[str]) -> None:
    assert child.stdout
    assert child.stdout.readline() == "ready\n"


def own_peak() -> float:
    """Return what this process holds at this moment."""
    with Measured("cpu") as nothing:
        pass
    return nothing.peak_mib


def assert_with_what_a_child_holds(cost: Measured) -> None:
    """Libraries that strangers have loaded too count in part, so our share has two bounds."""
    own = psutil.Process().memory_full_info()
    interpreters = 2 * 20
    least, most = own.uss / MIB + HELD, own.rss / MIB + HELD + interpreters
    assert least - NOISE < cost.peak_mib < most + NOISE


def test_the_peak_of_one_process_is_exact_and_forgets_what_was_before() -> None:
    before = own_peak()
    with Measured("cpu") as first:
        held = b"x" * (HELD * MIB)
        del held
    assert first.peak_mib - before == pytest.approx(HELD, abs=NOISE)
    assert own_peak() - before == pytest.approx(0, abs=NOISE)


def test_memory_and_time_of_a_child_count_when_it_has_ended() -> None:
    with Measured("cpu") as cost:
        python(HOLD + BURN.format(seconds=1)).communicate()
    assert_with_what_a_child_holds(cost)
    assert 1 <= cost.cpu_seconds < 2
    assert cost.seconds >= 1


def test_memory_and_time_of_a_child_count_while_it_lives_but_not_what_it_used_before() -> None:
    with Measured("cpu") as cost:
        child = python(HOLD + BURN.format(seconds=0.5) + WAIT)
        until_ready(child)
    with Measured("cpu") as later:
        pass
    with Measured("cpu") as end:
        child.communicate("\n")
    assert_with_what_a_child_holds(cost)
    assert 0.5 <= cost.cpu_seconds < 1.5
    assert 0 <= later.cpu_seconds < 0.2
    assert 0 <= end.cpu_seconds < 0.2


def test_a_grandchild_counts() -> None:
    inner = HOLD + BURN.format(seconds=0.5) + WAIT
    outer = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {inner!r}])\n"
    with Measured("cpu") as cost:
        child = python(outer)
        until_ready(child)
    child.communicate("\n")
    assert_with_what_a_child_holds(cost)
    assert 0.5 <= cost.cpu_seconds < 1.5


def test_memory_that_a_child_shares_is_counted_once() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, check=True)
    alone, shared = map(float, done.stdout.split())
    assert alone > HELD
    assert shared < alone + HELD / 4
