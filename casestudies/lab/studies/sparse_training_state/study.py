"""Trains a pruned model with dense and with stored state: the same steps, fewer bytes."""

import statistics

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.models import shapes
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.sparse_training_state import ranks
from casestudies.lab.studies.sparse_training_state.about import (
    COMPRESSED,
    DENSE,
    LINKED,
    MASKED,
    SparseTrainingStateParameters,
)
from casestudies.lab.studies.sparse_training_state.states import Training, largest_difference
from casestudies.lab.train import loop

VOCABULARY, WINDOW, EVALUATED = 1024, 64, 64
SPARSITIES = (0.0, 0.25, 0.5, 0.8, 0.9, 0.95)  # at which bytes are counted
LOOKS = 5  # points of a curve
MIB = 2**20


def run(parameters: SparseTrainingStateParameters, setup: Setup, report: Report) -> str:
    """Train and count; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "bfloat16, with float32 weights behind it"
    bench = Bench(parameters, setup, report)
    with report.stage("training three times", 0.6) as stage:
        losses = bench.train(stage)
    with report.stage("counting bytes", 0.1):
        saved = bench.count()
    with report.stage("timing a step", 0.1):
        bench.time()
    with report.stage("reducing gradients over a slow link", 0.2):
        fewer, faster = bench.on_ranks()
    p = parameters
    return (
        f"With {100 * p.sparsity:.0f} % of the weights pruned at random, state stored for the"
        f" others only takes {saved:.1f} % fewer bytes than all of it, and training ends with a"
        f" loss of {losses[COMPRESSED]:.3f}, as with zeros in dense state ({losses[MASKED]:.3f});"
        f" unpruned it ends at {losses[DENSE]:.3f}. Over an emulated link of {p.link:g} MB/s"
        f" {p.ranks} ranks send {fewer:.1f} % fewer bytes, and reducing takes"
        f" {100 - faster:.0f} % of the time."
    )


class Bench:
    """The text, and the models in training by variant."""

    def __init__(
        self, parameters: SparseTrainingStateParameters, setup: Setup, report: Report
    ) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        corpus = text.corpus(setup.text)
        report.source("text", corpus.name, corpus.sha256)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
        self._training, kept_apart = (
            text.windows(documents, tokenizer, WINDOW + 1).to(setup.device)
            for documents in (corpus.calibration, corpus.evaluation)
        )
        self._evaluation = text.spaced(kept_apart, min(EVALUATED, len(kept_apart)))
        self._start = shapes.small(
            VOCABULARY, parameters.width, parameters.layers, self._generator(), setup.device
        )
        self._ways = {
            variant: self._begin(variant, parameters.sparsity)
            for variant in (DENSE, MASKED, COMPRESSED)
        }

    def train(self, stage: Stage) -> dict[str, float]:
        """Report how each way ends, and how far stored state is from the masked."""
        p = self.parameters
        schedule = loop.Schedule(p.steps)
        losses: dict[str, float] = {}
        for done, (variant, training) in enumerate(self._ways.items()):
            stage.at(done / len(self._ways), variant)
            batches = loop.drawn(self._training, self._generator())
            for step, batch in zip(range(p.steps), batches, strict=False):
                training.step(batch, schedule.peak_rate * schedule.rate(step))
                if (step + 1) % -(-p.steps // LOOKS) == 0 or step + 1 == p.steps:
                    losses[variant] = self._loss(training)
                    self.report.point("loss by step", variant, step + 1, losses[variant])
            self.report.measure("loss", variant, losses[variant])
        apart = largest_difference(
            *(list(self._ways[variant].model.parameters()) for variant in (MASKED, COMPRESSED))
        )
        self.report.measure("equality error", COMPRESSED, apart)
        return losses

    def count(self) -> float:
        """Report bytes by sparsity; return how many percent are saved at the one trained with."""
        batch = self._training[:2]
        count = sum(weight.numel() for weight in self._start.parameters())
        dense = self._ways[DENSE].bytes(batch)
        total = sum(dense.values())
        for part, held in dense.items():
            self.report.measure("state", DENSE, held / count, part=part)
        wanted = sorted({*SPARSITIES, self.parameters.sparsity})
        for sparsity in wanted:
            stored = self._begin(COMPRESSED, sparsity).bytes(batch)
            bytes_each = sum(stored.values()) / count
            self.report.point("state by sparsity", COMPRESSED, 100 * sparsity, bytes_each)
            self.report.point("state by sparsity", DENSE, 100 * sparsity, total / count)
            saved = 100 * (1 - sum(stored.values()) / total)
            self.report.measure("state saved", COMPRESSED, saved, sparsity=sparsity)
            if sparsity == self.parameters.sparsity:
                ours = saved
                for part, held in stored.items():
                    self.report.measure("state", COMPRESSED, held / count, part=part)
        return ours

    def time(self) -> None:
        """Report the time of a step, whose rate of zero leaves the weights as they are."""
        batch = self._training[: loop.BATCH]
        steps = {name: lambda one=one: one.step(batch, 0.0) for name, one in self._ways.items()}
        taken = alternately(steps, self.parameters.rounds, self.setup.device)
        for variant, times in taken.items():
            self.report.measure_time("step time", variant, times)

    def on_ranks(self) -> tuple[float, float]:
        """Report what ranks send and how long it takes; return how many percent each is less."""
        p = self.parameters
        steps = p.rounds + 1
        windows = loop.drawn(self._training.cpu(), self._generator(), p.ranks)
        batches = torch.stack([batch for _, batch in zip(range(steps), windows, strict=False)])
        task = ranks.Task(
            VOCABULARY, p.width, p.layers, p.sparsity, self.setup.seed, p.link, batches.numpy()
        )
        found = on_ranks(p.ranks, ranks.train, task)
        at = {"link": LINKED}
        times: dict[str, list[float]] = {}
        sent: dict[str, float] = {}
        for variant in (DENSE, COMPRESSED):
            each = [one[variant] for one in found]
            sent[variant] = max(one.bytes for one in each)
            times[variant] = [
                max(several) for several in zip(*(one.reducing for one in each), strict=True)
            ]
            whole = [max(several) for several in zip(*(one.steps for one in each), strict=True)]
            self.report.measure("bytes sent", variant, sent[variant] / MIB, **at)
            self.report.measure_time("all-reduce time", variant, times[variant], **at)
            self.report.measure_time("step time", variant, whole, **at)
        fewer = 100 * (1 - sent[COMPRESSED] / sent[DENSE])
        less = [100 * (1 - a / b) for a, b in zip(times[COMPRESSED], times[DENSE], strict=True)]
        self.report.measure("bytes saved", COMPRESSED, fewer, **at)
        self.report.measure("time saved", COMPRESSED, less, **at)
        return fewer, statistics.median(less)

    def _begin(self, variant: str, sparsity: float) -> Training:
        return Training(self._start, variant, sparsity, self._generator())

    @torch.no_grad()
    def _loss(self, training: Training) -> float:
        parts: tuple[Tensor, ...] = self._evaluation.split(loop.BATCH)
        total = sum(len(part) * loop.next_token_loss(training.model, part).item() for part in parts)
        return total / len(self._evaluation)

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.setup.seed)
