"""Serves long prompts whole or in chunks: same logits, other waits, passes and times."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.replay.events import Replay
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share, same_tokens
from casestudies.lab.serving.arrivals import Request, arrivals, at_rate, lengths
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import Pass, Policy, Served, serve, serving, together
from casestudies.lab.serving.outcomes import first_token, longest_wait, mean_completion, percentile
from casestudies.lab.serving.policies import Chunked, iteration_level, prompts_apart
from casestudies.lab.serving.selective import Piece, read
from casestudies.lab.studies.chunked_prefill.about import ChunkedPrefillParameters
from casestudies.lab.studies.chunked_prefill.claims import APART, CHUNKS, TOGETHER
from casestudies.lab.studies.chunked_prefill.pipeline import pipelined

CHECKED = 4  # prompts whose logits are compared
TIMINGS = 7  # of a pass, in each round
WAIT = 95  # percent of the requests whose answers stand still no longer
MS = 1000


@dataclass(frozen=True)
class Way:
    """A variant and the policy that it is; settings say how a chunk differs from that asked for."""

    variant: str
    policy: Policy
    settings: Mapping[str, int]


def ways(chunk: int) -> list[Way]:
    """Return what is held against each other: also chunks of half and of twice the size."""
    return [
        Way(APART, prompts_apart, {}),
        Way(TOGETHER, iteration_level, {}),
        Way(CHUNKS, Chunked(chunk), {}),
        *(Way(CHUNKS, Chunked(size), {"chunk": size}) for size in (chunk // 2, 2 * chunk)),
    ]


@dataclass(frozen=True)
class Trace:
    """What is asked of a model, and the moments at which it comes."""

    p: ChunkedPrefillParameters
    model: LanguageModel
    requests: list[Request]
    moments: list[float]

    @cached_property
    def alone(self) -> list[list[int]]:
        """Return the tokens that each request gets by itself."""
        return [answer(self.model, request) for request in self.requests]

    def served(self, requests: Sequence[Request]) -> list[Served]:
        """Return how the requests are served in each of the ways, pass by pass in turn."""
        runs = {
            place: serving(requests, self.p.slots, way.policy, ModelPasses(self.model))
            for place, way in enumerate(ways(self.p.chunk))
        }
        return list(together(runs).values())


@dataclass(frozen=True)
class Round:
    """What was served in one round by each of the ways, and how far the replay is off, in %."""

    waiting: list[Served]
    loaded: list[Served]
    errors: list[float]

    @property
    def passes(self) -> list[Pass]:
        """Return all passes that were carried out with everyone waiting."""
        return [one for served in self.waiting for one in served.passes]


def run(parameters: ChunkedPrefillParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.15):
        trace = prepared(p, setup, report)
    with report.stage("timing a pass", 0.05):
        report.measure("equality error", CHUNKS, largest_difference(trace))
        time_answers(trace, report)
    rounds = list[Round]()
    with report.stage("serving", 0.8) as stage:
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            rounds.append(serve_round(trace))
    for place, way in enumerate(ways(p.chunk)):
        report_waiting(trace, way, [one.waiting[place] for one in rounds], report)
        report_load(way, place, rounds, report)
    speeds = report_speed(trace, rounds, report)
    report_pipeline(trace, PricedPasses.measured([o for one in rounds for o in one.passes]), report)
    return verdict(trace, rounds, speeds)


def prepared(p: ChunkedPrefillParameters, setup: Setup, report: Report) -> Trace:
    """Return a trained model and what is asked of it."""
    size = small_model.Size(p.width, p.layers, p.steps)
    corpus, trained = small_model.trained_here(size, setup, report)
    generator = torch.Generator().manual_seed(setup.seed)
    lengths_read = lengths(
        p.requests, p.longest_prompt // 2, p.longest_prompt, "uniform", generator
    )
    prompts = small_model.prompts(corpus, trained.tokenizer, lengths_read, setup.seed)
    # As many tokens as the other slots add while the prompt is read chunk by chunk.
    requests = [
        Request(row.to(setup.device), max(1, round(len(row) * (p.slots - 1) / p.chunk)))
        for row in prompts
    ]
    return Trace(p, trained.model, requests, arrivals(p.requests, p.arrivals, generator))


def room(trace: Trace, tokens: int) -> KeyValueCache:
    """Return an empty cache for so many tokens of one text."""
    weights = trace.model.embedding.weight
    return KeyValueCache(trace.model.config, 1, tokens, weights.device.type, weights.dtype)


@torch.inference_mode()
def largest_difference(trace: Trace) -> float:
    """Return the largest difference of a logit after a prompt in chunks and after all of it."""
    apart = []
    for request in trace.requests[:CHECKED]:
        cache = room(trace, len(request.prompt))
        for part in request.prompt.split(trace.p.chunk):
            logits = read(trace.model, [Piece(part, cache)])
        apart.append((logits - trace.model(request.prompt[None])[:, -1]).abs().max().item())
    return max(apart)


def time_answers(trace: Trace, report: Report) -> None:
    """Report what a token for all slots but one takes, in a pass of its own and beside a chunk."""
    p, tokens = trace.p, torch.cat([request.prompt for request in trace.requests])
    held = p.longest_prompt // 2
    texts = [Piece(tokens[:1], room(trace, held + 1)) for _ in range(p.slots - 1)]
    for one in texts:
        read(trace.model, [Piece(tokens[:held], one.cache)])
    chunk = Piece(tokens[: p.chunk], room(trace, p.chunk))

    def passing(pieces: Sequence[Piece]) -> None:
        read(trace.model, pieces)
        for piece in pieces:
            piece.cache.rewind(0 if piece is chunk else held)

    runs: dict[str, Callable[[], None]] = {
        APART: partial(passing, texts),
        CHUNKS: partial(passing, [chunk]),
        "both": partial(passing, [chunk, *texts]),
    }
    taken = alternately(runs, TIMINGS * p.rounds, tokens.device.type)
    report.measure_time("time of the answers", APART, taken[APART])
    added = [both - one for both, one in zip(taken["both"], taken[CHUNKS], strict=True)]
    report.measure_time("time of the answers", CHUNKS, added)


def serve_round(trace: Trace) -> Round:
    """Return what is served with everyone waiting and at the load."""
    trace.served(trace.requests[:1])  # what is only done the first time is not counted
    waiting = trace.served(trace.requests)
    costs = PricedPasses.measured([one for served in waiting for one in served.passes])
    rate = len(trace.requests) / waiting[1].seconds  # of whole prompts
    coming = at_rate(trace.requests, trace.moments, trace.p.load * rate)
    loaded = trace.served(coming)
    on_paper = [serve(coming, trace.p.slots, way.policy, costs) for way in ways(trace.p.chunk)]
    errors = [
        100 * abs(mean_completion(paper) / mean_completion(served) - 1)
        for paper, served in zip(on_paper, loaded, strict=True)
    ]
    return Round(waiting, loaded, errors)


def report_waiting(trace: Trace, way: Way, several: Sequence[Served], report: Report) -> None:
    """Report tokens, passes and times of a way if all requests wait from the beginning."""
    variant, conditions = way.variant, way.settings
    same = min(same_share(served, trace.alone) for served in several)
    report.measure("same tokens", variant, same, **conditions)
    report.measure("passes", variant, len(several[0].passes), **conditions)
    report.measure(
        "prompt in a pass", variant, max(one.work.prompt for one in several[0].passes), **conditions
    )
    report.measure(
        "tokens per second", variant, [served.tokens_per_second for served in several], **conditions
    )


def report_load(way: Way, place: int, rounds: Sequence[Round], report: Report) -> None:
    """Report how long answers stood still at the load, and how far the replay was off."""
    variant, conditions = way.variant, way.settings
    several = [one.loaded[place] for one in rounds]
    firsts = [statistics.median(map(first_token, served.jobs)) for served in several]
    report.measure_time("longest wait for a token", variant, waits(several), **conditions)
    report.measure_time("time to first token", variant, firsts, **conditions)
    report.measure("prediction error", variant, [one.errors[place] for one in rounds], **conditions)


def waits(several: Sequence[Served]) -> list[float]:
    """Return the longest wait for a token that most requests do not exceed, in seconds."""
    return [percentile(map(longest_wait, served.jobs), WAIT) for served in several]


def usual_wait(rounds: Sequence[Round], place: int) -> float:
    """Return the median of that of the way at this place, in milliseconds."""
    return MS * statistics.median(waits([one.loaded[place] for one in rounds]))


def report_speed(trace: Trace, rounds: Sequence[Round], report: Report) -> list[float]:
    """Report the ways' times with everyone waiting, and both curves; return the speed-ups."""
    found = []
    several = ways(trace.p.chunk)
    whole = usual_wait(rounds, 1)
    for place, way in enumerate(several):
        speed = [one.waiting[1].seconds / one.waiting[place].seconds for one in rounds]
        found.append(statistics.median(speed))
        if way.variant != TOGETHER:
            report.measure("speed-up", way.variant, speed, **way.settings)
        if isinstance(way.policy, Chunked):
            size = way.policy.tokens
            report.point("longest wait by chunk", CHUNKS, size, usual_wait(rounds, place))
            report.point("longest wait by chunk", TOGETHER, size, whole)
            report.point("speed-up by chunk", CHUNKS, size, found[-1])
    return found


def report_pipeline(trace: Trace, costs: PricedPasses, report: Report) -> None:
    """Report bubbles and throughput of a pipeline on paper, with whole prompts and with chunks."""
    policies: dict[str, Policy] = {TOGETHER: iteration_level, CHUNKS: Chunked(trace.p.chunk)}
    for variant, policy in policies.items():
        found = in_pipeline(trace, policy, costs)
        report.measure("bubble time", variant, sum(found.idle))
        rate = trace.p.stages * len(trace.requests) / found.duration
        report.measure("requests per second", variant, rate)


def in_pipeline(trace: Trace, policy: Policy, costs: PricedPasses) -> Replay:
    """Return how a pipeline serves the trace once a stage, each time from elsewhere in it."""
    count, stages = len(trace.requests), trace.p.stages
    starts = [count * stage // stages for stage in range(stages)]
    batches = [
        serve([*trace.requests[start:], *trace.requests[:start]], trace.p.slots, policy, costs)
        for start in starts
    ]
    return pipelined([[one.seconds for one in batch.passes] for batch in batches])


def verdict(trace: Trace, rounds: Sequence[Round], speeds: Sequence[float]) -> str:
    """Return a few sentences made of the run's own numbers."""
    apart, whole, chunked = (usual_wait(rounds, place) for place in range(3))
    same = min(same_share(one.waiting[2], trace.alone) for one in rounds)
    said = same_tokens(same)
    return (
        f"{said} with prompts in chunks of {trace.p.chunk} as alone. An answer stands still for"
        f" {chunked:.1f} ms at most in {WAIT} % of the requests, {whole:.1f} beside whole"
        f" prompts and {apart:.1f} where prompts have passes of their own. All together are"
        f" served {speeds[2]:.2f} x as fast as with whole prompts."
    )
