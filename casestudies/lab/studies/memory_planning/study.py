"""Records a forward pass and a training step, plans their memory, and carries them out in it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean, median
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.data.text import Corpus
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import attention, files, shapes
from casestudies.lab.models.files import Pretrained
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.memory_planning import plans, stream, tape
from casestudies.lab.studies.memory_planning.about import (
    APART,
    BY_SIZE,
    BY_TIME,
    CACHING,
    CHUNKS,
    EAGER,
    FORWARD,
    FREED,
    LONGEST,
    OVER,
    TRAINING,
    MemoryPlanningParameters,
)
from casestudies.lab.studies.memory_planning.execution import Allocating, Planned
from casestudies.lab.studies.memory_planning.plans import Life, Plan
from casestudies.lab.studies.memory_planning.stream import Served
from casestudies.lab.studies.memory_planning.tape import Tape

MIB = 2**20
RECORDED = (8, 16, 24)  # tokens: sizes at three lengths give those at any other
SHORTEST, GROWTH = 32, 2
VOCABULARY, WINDOW, BATCH = 512, 64, 8  # of the training step
ATTENTION = {"definition": attention.naive, "fused": attention.stock}

Run = Callable[[], Sequence[Tensor]]


def run(parameters: MemoryPlanningParameters, setup: Setup, report: Report) -> str:
    """Plan, count, carry out and time; return the verdict. Raises ValueError if text lacks."""
    p = parameters
    report.precision = "float32"
    with report.stage("reading the model and the text", 0.15):
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
    bench = Bench(p, setup, report, pretrained)
    with report.stage("recording and planning by length", 0.15):
        bench.plan_by_length()
    with report.stage("planning for a stream of requests", 0.2):
        served = bench.plan_stream(corpus)
    with report.stage("reading texts in planned memory", 0.4) as stage:
        faster = bench.read(corpus, stage)
    with report.stage("training in planned memory", 0.1):
        bench.train(corpus)
    return verdict(served, faster, report)


class Bench:
    """The model with its recorded calls, and what is measured with them."""

    def __init__(
        self,
        parameters: MemoryPlanningParameters,
        setup: Setup,
        report: Report,
        pretrained: Pretrained,
    ) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        self.tokenizer = pretrained.tokenizer
        self.model = self._attending(pretrained.model)
        inputs = {n: torch.zeros(1, n, dtype=torch.long, device=setup.device) for n in RECORDED}
        self._tapes = {n: tape.record(self.forward(tokens)) for n, tokens in inputs.items()}

    def forward(self, tokens: Tensor) -> Run:
        """Return what gives the logits of the token that follows these (1, T)."""

        @torch.no_grad()
        def run() -> list[Tensor]:
            return [self.model.logits(self.model.hidden(tokens)[:, -1:])]

        return run

    def lives(self, length: int) -> list[Life]:
        """Return what a request of this length needs."""
        return tape.sizes_at(self._tapes, length)

    def plan_by_length(self) -> None:
        """Report how far each planner is from the bound, at lengths up to the longest."""
        for length in range(SHORTEST, self.parameters.longest + 1, SHORTEST):
            lives = self.lives(length)
            for variant, plan in self._planned(lives).items():
                over = plan.bytes / plans.most_alive(lives)
                self.report.point("over the bound by length", variant, length, over)

    def plan_stream(self, corpus: Corpus) -> Served:
        """Report what each way holds while documents drawn from the text come in turn."""
        p, report = self.parameters, self.report
        documents = [document.text for document in (*corpus.calibration, *corpus.evaluation)]
        generator = torch.Generator().manual_seed(self.setup.seed)
        drawn = torch.randint(len(documents), (p.requests,), generator=generator).tolist()
        read = self.tokenizer.encode_batch([documents[number] for number in drawn])
        found = [min(len(document.ids), p.longest) for document in read]
        served = stream.serve((self.lives(max(n, 2)) for n in found), self.lives(p.longest))
        for variant, kept in served.ways.items():
            report.measure("held", variant, mean(kept.held) / MIB)
            if variant != FREED:
                report.measure(OVER, variant, kept.over(served.ways[FREED]))
            report.measure("allocations", variant, mean(kept.asked))
            for request, held in enumerate(kept.held, 1):
                report.point("held by request", variant, request, held / MIB)
            if kept.planning:
                report.measure_time("planning time", variant, kept.planning)
        for variant, pairs in served.overlaps.items():
            report.measure("overlaps", variant, pairs)
        return served

    def read(self, corpus: Corpus, stage: Stage) -> dict[str, float]:
        """Report texts read in planned memory; return each way's speed-up at the longest."""
        p = self.parameters
        found: dict[str, float] = {}
        asked = lengths(SHORTEST, p.executed, GROWTH)
        longest = plans.by_size(self.lives(asked[-1]))
        for done, length in enumerate(asked):
            stage.at(done / len(asked), f"{length} tokens")
            windows = text.windows(corpus.evaluation, self.tokenizer, length)
            tokens = text.sample(windows, 1, self.setup.seed).to(self.setup.device)
            computed = self.forward(tokens)
            recorded = tape.record(computed)
            if recorded.lives != self.lives(length):
                raise AssertionError(f"sizes at {length} tokens are not what shorter texts say")
            found = self._carry_out(computed, recorded, longest, work=FORWARD, length=length)
            for variant, faster in found.items():
                self.report.point("speed-up by length", variant, length, faster)
        return found

    def train(self, corpus: Corpus) -> None:
        """Report a training step of a small model in planned memory, with all its gradients."""
        p, device = self.parameters, self.setup.device
        generator = torch.Generator().manual_seed(self.setup.seed)
        model = shapes.small(VOCABULARY, p.width, p.layers, generator, device)
        self._attending(model)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
        windows = text.windows(corpus.calibration, tokenizer, WINDOW + 1)
        step = training_step(model, text.sample(windows, BATCH, self.setup.seed).to(device))
        recorded = tape.record(step)
        once = plans.by_size(recorded.lives)
        self._carry_out(step, recorded, once, work=TRAINING, length=WINDOW)

    def _carry_out(
        self, computed: Run, recorded: Tape, once: Plan, *, work: str, length: int
    ) -> dict[str, float]:
        """Report one computation in the memory of each plan; return the speed-up of each way."""
        report, lives = self.report, recorded.lives
        settings = {"work": work, "length": length}
        planned = {APART: plans.apart(lives), **self._planned(lives), LONGEST: once}
        least = plans.most_alive(lives)
        for variant, plan in planned.items():
            report.measure("memory", variant, plan.bytes / MIB, **settings)
            report.measure("overlaps", variant, plans.overlaps(lives, plan), **settings)
        report.measure("memory", FREED, least / MIB, **settings)
        most = peak_bytes(computed, self.setup.device)
        report.measure("memory", EAGER, most / MIB, **settings)
        expected = [result.clone() for result in computed()]
        runs: dict[str, Run] = {EAGER: computed, FREED: (freed := Allocating(recorded)).run}
        error = largest_difference(freed.run(), expected)
        report.measure("equality error", FREED, error, **settings)
        for variant in (BY_SIZE, LONGEST, CHUNKS):
            memory = [self._bytes(size) for size in planned[variant].chunks]
            placed = Planned(recorded, planned[variant], memory)
            placed.forget()
            error = largest_difference(placed.run(), expected)
            report.measure("equality error", variant, error, **settings)
            meanwhile = peak_bytes(placed.run, self.setup.device) / MIB
            report.measure("allocated meanwhile", variant, meanwhile, **settings)
            if variant != LONGEST:
                runs[variant] = placed.run
        taken = alternately(runs, self.parameters.rounds, self.setup.device)
        for variant, times in taken.items():
            report.measure_time("step time", variant, times, **settings)
        speed = ratios(taken, to=EAGER)
        for variant, faster in speed.items():
            report.measure("speed-up", variant, faster, **settings)
        return {variant: median(faster) for variant, faster in speed.items()}

    def _planned(self, lives: Sequence[Life]) -> Mapping[str, Plan]:
        return {
            BY_TIME: plans.by_time(lives),
            BY_SIZE: plans.by_size(lives),
            CHUNKS: plans.in_chunks(lives),
        }

    def _attending(self, model: LanguageModel) -> LanguageModel:
        for block in cast(Iterable[Block], model.blocks):
            block.attention = ATTENTION[self.parameters.attention]
        return model

    def _bytes(self, size: int) -> Tensor:
        return torch.empty(size, dtype=torch.uint8, device=self.setup.device)


def training_step(model: LanguageModel, windows: Tensor) -> Run:
    """Return what gives the loss of windows (B, T + 1) and its gradients, in the weights' order."""
    weights = list(model.parameters())

    def run() -> list[Tensor]:
        logits = model(windows[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        return [loss.detach(), *torch.autograd.grad(loss, weights)]

    return run


def largest_difference(found: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference of two numbers; NaN where one is none."""
    pairs = zip(found, expected, strict=True)
    return torch.stack([(one - other).abs().max() for one, other in pairs]).max().item()


def verdict(served: Served, faster: Mapping[str, float], report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    errors = [m.value for m in report.measurements if m.metric == "equality error"]
    overlapping = sum(m.value for m in report.measurements if m.metric == "overlaps")
    same = "bit for bit" if not any(errors) else f"but for {max(errors):.0e}"
    worst = max(over for _, over in report.curve("over the bound by length", BY_SIZE))
    over = {variant: kept.over(served.ways[FREED]) for variant, kept in served.ways.items()}
    planning = 1000 * median(served.ways[BY_SIZE].planning)
    return (
        f"In one buffer the model and a training step give PyTorch’s numbers {same}, and"
        f" {overlapping:.0f} pairs of tensors share what both need. Over the stream memory held is,"
        f" beside the most alive, {over[BY_SIZE]:.2f} x planned by size for each request,"
        f" {over[CHUNKS]:.2f} x in chunks, {over[LONGEST]:.2f} x in one plan for the longest, and"
        f" {over[CACHING]:.2f} x by the caching allocator’s rules; by size is at worst"
        f" {worst:.2f} x. A plan takes {planning:.1f} ms, and the longest text is read"
        f" {faster[BY_SIZE]:.2f} x as fast as by PyTorch as it is, where the recorded calls alone"
        f" give {faster[FREED]:.2f} x."
    )
