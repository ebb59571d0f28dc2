"""Compiles loops over bytes to machine code."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

# Kept beside the source where that may be written, so that only the first run waits for it. What
# is kept follows its own file only: after a change to a loop that another file's loops call, delete
# the folder __pycache__.
KEEP = os.access(Path(__file__).parent, os.W_OK)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as machine code: no bounds are checked, so its caller must."""
    return numba.njit(cache=KEEP)(function)
