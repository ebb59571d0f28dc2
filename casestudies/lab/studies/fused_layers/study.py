"""Trains in every way, counts what each part launches, moves and keeps, and times it."""

import copy
import statistics
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.equations.activations import selective_activation_bytes
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.fused_layers import optimizers
from casestudies.lab.studies.fused_layers.about import (
    CRITERION,
    FEED,
    KEPT,
    LAUNCHED,
    MOVED,
    NORM,
    OPTIMIZER,
    RESIDUAL,
    WHOLE,
    FusedLayersParameters,
)
from casestudies.lab.studies.fused_layers.claimed import Claimed
from casestudies.lab.studies.fused_layers.compiled import (
    NotCompiled,
    bytes_of_kernels,
    compiled,
    compiling,
)
from casestudies.lab.studies.fused_layers.counting import Count, counted
from casestudies.lab.studies.fused_layers.layers import BY_HAND, OP_BY_OP, PYTORCH, Way
from casestudies.lab.studies.fused_layers.model import Seen, Shape, Transformer, layer
from casestudies.lab.studies.fused_layers.optimizers import Make, Optimizer, Row
from casestudies.lab.train import loop

BASE, REFERENCE, COMPILED = "PyTorch", "op by op", "compiled"
TRAINED = "trained on text"
EVALUATED = 32  # windows
MIB = 2**20

Work = Callable[[], object]
Call = Callable[[Way], Tensor]


class Training(NamedTuple):
    """A way to compute, and the optimizer that goes with it."""

    way: Way
    make: Make


TRAININGS = {
    REFERENCE: Training(OP_BY_OP, optimizers.one_by_one),
    BASE: Training(PYTORCH, optimizers.fused),
    "by hand": Training(BY_HAND, Row),
}
OPTIMIZERS = {
    REFERENCE: optimizers.one_by_one,
    "foreach": optimizers.foreach,
    BASE: optimizers.fused,
    "by hand": Row,
}


def run(parameters: FusedLayersParameters, setup: Setup, report: Report) -> str:
    """Train, count and time; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "float32"
    with ExitStack() as stack:
        bench = Bench(parameters, setup, report)
        if parameters.compile:
            with report.stage("compiling", 0.4):
                bench.compile(stack)
        with report.stage("training in every way", 0.3) as stage:
            bench.train(stage)
        with report.stage("counting", 0.05):
            found = bench.count()
        with report.stage("timing parts and steps", 0.25) as stage:
            times, speeds = bench.time(stage)
        bench.predict(found, times)
        if parameters.claimed_shapes and setup.device == "cuda":  # pragma: no cover - needs a GPU
            with report.stage("training the claims’ shapes", 1):
                bench.train_claimed()
    return verdict(found, speeds)


@dataclass(frozen=True)
class Found:
    """What was counted of a part in one way; bytes kept are none where nothing is."""

    count: Count
    kept: int


Counts = Mapping[tuple[str, str], Found]  # by variant and part
Times = Mapping[tuple[str, str], float]


class Bench:
    """The text, a model, and the ways to train it."""

    def __init__(self, parameters: FusedLayersParameters, setup: Setup, report: Report) -> None:
        p = self.parameters = parameters
        self.setup, self.report = setup, report
        corpus = text.corpus(setup.text)
        report.source("text", corpus.name, corpus.sha256)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, p.vocabulary)
        self._training = text.windows(corpus.calibration, tokenizer, p.window + 1).to(setup.device)
        kept_apart = text.windows(corpus.evaluation, tokenizer, p.window + 1)
        count = min(EVALUATED, len(kept_apart))
        self._evaluation = text.spaced(kept_apart, count).to(setup.device)
        generator = torch.Generator().manual_seed(setup.seed)
        shape = Shape(p.vocabulary, p.width, p.layers, p.window)
        self._start = Transformer(shape, generator).to(setup.device)
        self._batch = self._training[: p.batch]
        self._generator = torch.Generator(setup.device).manual_seed(setup.seed)
        self._masks = self._start.masks(self._batch, self._generator)
        self._of_kernels: dict[str, int] = {}
        self.trainings = dict(TRAININGS)
        self.parts = self._parts()

    def compile(self, stack: ExitStack) -> None:
        """Add what PyTorch's compiler makes of each part, or say why there is none."""
        try:
            stack.enter_context(compiling(self.setup.device))
            way = compiled()
            for part, (call, inputs) in self.parts.items():
                self._of_kernels[part] = bytes_of_kernels(partial(first_use, call, way, inputs))
            self.trainings[COMPILED] = Training(way, Row)
        except NotCompiled as error:
            self.report.log(f"No variant “{COMPILED}”: {error}")

    def train_claimed(self) -> None:  # pragma: no cover - needs a GPU
        """Train the claims' shapes, or say why not."""
        try:
            Claimed(self.parameters.rounds, self.setup, self.report).train()
        except NotCompiled as error:
            self.report.log(f"The claims’ shapes are left out: {error}")

    def train(self, stage: Stage) -> None:
        """Report how each way ends, and how far it is from op by op."""
        exact = self._first_gradient(self._start, OP_BY_OP, double=True)
        weights: list[Tensor] = []
        for done, (variant, (way, make)) in enumerate(self.trainings.items()):
            stage.at(done / len(self.trainings), variant)
            error = max(
                ((own - other).abs().max() / other.abs().max()).item()
                for own, other in zip(self._first_gradient(self._start, way), exact, strict=True)
            )
            self.report.measure("gradient error", variant, error)
            model = copy.deepcopy(self._start)
            self._trained(model, way, make(model.parameters()))
            found = [weight.detach() for weight in model.parameters()]
            weights = weights or found
            apart = length(found, weights) / length(weights, self._start.parameters())
            self.report.measure("equality error", variant, apart)
            self.report.measure("loss", variant, self._loss(model))
        self.report.measure("weights apart", "by hand", self._weights_apart())

    def count(self) -> Counts:
        """Report and return what each part and the whole step launch, move and keep."""
        found: dict[tuple[str, str], Found] = {}
        for variant, (way, make) in self.trainings.items():
            for part, (call, inputs) in self.parts.items():
                count = counted(both_ways(call, way, inputs))
                kernels = self._of_kernels[part] if variant == COMPILED else 0
                kept = kept_bytes(call, way, inputs)
                found[variant, part] = Found(Count(count.operators, count.bytes + kernels), kept)
            found[variant, WHOLE] = self._of_step(variant, way, make)
            self._beyond_the_formula(variant, way)
        gradients = self._first_gradient(self._start, PYTORCH)
        for variant, make in OPTIMIZERS.items():
            step = self._optimizing(make, gradients)
            step()  # the first makes the state
            found[variant, OPTIMIZER] = Found(counted(step), 0)
        for (variant, part), one in found.items():
            operators = one.count.operators
            settings = of_part(part)
            self.report.measure("operators launched", variant, operators, **settings)
            self.report.measure("bytes moved", variant, one.count.bytes / MIB, **settings)
            if part != OPTIMIZER:
                self.report.measure("kept for backward", variant, one.kept / MIB, **settings)
        return found

    def time(self, stage: Stage) -> tuple[Times, Times]:
        """Report and return seconds, and speed-ups, of each part and of the whole step."""
        works: dict[str, dict[str, Work]] = {
            part: {
                variant: both_ways(call, way, inputs)
                for variant, (way, _) in self.trainings.items()
            }
            for part, (call, inputs) in self.parts.items()
        }
        gradients = self._first_gradient(self._start, PYTORCH)
        works[OPTIMIZER] = {
            variant: self._optimizing(make, gradients) for variant, make in OPTIMIZERS.items()
        }
        works[WHOLE] = {
            variant: self._stepping(way, make) for variant, (way, make) in self.trainings.items()
        }
        times: dict[tuple[str, str], float] = {}
        speeds: dict[tuple[str, str], float] = {}
        for done, (part, runs) in enumerate(works.items()):
            stage.at(done / len(works), part)
            taken = alternately(runs, self.parameters.rounds, self.setup.device)
            for variant, each in taken.items():
                milliseconds = [1000 * t for t in each]
                self.report.measure("step time", variant, milliseconds, **of_part(part))
                times[variant, part] = statistics.median(each)
                if part == WHOLE:
                    tokens = self._batch[:, 1:].numel()
                    rates = [tokens / t for t in each]
                    settings = {"model": TRAINED, "batch": len(self._batch)}
                    self.report.measure("tokens per second", variant, rates, **settings)
            for variant, faster in ratios(taken, to=BASE).items():
                self.report.measure("speed-up", variant, faster, **of_part(part))
                speeds[variant, part] = statistics.median(faster)
        return times, speeds

    def predict(self, found: Counts, times: Times) -> None:
        """Report how far ratios of what was counted are from the ratios of the parts' times."""
        predictors: dict[str, Callable[[Found], int]] = {
            LAUNCHED: lambda one: one.count.operators,
            MOVED: lambda one: one.count.bytes,
            KEPT: lambda one: one.kept,
        }
        for variant in self.trainings:
            if variant == BASE:
                continue
            for name, of in predictors.items():
                errors = [
                    100 * abs(of(found[variant, part]) / of(found[BASE, part]) / slower - 1)
                    for part in self.parts
                    for slower in [times[variant, part] / times[BASE, part]]
                ]
                self.report.measure("prediction error", variant, errors, predictor=name)

    def _parts(self) -> dict[str, tuple[Call, list[Tensor]]]:
        """Return by part what computes it, and all tensors that take a gradient in it."""
        x = torch.randn(len(self._batch), self.parameters.window, self.parameters.width)  # B, T, C
        first = [weight.detach().clone() for weight in self._start.decoder[0]]  # type: ignore
        head = self._start.head.detach().clone()
        targets = self._batch[:, 1:].flatten()
        x = x.to(self.setup.device)
        y = x.roll(1, 0)
        for one in (x, y, head, *first):
            one.requires_grad_()
        norm, out, mlp = first[:2], first[4:6], first[8:]
        mask = self._masks[0].clone()

        def criterion(way: Way) -> Tensor:
            return way.loss(x.flatten(0, 1), head, targets)

        return {
            NORM: (lambda way: way.norm(x, *norm), [x, *norm]),
            RESIDUAL: (lambda way: way.residual(y, out[0], out[1], x, mask), [x, y, *out]),
            FEED: (
                lambda way: way.feed(y, mlp, x, mask),
                [x, y, *mlp],
            ),
            CRITERION: (criterion, [x, head]),
        }

    def _trained(self, model: Transformer, way: Way, optimizer: Optimizer) -> None:
        """Train with batches and masks that are the same for every way."""
        generator = torch.Generator().manual_seed(self.setup.seed)
        dropping = torch.Generator(self.setup.device).manual_seed(self.setup.seed)
        batches = loop.drawn(self._training, generator, self.parameters.batch)
        for _, batch in zip(range(self.parameters.steps), batches, strict=False):
            step(model, way, optimizer, batch, model.masks(batch, dropping))

    @torch.no_grad()
    def _loss(self, model: Transformer) -> float:
        return model(self._evaluation, OP_BY_OP).item()

    def _first_gradient(
        self, model: Transformer, way: Way, *, double: bool = False
    ) -> list[Tensor]:
        if double:
            model = copy.deepcopy(model).double()
        loss = model(self._batch, way, self._masks)
        return [one.float() for one in torch.autograd.grad(loss, list(model.parameters()))]

    def _weights_apart(self) -> int:
        """Return the weights in which AdamW over one row differs from AdamW over each weight."""
        models = [copy.deepcopy(self._start) for _ in range(2)]
        pair = Row(models[0].parameters()), optimizers.fused(models[1].parameters())
        first = self._first_gradient(self._start, PYTORCH)
        for number in range(self.parameters.steps):
            gradients = [one * (1 + number) for one in first]
            for optimizer in pair:
                optimizer.step(gradients)
        both = zip(models[0].parameters(), models[1].parameters(), strict=True)
        return sum(int((own != other).sum()) for own, other in both)

    def _optimizing(self, make: Make, gradients: list[Tensor]) -> Work:
        optimizer = make(copy.deepcopy(self._start).parameters())
        return lambda: optimizer.step(gradients)

    def _stepping(self, way: Way, make: Make) -> Work:
        model = copy.deepcopy(self._start)
        optimizer = make(model.parameters())

        def whole() -> None:
            masks = model.masks(self._batch, self._generator)
            step(model, way, optimizer, self._batch, masks)

        return whole

    def _of_step(self, variant: str, way: Way, make: Make) -> Found:
        work = self._stepping(way, make)
        work()
        count = counted(work)
        if variant == COMPILED:
            layers = self.parameters.layers
            calls = {NORM: 2 * layers + 1, RESIDUAL: layers, FEED: layers, CRITERION: 1}
            kernels = sum(times * self._of_kernels[part] for part, times in calls.items())
            count = Count(count.operators, count.bytes + kernels)
        saved = SavedBytes()
        saved.leave_out(self._start.parameters())
        with saved.counting():
            loss = self._start(self._batch, way, self._masks)
        kept = saved.bytes
        del loss
        return Found(count, kept)

    def _beyond_the_formula(self, variant: str, way: Way) -> None:
        x = self._start.embedding[self._batch[:, 1:]].detach().requires_grad_()
        weights = list(self._start.decoder[0])  # type: ignore
        beyond = beyond_the_formula(way, x, weights, self._masks[:2])
        self.report.measure("kept beyond the formula", variant, beyond)


def of_part(part: str) -> dict[str, str]:
    """Return the settings under which a part is reported; the whole step has none."""
    return {} if part == WHOLE else {"part": part}


def step(model: Transformer, way: Way, optimizer: Optimizer, batch: Tensor, masks: Tensor) -> None:
    """Change the model once by the loss of a batch (B, T + 1)."""
    loss = model(batch, way, masks)
    optimizer.step(torch.autograd.grad(loss, list(model.parameters())))


def both_ways(call: Call, way: Way, inputs: Iterable[Tensor]) -> Callable[[], tuple[Tensor, ...]]:
    """Return what computes a part and all its gradients, with ones where a loss would be."""
    wanted = list(inputs)
    found = call(way)
    ones = torch.ones_like(found)
    return lambda: torch.autograd.grad(call(way), wanted, ones)


@torch.no_grad()
def length(end: Iterable[Tensor], begin: Iterable[Tensor]) -> float:
    """Return the Euclidean length of the way from some tensors to others."""
    ways = [torch.linalg.vector_norm(b - a) for a, b in zip(begin, end, strict=True)]
    return torch.linalg.vector_norm(torch.stack(ways)).item()


def first_use(call: Call, way: Way, inputs: Iterable[Tensor]) -> None:
    """Compute a part and its gradients once, the first time that it is asked for."""
    both_ways(call, way, inputs)()


def kept_bytes(call: Call, way: Way, inputs: Iterable[Tensor]) -> int:
    """Return what autograd keeps of a part, its input too, its weights left out."""
    saved = SavedBytes()
    saved.leave_out(one for one in inputs if one.dim() < 3)
    with saved.counting():
        found = call(way)
    kept = saved.bytes
    del found
    return kept


def beyond_the_formula(way: Way, x: Tensor, weights: list[Tensor], masks: Tensor) -> float:
    """Return the bytes a token that a layer keeps of x (B, T, C), beyond 34sbh in 16 bits.

    Of the 34, two are masks of a byte; the other 32 are numbers of 16 bits.
    """
    batch, tokens, width = x.shape
    sixteen = selective_activation_bytes(tokens=tokens, batch=batch, hidden=width, tensor_ranks=1)
    of_masks = 2 * x.numel()
    formula = (sixteen - of_masks) * x.itemsize / 2 + of_masks
    saved = SavedBytes()
    saved.leave_out(weights)
    with saved.counting():
        output = layer(way, Seen(), x, weights, [mask.clone() for mask in masks])
    kept = saved.bytes
    del output
    return (kept - formula) / (batch * tokens)


def verdict(found: Counts, speeds: Times) -> str:
    """Return a few sentences made of the run's own numbers."""
    said = []
    for variant in dict.fromkeys(variant for variant, part in speeds if part == WHOLE):
        parts = {part: faster for (own, part), faster in speeds.items() if own == variant}
        whole = parts.pop(WHOLE)
        best, worst = max(parts, key=lambda p: parts[p]), min(parts, key=lambda p: parts[p])
        kept = found[variant, WHOLE].kept / found[BASE, WHOLE].kept
        said.append(
            f"{variant} {whole:.2f} x ({best} {parts[best]:.2f} x, {worst} {parts[worst]:.2f} x), "
            f"keeping {kept:.2f} times the bytes"
        )
    operators = found[BASE, WHOLE].count.operators
    return (
        f"Against PyTorch’s own functions, which launch {operators} operators, a step’s speed is: "
        + "; ".join(said)
        + "."
    )
