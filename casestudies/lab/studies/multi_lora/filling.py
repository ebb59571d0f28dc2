"""As many tasks as fit in the bytes of a few full copies: counted, then run."""

from collections.abc import Sequence
from dataclasses import replace

from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.report import Report
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.engine import serve
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.multi_lora.adapters import drawn, sizes_of
from casestudies.lab.studies.multi_lora.bench import Bench, Case, own_answers
from casestudies.lab.studies.multi_lora.claims import (
    BATCHES,
    COPIES,
    COPIES_THAT_FIT,
    GATHERED,
    SWITCH,
)
from casestudies.lab.studies.multi_lora.gathered import ManyTasks
from casestudies.lab.studies.multi_lora.pool import Pool
from casestudies.lab.studies.multi_lora.ways import GatheredPasses

ANSWER = 2  # tokens of each task


def held_bytes(bench: Bench, case: Case) -> dict[str, int]:
    """Return the most bytes that serving holds: weights, copy or pool, caches, activations.

    They are counted while the first few batches are served, as each of the ways takes them.
    """
    several = BATCHES * bench.p.slots
    first = {
        SWITCH: sorted(case.requests, key=lambda request: request.task)[:several],
        GATHERED: case.requests[:several],
    }
    return {name: bench.model_bytes + _beside(bench, case, name, first[name]) for name in first}


def _beside(bench: Bench, case: Case, name: str, requests: Sequence[Request]) -> int:
    policy, passes = case.ways[name]
    # What the passes are made with counts as well: the copy's layers, or the pool.
    return peak_bytes(lambda: serve(requests, bench.p.slots, policy, passes()), bench.device)


def fill(bench: Bench, report: Report) -> int:
    """Report and return how many tasks fit where the copies do, and whether all answer alike.

    Where not even one fits beside a batch, nothing is run.
    """
    cap = COPIES_THAT_FIT * bench.model_bytes
    left = cap - bench.model_bytes - largest_batch_bytes(bench)
    fit = max(0, left // bench.adapter_bytes)
    report.measure("tasks that fit", COPIES, COPIES_THAT_FIT)
    report.measure("tasks that fit", GATHERED, fit)
    if fit:
        run_filled(bench, fit, cap, report)
    return fit


def run_filled(bench: Bench, fit: int, cap: int, report: Report) -> None:
    """Report whether so many tasks answer as from their own copies, and what they hold."""
    sizes, low = sizes_of(bench.model), bench.adapters[0].kind
    adapters = [drawn(low, sizes, bench.generator) for _ in range(fit)]
    pool = Pool.with_room_for(fit, adapters, bench.device)
    pool.hold(range(fit))
    requests = [
        replace(bench.requests[n % len(bench.requests)], tokens=ANSWER, task=n) for n in range(fit)
    ]
    passes = GatheredPasses(ManyTasks(bench.model, pool))
    served = serve(requests, bench.p.slots, iteration_level, passes)
    own = own_answers(bench.model, requests, adapters)
    alike = [job.said == expected for job, expected in zip(served.jobs, own, strict=True)]
    beside = served_bytes(bench, requests[: BATCHES * bench.p.slots], pool)
    held = bench.model_bytes + pool.memory.nbytes + beside
    report.measure("tasks that answer alike", GATHERED, sum(alike) / fit)
    report.measure("share of the cap", GATHERED, held / cap)


def largest_batch_bytes(bench: Bench) -> int:
    """Return the most bytes that a batch of the longest prompts holds, beside weights and pool."""
    longest = max(bench.requests, key=lambda request: len(request.prompt)).prompt
    batch = [Request(longest, ANSWER, task=number) for number in range(bench.p.slots)]
    pool = Pool.with_room_for(len(batch), bench.adapters, bench.device)
    pool.hold(range(len(batch)))
    return served_bytes(bench, batch, pool)


def served_bytes(bench: Bench, requests: Sequence[Request], pool: Pool) -> int:
    """Return the most bytes that serving the requests holds, beside weights and pool."""
    passes = GatheredPasses(ManyTasks(bench.model, pool))
    return peak_bytes(lambda: serve(requests, bench.p.slots, iteration_level, passes), bench.device)
