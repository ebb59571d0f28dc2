"""Bytes of tensors, counted and not sampled: the same on every machine of a kind.

`peak_bytes` asks the allocator about a call. `Held` counts pieces of memory as they come and go;
`Device` is such a count with an end, for tensors that move between it and the host.
"""

import os
import weakref
from collections import Counter
from collections.abc import Callable
from threading import RLock

import numpy as np
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no line on each start and end

NO_CAP = 2**62  # bytes, more than any device has


def peak_bytes(run: Callable[[], object], device: str = "cpu") -> int:
    """Return the most bytes that the call holds at one time beyond what was held before.

    What it returns, what its operations hold while they run, and what is freed in between all
    count; memory that it gets elsewhere than from PyTorch does not.
    """
    if device == "cuda":  # pragma: no cover - needs a GPU
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    # The profiler's own summaries leave out when memory was taken and given back.
    recorded = profiled.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in recorded if e.name() == "[memory]")
    held = most = 0
    for _, change in changes:
        held += change
        most = max(most, held)
    return most


class Held:
    """Counts bytes that are held, each piece of memory once: `bytes` now, `peak` at most."""

    def __init__(self) -> None:
        self.bytes = self.peak = 0
        self._owners: Counter[int] = Counter()
        self._lock = RLock()  # owners may end in any thread

    def hold(self, address: int, size: int, owner: object) -> None:
        """Count the piece at `address`, of so many bytes, as long as one of its owners lives."""
        with self._lock:
            self._owners[address] += 1
            if self._owners[address] == 1:
                self.bytes += size
                self.peak = max(self.peak, self.bytes)
        weakref.finalize(owner, self._let_go, address, size)

    def _let_go(self, address: int, size: int) -> None:
        with self._lock:
            self._owners[address] -= 1
            if not self._owners[address]:
                del self._owners[address]
                self.bytes -= size


class NoRoom(MemoryError):
    """What was asked for does not fit; the message names what is held, asked for and allowed."""


class Device:
    """The device's memory, which holds at most `cap` bytes of tensors; it begins empty.

    On a GPU the allocator counts, so what operations make counts too. On a CPU the device is a pool
    that is told from the host's memory only by being counted: in it is what was put there, as long
    as a tensor or a view of it lives, and what operations make of it is on the host.
    """

    def __init__(self, kind: str, cap: int) -> None:
        self.cap = cap
        self._gpu = kind == "cuda"
        self._pool = Held()
        self._lock = RLock()
        if self._gpu:  # pragma: no cover - needs a GPU
            self._before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()

    @property
    def bytes(self) -> int:
        """Return the bytes that it holds now."""
        if self._gpu:  # pragma: no cover - needs a GPU
            return torch.cuda.memory_allocated() - self._before
        return self._pool.bytes

    @property
    def peak(self) -> int:
        """Return the most bytes that it has held at one time."""
        if self._gpu:  # pragma: no cover - needs a GPU
            return torch.cuda.max_memory_allocated() - self._before
        return self._pool.peak

    def put(self, tensor: Tensor) -> Tensor:
        """Return a copy on the device; raise NoRoom, before anything is copied, if none fits."""
        return self.empty(tensor.shape, tensor.dtype).copy_(tensor)

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return a tensor on the device whose numbers are not set; raise NoRoom if none fits."""
        size = shape.numel() * dtype.itemsize
        with self._lock:  # two threads must not both take the last room
            if self.bytes + size > self.cap:
                raise NoRoom(
                    f"{size} bytes do not fit on the device, which holds {self.bytes} of {self.cap}"
                )
            if self._gpu:  # pragma: no cover - needs a GPU
                return torch.empty(shape, dtype=dtype, device="cuda")
            memory = np.empty(size, dtype=np.uint8)
            self._pool.hold(memory.ctypes.data, size, memory)
        # Tensors of this storage keep the array, which ends with the last of them.
        storage = torch.from_numpy(memory).untyped_storage()
        return torch.empty(0, dtype=dtype).set_(storage).view(shape)
