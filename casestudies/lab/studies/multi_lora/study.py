"""Serves many tasks with one model: by gathered adapters, merged ones in turn, and copies."""

import copy
import statistics

import torch

from casestudies.lab import kernels
from casestudies.lab.contract import Setup
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.report import Report
from casestudies.lab.serving.alone import same_tokens
from casestudies.lab.serving.selective import Piece, read
from casestudies.lab.studies.multi_lora.about import MultiLoraParameters
from casestudies.lab.studies.multi_lora.adapters import LowRank, merge
from casestudies.lab.studies.multi_lora.bench import (
    KINDS,
    Bench,
    Case,
    each_its_own,
    mixed_kinds,
    prepared,
    shared_case,
)
from casestudies.lab.studies.multi_lora.claims import (
    BACKBONE,
    BY_TASK,
    COPIES,
    COPIES_THAT_FIT,
    FROM_PAGES,
    GATHERED,
    LOOP,
    MANY,
    QUERIES,
    SWITCH,
)
from casestudies.lab.studies.multi_lora.filling import fill, held_bytes
from casestudies.lab.studies.multi_lora.gathered import ManyTasks, Segment
from casestudies.lab.studies.multi_lora.pool import Pool
from casestudies.lab.studies.multi_lora.timing import layer_runs, token_runs

GROWTH = 8  # from one number of adapters to the next
TIMINGS = 15  # in each round
MIB, MS = 2**20, 1000

WRONG = 1e-3  # this far from merged weights no float32 rounding is


def run(parameters: MultiLoraParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.15):
        bench = prepared(p, setup, report)
    counts = lengths(1, p.adapters, GROWTH)
    with report.stage("answering from copies", 0.15):
        report_agreement(bench, report)
        sweep = {count: shared_case(bench, count) for count in counts}
        apart = each_its_own(bench)
        kinds = {each: mixed_kinds(bench, each) for each in QUERIES}
    with report.stage("timing a token and a layer", 0.05):
        added = time_token(bench, report)
        for count in counts:
            time_layer(bench, count, report)
    cases = [*sweep.values(), apart, *kinds.values()]
    with report.stage("serving", 0.5) as stage:
        for case in cases:  # what is only done the first time is not counted
            case.outcomes(case.requests[: p.slots], p.slots)
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            for case in cases:
                case.serve(p.slots)
    for count, case in sweep.items():
        report_shared(count, case, report)
    report_apart(apart, report)
    for each, case in kinds.items():
        report_kinds(each, case, report)
    for name in (BACKBONE, COPIES, SWITCH, BY_TASK, LOOP, GATHERED):
        report.measure("same tokens", name, min(c.same(name) for c in cases if name in c.ways))
    with report.stage("counting bytes", 0.15):
        # Counting is slow, so it is left out where few adapters are asked for.
        for count in (count for count in counts if count >= min(MANY, p.adapters)):
            for name, held in held_bytes(bench, sweep[count]).items():
                report.measure("memory held", name, held / MIB, adapters=count)
        fit = fill(bench, report)
    return verdict(sweep[p.adapters], added, fit, p)


@torch.inference_mode()
def report_agreement(bench: Bench, report: Report) -> None:
    """Report the size of an adapter, and how far logits are from those of merged copies."""
    if reason := kernels.why_not(bench.device):
        report.log(f"Adapters read from pages: {reason}: not run")
    held = bench.adapters[0].numbers.nbytes
    report.measure_share("adapter size", GATHERED, held / bench.model_bytes)
    prompts = [request.prompt for request in bench.requests[: bench.p.slots]]
    several = (n % len(bench.mixed) for n in range(len(prompts)))
    tasks = sorted(several, key=lambda task: task % KINDS)  # those of a kind side by side
    own, logits = copy.deepcopy(bench.model), []
    for task, prompt in zip(tasks, prompts, strict=True):
        merge(bench.model, bench.mixed[task], own)
        logits.append(own(prompt[None])[0, -1])
    for name in (LOOP, GATHERED):
        pool = Pool.with_room_for(len(tasks), bench.mixed, bench.device)
        many = ManyTasks(bench.model, pool, one_by_one=name == LOOP)
        many.turn_to(list(map(Segment, tasks, map(len, prompts))))
        config = bench.model.config
        caches = [KeyValueCache(config, 1, len(prompt), bench.device) for prompt in prompts]
        found = read(many.model, list(map(Piece, prompts, caches)))
        report.measure("equality error", name, (found - torch.stack(logits)).abs().max().item())


def time_layer(bench: Bench, count: int, report: Report) -> None:
    """Report the time of one layer for a token of each of so many tasks, in three ways."""
    tokens = torch.cat([request.prompt for request in bench.requests])[:count]
    runs = layer_runs(
        bench.model.linears()["0.up"],
        bench.model.embedding(tokens),
        LowRank(bench.p.rank),
        bench.generator,
        from_pages=not kernels.why_not(bench.device),
    )
    if read := runs.pop(FROM_PAGES, None):  # pragma: no cover - needs a GPU
        with kernels.attempting(f"{count} adapters read from pages", report.log):
            apart = (read() - runs[SWITCH]()).abs().max().item()
            if count == bench.p.adapters:
                report.measure("equality error", FROM_PAGES, apart)
            if apart <= WRONG:
                runs[FROM_PAGES] = read
            else:
                report.log(f"{count} adapters read from pages are wrong: not timed")
    taken = alternately(runs, TIMINGS * bench.p.rounds, bench.device, again=True)
    for name, several in taken.items():
        report.measure_time("layer time", name, several, adapters=count)
        report.point("layer time by adapters", name, count, MS * statistics.median(several))


def time_token(bench: Bench, report: Report) -> float:
    """Report the time of a token for each of a batch; return what gathered ones add, in %."""
    texts = [request.prompt for request in bench.requests[: bench.p.slots]]
    runs = token_runs(bench.model, texts, bench.adapters)
    taken = alternately(runs, TIMINGS * bench.p.rounds, bench.device)
    for name, several in taken.items():
        report.measure_time("time per token", name, several)
    faster = ratios(taken, to=BACKBONE)
    added = {name: [100 * (1 / one - 1) for one in several] for name, several in faster.items()}
    for name, several in added.items():
        report.measure("added time", name, several)
    return statistics.median(added[GATHERED])


def report_shared(count: int, case: Case, report: Report) -> None:
    """Report how requests for so many tasks were served, and what was moved for it."""
    for name in case.ways:
        rate = case.rate(name)
        report.measure("requests per second", name, rate, adapters=count)
        report.point("requests per second by adapters", name, count, statistics.median(rate))
        if name != SWITCH:
            report.measure("speed-up", name, case.gain(name, SWITCH), adapters=count)
    for name in (SWITCH, GATHERED):
        moved = case.rounds[0][name].moved / MIB
        report.measure("bytes moved", name, moved, adapters=count)


def report_apart(case: Case, report: Report) -> None:
    """Report what one batch of distinct adapters was served like."""
    for name in case.ways:
        rate = case.each(name, lambda served: served.tokens_per_second)
        report.measure("tokens per second", name, rate)
        if name != COPIES:
            report.measure("gain over each alone", name, case.gain(name, COPIES))


def report_kinds(each: int, case: Case, report: Report) -> None:
    """Report how queries of mixed kinds were served, so many of each task."""
    for name in case.ways:
        report.measure("queries per second", name, case.rate(name), queries=each)
    gain = case.gain(GATHERED, BY_TASK)
    report.measure("gain over task by task", GATHERED, gain, queries=each)


def verdict(shared: Case, added: float, fit: int, p: MultiLoraParameters) -> str:
    """Return a few sentences made of the run's own numbers."""
    speed, of_plain = (
        statistics.median(shared.gain(GATHERED, over)) for over in (SWITCH, BACKBONE)
    )
    same = shared.same(GATHERED)
    said = same_tokens(same)
    return (
        f"{said} as from a merged copy for each task. {len(shared.requests)} requests for"
        f" {p.adapters} adapters are served {speed:.2f} x as fast by gathering adapters as by"
        f" merging one after another, and {of_plain:.2f} x as fast as without any; in a batch of"
        f" {p.slots} they add {added:.0f} % to the time of a token, once gathered. {fit} tasks fit"
        f" in the memory of {COPIES_THAT_FIT} copies."
    )
