"""Serves requests that begin alike, with a tree of what was read and without."""

import operator
import statistics
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, takewhile

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data.text import Corpus
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.paged import Blocks
from casestudies.lab.report import Report
from casestudies.lab.serving import small_model
from casestudies.lab.serving.alone import answer, same_share, same_tokens
from casestudies.lab.serving.arrivals import lengths
from casestudies.lab.serving.engine import Served, serving, together
from casestudies.lab.serving.small_model import Trained
from casestudies.lab.studies.prefix_cache.about import (
    CHATS,
    MANY,
    OTHER_SHARES,
    PrefixParameters,
)
from casestudies.lab.studies.prefix_cache.claims import AWARE, NONE, TREE
from casestudies.lab.studies.prefix_cache.server import Server, Turn

VARIANTS = NONE, TREE, AWARE
FIRST = NONE, TREE  # whose time to the first token is measured
MORE = 4  # times as many tasks, where there are many
BY_THEMSELVES = 16  # requests served one at a time, for the time to the first token
MESSAGE, REPLY = 8, 16  # shares of a prompt: what is said in a turn of a chat, and its answer
MS = 1000


@dataclass(frozen=True)
class Trace:
    """Requests for a model, and what each gets by itself."""

    model: LanguageModel
    requests: list[Turn]
    p: PrefixParameters

    @cached_property
    def alone(self) -> list[list[int]]:
        """Return the tokens that each request gets by itself."""
        return [answer(self.model, request) for request in self.requests]

    @property
    def prompt_tokens(self) -> int:
        """Return the tokens of all prompts."""
        return sum(len(request.prompt) for request in self.requests)

    @cached_property
    def common_percent(self) -> float:
        """Return how many tokens of all prompts stand in blocks that begin another too, in percent.

        Of prompts in alphabetical order, the one that begins like another for longest is beside it.
        """
        prompts = sorted(request.prompt.tolist() for request in self.requests)
        alike = [_alike(one, other) for one, other in pairwise(prompts)]
        most = map(max, [0, *alike], [*alike, 0])
        return 100 * sum(same - same % self.p.block for same in most) / self.prompt_tokens

    def server(self, variant: str) -> Server:
        """Return what serves in that way, with its memory empty."""
        size, weights = self.p.block, self.model.embedding.weight
        longest = max(len(request.prompt) + request.tokens for request in self.requests)
        count = self.p.memory * -(-longest // size)
        blocks = Blocks(self.model.config, count, size, weights.device.type, weights.dtype)
        return Server(self.model, blocks, tree=variant != NONE, aware=variant == AWARE)

    def served(
        self, requests: Sequence[Turn], slots: int, variants: Sequence[str] = VARIANTS
    ) -> "dict[str, Way]":
        """Return how so many requests at once are served in each way, pass by pass in turn."""
        servers = {name: self.server(name) for name in variants}
        found = together(
            {
                name: serving(requests, slots, server.choose, server.carry)
                for name, server in servers.items()
            }
        )
        return {name: Way(found[name], servers[name]) for name in variants}


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(takewhile(bool, map(operator.eq, one, other)))


@dataclass(frozen=True)
class Way:
    """How requests were served in one of the ways, and by what."""

    served: Served
    server: Server

    @property
    def read(self) -> int:
        """Return the tokens of prompts that were read."""
        return sum(one.work.prompt for one in self.served.passes)

    @property
    def evicted(self) -> int:
        """Return the blocks that the tree gave back because the memory was full."""
        return self.server.tree.evicted if self.server.tree else 0

    @property
    def first_token(self) -> float:
        """Return the median seconds to a first token, where requests were served one at a time."""
        jobs = self.served.jobs
        begun = [0.0, *(job.times[-1] for job in jobs[:-1])]
        return statistics.median(job.times[0] - at for job, at in zip(jobs, begun, strict=True))


Round = Mapping[str, Way]


def run(parameters: PrefixParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    p = parameters
    report.precision = "float32"
    with report.stage("training the model", 0.15):
        traces = prepared(p, setup, report).traces()
    rounds: dict[Hashable, list[Round]] = {key: [] for key in traces}
    firsts = list[Round]()
    with report.stage("serving", 0.85) as stage:
        for done in range(p.rounds):
            stage.at(done / p.rounds, f"round {done + 1}")
            for key, trace in traces.items():
                trace.served(trace.requests[:1], 1)  # what only the first time takes is not counted
                rounds[key].append(trace.served(trace.requests, len(trace.requests)))
            some = traces[p.shared].requests[:BY_THEMSELVES]
            firsts.append(traces[p.shared].served(some, 1, FIRST))
    report_traces(p, traces, rounds, report)
    for variant in FIRST:
        taken = [one[variant].first_token for one in firsts]
        report.measure_time("time to first token", variant, taken)
    return verdict(traces, rounds, firsts)


def prepared(p: PrefixParameters, setup: Setup, report: Report) -> "Asking":
    """Return what makes requests for a model that was trained."""
    size = small_model.Size(p.width, p.layers, p.steps)
    return Asking(p, *small_model.trained_here(size, setup, report), setup)


@dataclass(frozen=True)
class Asking:
    """Makes requests of pieces of text that the model was not trained on."""

    p: PrefixParameters
    corpus: Corpus
    trained: Trained
    setup: Setup

    def traces(self) -> dict[Hashable, Trace]:
        """Return the traces by their name or share in common, the one asked for first."""
        p = self.p
        others = [share for share in OTHER_SHARES[: p.shares] if share != p.shared]
        found: dict[Hashable, Trace] = {
            share: self.examples(share, p.tasks) for share in (p.shared, *others)
        }
        return found | {MANY: self.examples(p.shared, MORE * p.tasks), CHATS: self.chats()}

    def examples(self, share: float, tasks: int) -> Trace:
        """Return requests that have this share of their prompt in common with those of a task."""
        p, common = self.p, int(self.p.prompt * share)
        pieces = self._pieces(tasks + p.requests, p.prompt)
        generator = torch.Generator().manual_seed(self.setup.seed)
        tokens = lengths(p.requests, 1, p.longest_answer, "uniform", generator)
        drawn = torch.randint(tasks, (p.requests,), generator=generator).tolist()
        requests = [
            Turn(torch.cat((pieces[task][:common], own[common:])), count)
            for task, own, count in zip(drawn, pieces[tasks:], tokens, strict=True)
        ]
        return Trace(self.trained.model, requests, p)

    def chats(self) -> Trace:
        """Return the turns of chats, each of which begins with all that was said before."""
        p, model = self.p, self.trained.model
        pieces = self._pieces(p.turns * p.chats, p.prompt // MESSAGE)
        requests = list[Turn]()
        for number, message in enumerate(pieces):
            before = requests[number - p.chats] if number >= p.chats else None
            said = _whole(model, before) if before else message[:0]
            requests.append(Turn(torch.cat((said, message)), p.prompt // REPLY, after=before))
        return Trace(model, requests, p)

    def _pieces(self, count: int, length: int) -> list[Tensor]:
        found = small_model.prompts(
            self.corpus, self.trained.tokenizer, [length] * count, self.setup.seed
        )
        return [piece.to(self.setup.device) for piece in found]


def _whole(model: LanguageModel, turn: Turn) -> Tensor:
    """Return a turn's prompt and its answer."""
    return torch.cat((turn.prompt, turn.prompt.new_tensor(answer(model, turn))))


def report_traces(
    p: PrefixParameters,
    traces: Mapping[Hashable, Trace],
    rounds: Mapping[Hashable, Sequence[Round]],
    report: Report,
) -> None:
    """Report how all traces were served in each of the ways."""
    for key, trace in traces.items():
        settings = {"trace" if key in (MANY, CHATS) else "shared": key}
        for variant in VARIANTS:
            own = {} if key == p.shared else settings
            report_way(trace, variant, rounds[key], report, own)
            if isinstance(key, float) and variant != NONE:
                speed = statistics.median(speed_ups(rounds[key], variant))
                report.point("speed-up by share in common", variant, key, speed)


def report_way(
    trace: Trace,
    variant: str,
    rounds: Sequence[Round],
    report: Report,
    settings: Mapping[str, object],
) -> None:
    """Report how one trace was served in one of the ways."""
    several = [one[variant] for one in rounds]
    first = several[0]
    same = min(same_share(way.served, trace.alone) for way in several)
    report.measure("same tokens", variant, same, **settings)
    report.measure("tokens read", variant, first.server.tokens_read, **settings)
    at_once = statistics.mean(one.work.jobs for one in first.served.passes)
    report.measure("requests at once", variant, at_once, **settings)
    rates = [len(trace.requests) / way.served.seconds for way in several]
    report.measure("requests per second", variant, rates, **settings)
    if variant != NONE:
        report.measure("in common", variant, trace.common_percent, **settings)
        report.measure("reused", variant, reused_percent(trace, first), **settings)
        report.measure("evicted", variant, first.evicted, **settings)
        report.measure("speed-up", variant, speed_ups(rounds, variant), **settings)


def reused_percent(trace: Trace, way: Way) -> float:
    """Return how many tokens of all prompts were not read again, in percent."""
    return 100 * (1 - way.read / trace.prompt_tokens)


def speed_ups(rounds: Sequence[Round], variant: str) -> list[float]:
    """Return by round the time without a tree divided by the variant's."""
    return [one[NONE].served.seconds / one[variant].served.seconds for one in rounds]


def verdict(
    traces: Mapping[Hashable, Trace],
    rounds: Mapping[Hashable, Sequence[Round]],
    firsts: Sequence[Round],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    asked, *_ = traces
    trace = traces[asked]
    same = min(same_share(one[TREE].served, trace.alone) for one in rounds[asked])
    speed, chat = (statistics.median(speed_ups(rounds[key], TREE)) for key in (asked, CHATS))
    reused = reused_percent(trace, rounds[asked][0][TREE])
    came, aware = (reused_percent(traces[MANY], rounds[MANY][0][way]) for way in (TREE, AWARE))
    without, first = (
        MS * statistics.median(one[name].first_token for one in firsts) for name in FIRST
    )
    return (
        f"{same_tokens(same)} as alone."
        f" Where {trace.common_percent:.0f} % of all prompts are in common, a tree"
        f" spares reading {reused:.0f} % of all prompts and serves {speed:.2f} x as many requests a"
        f" second, turns of chats {chat:.2f} x; alone, a first token comes after {first:.1f} ms,"
        f" not {without:.1f}. With {MORE} times as many tasks it spares {came:.0f} %, and"
        f" {aware:.0f} % where the longest prefix comes first."
    )
