"""Times of things that are held against each other."""

import statistics
import time
from collections.abc import Callable, Mapping

import torch

Runs = Mapping[str, Callable[[], object]]
BEYOND_CACHES = 2**28  # bytes


def alternately(
    runs: Runs, rounds: int, device: str = "cpu", *, again: bool = False
) -> dict[str, list[float]]:
    """Return the seconds that each of the runs takes, once a round, by its name.

    In each round every one runs once in turn, so that other work on the machine slows all of them
    alike. Each runs unmeasured before: once, so that what is only done the first time is not
    counted, or with `again` each time, so that caches hold of its own data what they can.
    """
    for run in runs.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            if again:
                run()
            taken[name].append(seconds(run, device))
    return taken


def seconds(run: Callable[[], object], device: str = "cpu") -> float:
    """Return the seconds that the call takes, until the device has finished.

    On a CPU they are wall clock. On a GPU they lie between two events in the current stream, so
    hearing of the end is no part of them. The GPU is idle at the first event: that it waits for the
    host counts, before its first kernel too. A run must have the current stream wait for whatever
    it asks of another one.
    """
    if device == "cuda":  # pragma: no cover - needs a GPU
        return _seconds_between_events(run)
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def own_seconds(run: Callable[[], object], device: str = "cpu") -> float:
    """Return the seconds that the call takes a processor of its own.

    Where processes share the cores of a CPU that is the time of this thread, which waits for no
    other; on a GPU it is what `seconds` returns.
    """
    if device != "cpu":  # pragma: no cover - needs a GPU
        return seconds(run, device)
    start = time.thread_time()
    run()
    return time.thread_time() - start


def ratios(taken: Mapping[str, list[float]], to: str) -> dict[str, list[float]]:
    """Return, round by round, the time of `to` divided by that of each of the others."""
    return {
        name: [base / own for base, own in zip(taken[to], times, strict=True)]
        for name, times in taken.items()
        if name != to
    }


def lengths(shortest: int, longest: int, factor: int) -> list[int]:
    """Return the lengths to measure at: the shortest, each `factor` times the last, the longest."""
    found = [shortest]
    while found[-1] * factor < longest:
        found.append(found[-1] * factor)
    return sorted({*found, longest})


def captured(run: Callable[[], object], device: str) -> Callable[[], object]:
    """Return what repeats the run's kernels on a GPU without Python launching each; else the run.

    The time of a product with few tokens is shorter than that of launching it.
    """
    if device == "cpu":
        return run
    aside = torch.cuda.Stream()  # pragma: no cover - needs a GPU
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        run()  # once before, so that whatever is compiled or chosen the first time is not captured
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def copies(each: int, most: int) -> int:
    """Return how many things of so many bytes take turns so that no cache holds them all."""
    return min(most, -(-BEYOND_CACHES // each))


def copied_bytes_a_second(device: str, size: int = 2**28, rounds: int = 5) -> float:
    """Return the bytes that the device reads and writes a second where it only copies."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    taken = alternately({"copy": lambda: target.copy_(source)}, rounds, device)["copy"]
    return 2 * size / statistics.median(taken)


def bfloat16_operations_a_second(device: str, size: int = 8192, rounds: int = 5) -> float:
    """Return the operations a second of PyTorch's product of two square bfloat16 matrices.

    A multiply-add is two. By default the product is large enough for a GPU, and too large for a
    CPU.
    """
    # Drawn, since a GPU takes less power, and so may run faster, where all numbers are alike.
    generator = torch.Generator(device).manual_seed(0)
    shape = (2, size, size)
    a, b = torch.randn(shape, generator=generator, device=device, dtype=torch.bfloat16)
    target = torch.empty_like(a)
    taken = alternately({"product": lambda: torch.mm(a, b, out=target)}, rounds, device)["product"]
    return 2 * size**3 / statistics.median(taken)


def _seconds_between_events(run: Callable[[], object]) -> float:  # pragma: no cover - needs a GPU
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    begin.record()
    run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / 1000  # from milliseconds
