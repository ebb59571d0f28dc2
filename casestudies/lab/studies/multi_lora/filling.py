"""As many tasks as fit in the bytes of a few full copies: counted, then run."""

from collections.abc import Sequence
from dataclasses import replace

from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.report import Report
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.engine import serve
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.multi_lora.adapters import drawn, sizes_of
from casestudies.lab.studies.multi_lora.bench import Bench, own_answers
from casestudies.lab.studies.multi_lora.claims import COPIES, COPIES_THAT_FIT, GATHERED
from casestudies.lab.studies.multi_lora.gathered import ManyTasks
from casestudies.lab.studies.multi_lora.pool import Pool
from casestudies.lab.studies.multi_lora.ways import GatheredPasses

ANSWER = 2  # tokens of each task
COUNTED_AGAIN = 4  # batches whose bytes are counted while they are served


def fill(bench: Bench, report: Report) -> int:
    """Report and return how many tasks fit where the copies do, and whether all answer alike."""
    cap = COPIES_THAT_FIT * bench.model_bytes
    fit = (cap - bench.model_bytes - largest_batch_bytes(bench)) // bench.adapter_bytes
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
    beside = served_bytes(bench, requests[: COUNTED_AGAIN * bench.p.slots], pool)
    held = bench.model_bytes + pool.memory.nbytes + beside
    report.measure("tasks that fit", COPIES, COPIES_THAT_FIT)
    report.measure("tasks that fit", GATHERED, fit)
    report.measure("tasks that answer alike", GATHERED, sum(alike) / fit)
    report.measure("share of the cap", GATHERED, held / cap)
    return fit


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
