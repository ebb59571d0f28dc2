"""Serves one trace in the same memory, in pieces and in blocks; then lets texts share blocks."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import torch

from casestudies.lab import kernels
from casestudies.lab.contract import Setup
from casestudies.lab.equations.inference_memory import kv_bytes_per_token
from casestudies.lab.measure import rounds as timing
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.paged import Blocks
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share, same_tokens
from casestudies.lab.serving.arrivals import Request, lengths
from casestudies.lab.serving.caches import InBlocks
from casestudies.lab.serving.carrying import ModelPasses, PricedPasses
from casestudies.lab.serving.engine import Served, serve, serving, together
from casestudies.lab.studies.paged_kv_cache import in_place
from casestudies.lab.studies.paged_kv_cache.about import BEAMS, PagedParameters
from casestudies.lab.studies.paged_kv_cache.claims import FEW, LONGEST, ORACLE, PAGED, POWER
from casestudies.lab.studies.paged_kv_cache.reserving import Counted, in_blocks, in_pieces
from casestudies.lab.studies.paged_kv_cache.sharing import COPIED, Prompts

IN_PIECES, IN_BLOCKS = (LONGEST, POWER, ORACLE), (PAGED, FEW)
SERVED = IN_PIECES + IN_BLOCKS
SHORTEST_PROMPT, SHORTEST_ANSWER = 8, 16  # shares of the longest
MIB = 2**20


@dataclass(frozen=True)
class Way:
    """How requests were served in one of the ways, what was held meanwhile, and what was moved."""

    served: Served
    counted: Counted
    moved_bytes: int

    @property
    def at_once(self) -> float:
        """Return the requests of a pass, mean of all passes."""
        return statistics.mean(one.work.jobs for one in self.served.passes)


Round = Mapping[str, Way]


@dataclass(frozen=True)
class Trace:
    """What is asked of a model."""

    p: PagedParameters
    model: LanguageModel
    requests: list[Request]
    seed: int

    @cached_property
    def alone(self) -> list[list[int]]:
        """Return the tokens that each request gets by itself."""
        return [answer(self.model, request) for request in self.requests]

    @property
    def tokens(self) -> int:
        """Return the tokens that the memory is for."""
        return self.p.memory * self.p.longest

    @property
    def block(self) -> int:
        """Return the tokens of a block, no more than a text may have."""
        return min(self.p.block, self.p.longest)

    @property
    def token_bytes(self) -> int:
        """Return the bytes of a token's keys and values."""
        config = self.model.config
        head = config.width // config.heads
        weight = self.model.embedding.weight.element_size()
        heads = config.key_value_heads
        return int(
            kv_bytes_per_token(
                layers=config.layers, kv_heads=heads, head_dim=head, number_bytes=weight
            )
        )

    def blocks(self, tokens: int) -> Blocks:
        """Return memory for so many tokens, in whole blocks."""
        weights = self.model.embedding.weight
        count = tokens // self.block
        return Blocks(self.model.config, count, self.block, weights.device.type, weights.dtype)

    def served(self, requests: Sequence[Request]) -> Round:
        """Return how the requests are served in each of the ways, pass by pass in turn."""
        longest = self.p.longest
        policies = {name: Counted(in_pieces(name, self.tokens, longest)) for name in IN_PIECES}
        policies |= {
            name: Counted(in_blocks(self.block, self.tokens, longest)) for name in IN_BLOCKS
        }
        carried = {name: ModelPasses(self.model) for name in IN_PIECES}
        carried |= {
            name: ModelPasses(self.model, InBlocks(self.blocks(self.tokens))) for name in IN_BLOCKS
        }
        slots = dict.fromkeys(SERVED, len(self.requests)) | {FEW: self.p.memory}
        found = together(
            {name: serving(requests, slots[name], policies[name], carried[name]) for name in SERVED}
        )
        return {
            name: Way(found[name], policies[name], carried[name].moved_bytes) for name in SERVED
        }


def run(parameters: PagedParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.15):
        trace = prepared(p, setup, report)
    rounds = list[Round]()
    with report.stage("serving", 0.65) as stage:
        trace.served(trace.requests[:1])  # what is only done the first time is not counted
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            rounds.append(trace.served(trace.requests))
    for variant in SERVED:
        report_served(trace, variant, rounds, report)
    report.measure("speed-up over powers of two", PAGED, speed_ups(rounds, PAGED, POWER))
    report_sizes(trace, report)
    with report.stage("sharing blocks", 0.2):
        saved = report_forks(trace, report)
    report_in_place(trace, setup.device, report)
    return verdict(trace, rounds, saved)


def prepared(p: PagedParameters, setup: Setup, report: Report) -> Trace:
    """Return a trained model and what is asked of it."""
    size = small_model.Size(p.width, p.layers, p.steps)
    corpus, trained = small_model.trained_here(size, setup, report)
    generator = torch.Generator().manual_seed(setup.seed)
    shortest = p.longest_prompt // SHORTEST_PROMPT, p.longest_answer // SHORTEST_ANSWER
    read = lengths(p.requests, shortest[0], p.longest_prompt, "uniform", generator)
    added = lengths(p.requests, shortest[1], p.longest_answer, p.answers, generator)
    requests = small_model.requests(corpus, trained.tokenizer, read, added, setup)
    return Trace(p, trained.model, requests, setup.seed)


def report_served(trace: Trace, variant: str, rounds: Sequence[Round], report: Report) -> None:
    """Report how one of the ways served everyone."""
    several = [one[variant] for one in rounds]
    same = min(same_share(way.served, trace.alone) for way in several)
    first = several[0]
    report.measure("same tokens", variant, same)
    report.measure("passes", variant, len(first.served.passes))
    report.measure("requests at once", variant, first.at_once)
    report.measure("filled", variant, first.counted.share)
    report.measure("most empty places", variant, first.counted.most_empty)
    report.measure("cache size", variant, max(first.counted.held) * trace.token_bytes / MIB)
    report.measure("bytes moved", variant, first.moved_bytes / MIB)
    rates = [way.served.tokens_per_second for way in several]
    report.measure("tokens per second", variant, rates)
    if variant != LONGEST:
        report.measure("speed-up", variant, speed_ups(rounds, variant, LONGEST))


def speed_ups(rounds: Sequence[Round], variant: str, other: str) -> list[float]:
    """Return by round the other's time divided by the variant's."""
    return [one[other].served.seconds / one[variant].served.seconds for one in rounds]


def report_sizes(trace: Trace, report: Report) -> None:
    """Report what is filled with blocks of other sizes: as decided with passes on paper."""
    longest = trace.p.longest
    for block in timing.lengths(1, longest, 4):
        counted = Counted(in_blocks(block, trace.tokens, longest))
        serve(trace.requests, len(trace.requests), counted, PricedPasses(1))
        report.point("filled by block size", PAGED, block, counted.share)


def report_forks(trace: Trace, report: Report) -> float:
    """Report what samples and beams share; return the blocks that beams save, in percent."""
    texts = [request.prompt for request in trace.requests[: trace.p.forked_prompts]]
    prompts = Prompts(trace.model, texts, trace.p, trace.block, trace.seed)
    found = {name: prompts.continued(name) for pair in COPIED.items() for name in pair}
    runs = {name: partial(prompts.continued, name) for name in found}
    taken = timing.alternately(runs, trace.p.rounds, texts[0].device.type)
    tokens = len(texts) * trace.p.forked_tokens
    for name, forked in found.items():
        report.measure("bytes moved", name, forked.copied_bytes / MIB)
        report.measure_time("time per token", name, [t / tokens for t in taken[name]])
    for shared, copied in COPIED.items():
        report.measure("same tokens", shared, found[shared].agreement(found[copied]))
        report.measure("memory saved", shared, found[shared].saved)
    return found[BEAMS].saved


def report_in_place(trace: Trace, device: str, report: Report) -> None:
    """Report attention over blocks that are gathered first, and that are read where they lie."""
    if reason := kernels.why_not(device):
        report.log(f"Blocks read in place: {reason}: not run")
        return
    texts = min(in_place.TEXTS, trace.p.requests)  # pragma: no cover - needs a GPU
    tokens = in_place.drawn(texts, torch.Generator().manual_seed(trace.seed))  # pragma: no cover
    with kernels.attempting("Blocks read in place", report.log):  # pragma: no cover - needs a GPU
        from casestudies.lab.kernels.paged_attention import attend

        found = in_place.compared(attend, tokens, trace.block, trace.p.rounds, device)
        report_attention(found, tokens, device, report)


def report_attention(
    found: Mapping[str, tuple[float, list[float]]],
    tokens: Sequence[int],
    device: str,
    report: Report,
) -> None:
    """Report how far attention of each text's token is from float64, and times of what is right."""
    for name, (apart, taken) in found.items():
        report.measure("equality error", name, apart)
        if not taken:
            report.log(f"Attention, {name}, is wrong: not timed")
            continue
        report.measure_time("attention time", name, taken)
        share = in_place.share_of_copying(tokens, statistics.median(taken), device)
        report.measure_share("share of copying", name, share)


def verdict(trace: Trace, rounds: Sequence[Round], saved: float) -> str:
    """Return a few sentences made of the run's own numbers."""
    first = rounds[0]
    same = min(same_share(one[PAGED].served, trace.alone) for one in rounds)
    over = {
        other: statistics.median(speed_ups(rounds, PAGED, other))
        for other in (LONGEST, POWER, ORACLE)
    }
    filled = {name: first[name].counted.share for name in (PAGED, LONGEST)}
    return (
        f"{same_tokens(same)} as alone."
        f" Blocks of {trace.block} tokens are {filled[PAGED]:.0f} % full and room"
        f" for the longest is {filled[LONGEST]:.0f} %, so {first[PAGED].at_once:.1f} requests share"
        f" a pass where {first[LONGEST].at_once:.1f} did: {over[LONGEST]:.2f} x the throughput,"
        f" {over[POWER]:.2f} x that of the next power of two, and {over[ORACLE]:.2f} x that of"
        f" knowing all lengths. Beams that share blocks save {saved:.0f} % of them."
    )
