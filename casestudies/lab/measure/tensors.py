"""Bytes of tensors, counted by the allocator: the same on every machine of a kind."""

import os
from collections.abc import Callable

import torch
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # no line on each start and end


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
