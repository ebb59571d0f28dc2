"""How many threads PyTorch computes with, and how they wait for each other.

Both are read from the environment when PyTorch and NumPy are first imported, so that this comes
before that.
"""

import os

import psutil

SPINS = 100_000  # of GNU OpenMP, about a millisecond; between two operations less time passes
BUSY = 15.0  # percent of all cores that other work takes
MOMENT = 0.2  # seconds in which that is seen


def prepare(threads: int | None) -> None:
    """Set the number of threads, all cores for None, and whether they spin while they wait.

    On a busy machine one that spins takes the core from those that work. Where cores are idle it
    must not sleep: waking it takes longer than many an operation, in a virtual machine most of all.
    What the environment says of either stays as it is.
    """
    if threads is not None:
        os.environ["OMP_NUM_THREADS"] = str(threads)
    if "OMP_WAIT_POLICY" in os.environ:
        return
    os.environ["OMP_WAIT_POLICY"] = "passive"
    if "GOMP_SPINCOUNT" not in os.environ and psutil.cpu_percent(MOMENT) < BUSY:
        os.environ["GOMP_SPINCOUNT"] = str(SPINS)
