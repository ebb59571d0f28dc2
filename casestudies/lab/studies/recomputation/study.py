"""Trains and measures with activations kept, and with them computed again."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.equations import activations
from casestudies.lab.measure.rounds import alternately, lengths
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models.gpt import Dropout, Gpt, Way, embedded, none
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.recomputation.about import (
    HEAD_WIDTH,
    SHORTEST,
    RecomputationParameters,
)
from casestudies.lab.studies.recomputation.recomputed import WAYS
from casestudies.lab.train import loop

VOCABULARY = 1024
DROPOUT = 0.1
WINDOW, BATCH = 128, 8  # of training
EVALUATED = 32  # windows
WIDE_LAYERS = 2
TRAINED = ("none", "selective", "full")
EXACT = ("selective", "full", "full, PyTorch", "full, other dropout")
TIMED = ("none", "selective", "full", "full, PyTorch", "fused attention")
COUNTED = ("none", "selective", "full", "fused attention")  # PyTorch's own hides what it keeps
MIB, KIB, GIGA = 2**20, 2**10, 1e9


def run(parameters: RecomputationParameters, setup: Setup, report: Report) -> str:
    """Train and measure; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "float32" if setup.device == "cpu" else "bfloat16 with float32 weights"
    report.precision += "; what a layer keeps is counted in bfloat16"
    # PyTorch's checkpoint restores the device's default generator and no other.
    with torch.random.fork_rng():
        bench = Bench(parameters, setup, report)
        with report.stage("training three times", 0.35) as stage:
            model, losses = bench.train(stage)
        with report.stage("comparing gradients", 0.05):
            bench.compare(model)
        with report.stage("measuring a step as sequences grow", 0.4) as stage:
            costs = bench.as_sequences_grow(model, stage)
        with report.stage("timing a step of a wide model", 0.2):
            wide = bench.wide()
    return verdict(losses, costs, wide)


@dataclass(frozen=True)
class Cost:
    """What a layer keeps, in KiB a token by variant, and the time that each adds, in percent."""

    length: int
    width: int
    kept: dict[str, float]
    added: dict[str, float]


class Bench:
    """The text, the generator of all dropout, and what is measured with them."""

    def __init__(self, parameters: RecomputationParameters, setup: Setup, report: Report) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        corpus = text.corpus(setup.text)
        report.source("text", corpus.name, corpus.sha256)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
        self._training = text.windows(corpus.calibration, tokenizer, WINDOW).to(setup.device)
        kept_apart = text.windows(corpus.evaluation, tokenizer, WINDOW)
        self._evaluation = text.spaced(kept_apart, EVALUATED).to(setup.device)
        stream = text.windows(corpus.calibration, tokenizer, 1).flatten()
        self._stream = stream.to(setup.device)
        on_gpu = setup.device == "cuda"
        # Many processors emulate products of 16 bits, and those times say nothing of a method.
        self._dtype = torch.bfloat16 if on_gpu else torch.float32
        self._random = torch.cuda.default_generators[0] if on_gpu else torch.default_generator
        self._dropout = Dropout(DROPOUT, self._random)

    def train(self, stage: Stage) -> tuple[Gpt, dict[str, float]]:
        """Report how training ends each way; return the model and the losses by variant."""
        trained: dict[str, Gpt] = {}
        losses: dict[str, float] = {}
        for done, variant in enumerate(TRAINED):
            stage.at(done / len(TRAINED), variant)
            trained[variant] = model = self._trained(WAYS[variant])
            losses[variant] = self._loss_kept_apart(model)
            self.report.measure("loss", variant, losses[variant])
            apart = max(
                (own - kept).abs().max().item()
                for own, kept in zip(model.parameters(), trained["none"].parameters(), strict=True)
            )
            self.report.measure("equality error", variant, apart)
        return trained["none"], losses

    def compare(self, model: Gpt) -> None:
        """Report how far each way's gradient of the trained model is from that of all kept."""
        batch = self._training[:BATCH]
        gradients = {variant: self._gradient(model, WAYS[variant], batch) for variant in WAYS}
        exact = gradients["none"]
        for variant in EXACT:
            apart = (gradients[variant] - exact).abs().max() / exact.abs().max()
            self.report.measure("gradient error", variant, apart.item())

    def as_sequences_grow(self, model: Gpt, stage: Stage) -> Cost:
        """Report what a step of the trained model costs by length; return that of the longest."""
        p = self.parameters
        doubled = lengths(SHORTEST, min(p.longest, p.tokens), 2)
        for done, length in enumerate(doubled):
            stage.at(done / len(doubled), f"sequences of {length} tokens")
            cost = self._cost(model, length)
            for variant in TIMED[1:]:
                added = cost.added[variant]
                self.report.point("added time by length", variant, length, added)
            for variant, kept in cost.kept.items():
                self.report.point("kept by a layer by length", variant, length, kept)
        return cost

    def wide(self) -> Cost:
        """Report and return what a step costs where attention is a small part of it."""
        model = self._new(self.parameters.wide, WIDE_LAYERS, self._dtype)
        return self._cost(model, SHORTEST)

    def _new(self, width: int, layers: int, dtype: torch.dtype) -> Gpt:
        generator = torch.Generator().manual_seed(self.setup.seed)
        model = Gpt(VOCABULARY, width, layers, width // HEAD_WIDTH, generator)
        model.dtype = dtype
        return model.to(self.setup.device)

    def _trained(self, way: Way) -> Gpt:
        p = self.parameters
        model = self._new(p.width, p.layers, self._dtype)
        self._random.manual_seed(self.setup.seed)
        order = torch.Generator().manual_seed(self.setup.seed)
        loop.train(
            model.parameters(),
            lambda batch: loop.Loss(self._loss(model, way, batch)),
            loop.drawn(self._training, order, BATCH),
            loop.Schedule(p.training_steps),
            lambda step, loss: None,
        )
        return model

    def _loss(self, model: Gpt, way: Way, batch: Tensor) -> Tensor:
        return loop.token_loss(model(batch[:, :-1], way, self._dropout), batch)

    @torch.no_grad()
    def _loss_kept_apart(self, model: Gpt) -> float:
        all_stay = Dropout(0, self._random)
        logits = model(self._evaluation[:, :-1], none, all_stay)
        return loop.token_loss(logits, self._evaluation).item()

    def _gradient(self, model: Gpt, way: Way, batch: Tensor) -> Tensor:
        """Return all gradients of the batch's loss in one row, dropout the same each time."""
        self._random.manual_seed(self.setup.seed)
        weights = list(model.parameters())
        found = torch.autograd.grad(self._loss(model, way, batch), weights)
        return torch.cat([gradient.flatten() for gradient in found])

    def _cost(self, model: Gpt, length: int) -> Cost:
        """Report and return what a step on sequences of the length holds and takes."""
        at = {"length": length, "width": model.width}
        size = self.parameters.tokens // length
        batch = self._sequences(size, length + 1)
        kept = self._kept(model.width, length)
        optimizer = torch.optim.AdamW(model.parameters(), 0.0, fused=True)
        steps = {
            variant: self._step_of(model, WAYS[variant], batch, optimizer) for variant in TIMED
        }
        steps["none"]()  # the first makes Adam's state
        for variant, step in steps.items():
            with FlopCounterMode(display=False) as counter:
                held = peak_bytes(step, self.setup.device) / MIB
            self.report.measure("step memory", variant, held, **at)
            if model.width == self.parameters.width:
                self.report.point("step memory by length", variant, length, held)
            if variant != "fused attention":  # no counter knows its kernel on a CPU
                operations = counter.get_total_flops() / GIGA
                self.report.measure("operations", variant, operations, **at)
        taken = alternately(steps, self.parameters.rounds, self.setup.device)
        added: dict[str, float] = {}
        for variant, times in taken.items():
            self.report.measure_time("step time", variant, times, **at)
            more = [
                100 * (t / all_kept - 1) for t, all_kept in zip(times, taken["none"], strict=True)
            ]
            added[variant] = statistics.median(more)
            if variant != "none":
                self.report.measure("added time", variant, more, **at)
        return Cost(length, model.width, kept, added)

    def _sequences(self, size: int, length: int) -> Tensor:
        """Return as many sequences (size, length) of the training text, again from its start."""
        wanted = torch.arange(size * length, device=self._stream.device)
        return self._stream[wanted % len(self._stream)].view(size, length)

    def _kept(self, width: int, length: int) -> dict[str, float]:
        """Report and return the KiB that a layer keeps of each token in 16 bits, by variant."""
        layer = self._new(width, 1, torch.bfloat16)
        read, weights = self._sequences(1, length), layer.rounded()
        at, kept = {"length": length, "width": width}, {}
        for variant in COUNTED:
            saved = SavedBytes()
            saved.leave_out(weights[0])
            x = embedded(read, layer.embedding.bfloat16()).detach().requires_grad_()
            with saved.counting():
                kept_alive = layer.through(x, weights, WAYS[variant], self._dropout)
            layer_bytes = saved.bytes
            del kept_alive
            beyond = layer_bytes - self._formula(layer, variant, length)
            kept[variant] = layer_bytes / length / KIB
            self.report.measure("kept by a layer", variant, kept[variant], **at)
            self.report.measure("kept beyond the formula", variant, beyond / length, **at)
        return kept

    def _formula(self, model: Gpt, variant: str, length: int) -> float:
        """Return the bytes that table 2 gives for a layer and one sequence."""
        shape = {"batch": 1, "tokens": length, "hidden": model.width}
        if variant == "none":
            return activations.layer_activation_bytes(**shape, heads=model.heads)
        if variant == "full":
            return activations.full_recompute_activation_bytes(**shape)
        return activations.selective_activation_bytes(**shape, tensor_ranks=1)

    def _step_of(
        self, model: Gpt, way: Way, batch: Tensor, optimizer: torch.optim.Optimizer
    ) -> Callable[[], None]:
        """Return a training step; with a rate of zero every step begins alike."""

        def step() -> None:
            self._loss(model, way, batch).backward()
            optimizer.step()
            optimizer.zero_grad()

        return step


def verdict(losses: dict[str, float], long: Cost, wide: Cost) -> str:
    """Return a few sentences made of the run's own numbers."""
    same = len(set(losses.values())) == 1
    ended = f"{losses['none']:.3f}" if same else ", ".join(f"{n:.3f}" for n in losses.values())
    kept, added = long.kept, long.added
    return (
        f"Trained with activations kept, recomputed in part or in full, the loss is {ended}"
        f" {'in all three' if same else 'in turn'}. In sequences of {long.length:,} tokens a layer"
        f" keeps {kept['none']:.1f} KiB a token, {kept['selective']:.1f} with selective and"
        f" {kept['full']:.1f} with full recomputation, for {added['selective']:+.0f} % and"
        f" {added['full']:+.0f} % of a step’s time; in a model {wide.width:,} wide and sequences"
        f" of {wide.length} for {wide.added['selective']:+.0f} % and {wide.added['full']:+.0f} %."
        f" Fused attention keeps {kept['fused attention']:.1f} KiB for"
        f" {added['fused attention']:+.0f} %."
    )
