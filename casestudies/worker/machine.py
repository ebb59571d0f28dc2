"""What this machine offers to runs."""

import os
from typing import Any

import psutil

from casestudies.worker import leases


def offered() -> dict[str, Any]:
    """Return the number of cores, the bytes of memory and the UUIDs of the graphics processors."""
    return {
        "cores": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": leases.gpus(),
    }
