"""Trains in every way, counts what each part launches, moves and keeps, and times it."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.equations.activations import selective_activation_bytes
from casestudies.lab.measure.rounds import alternately, ratios, seconds
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.fused_layers import optimizers
from casestudies.lab.studies.fused_layers.about import (
    CRITERION,
    FEED,
    NORM,
    OPTIMIZER,
    RESIDUAL,
    WHOLE,
    FusedLayersParameters,
)
from casestudies.lab.studies.fused_layers.claimed import Claimed
from casestudies.lab.studies.fused_layers.compiled import (
    NotCompiled,
    check_compiler,
    compiled,
    compiling,
)
from casestudies.lab.studies.fused_layers.counting import counted
from casestudies.lab.studies.fused_layers.layers import BY_HAND, OP_BY_OP, PYTORCH, Way
from casestudies.lab.studies.fused_layers.model import Seen, Shape, Transformer, layer
from casestudies.lab.studies.fused_layers.optimizers import Make, Optimizer, Row
from casestudies.lab.train import loop

REFERENCE, BASE, HAND, COMPILED = "op by op", "PyTorch", "by hand", "compiled"
COMPILED_PARTS = NORM, RESIDUAL, CRITERION
TRAINED = "trained on text"
EVALUATED = 32  # windows
LONG_ENOUGH = 0.02  # seconds, to be told from what else a machine does
MIB = 2**20

Work = Callable[[], object]


class Training(NamedTuple):
    """A way to compute, and the optimizer that goes with it."""

    way: Way
    make: Make


TRAININGS = {
    REFERENCE: Training(OP_BY_OP, optimizers.one_by_one),
    BASE: Training(PYTORCH, optimizers.fused),
    HAND: Training(BY_HAND, Row),
}


class Part(NamedTuple):
    """A differentiable piece of a step: what computes it, and all that takes a gradient in it."""

    call: Callable[[Way], Tensor]
    inputs: Sequence[Tensor]


def run(parameters: FusedLayersParameters, setup: Setup, report: Report) -> str:
    """Train, count and time; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "float32"
    with compiling():
        bench = Bench(parameters, setup, report)
        with report.stage("compiling", 0.3):
            if parameters.compile:
                bench.compile()
        with report.stage("training in every way", 0.4) as stage:
            bench.train(stage)
        with report.stage("counting", 0.05):
            bench.hold_against_op_by_op()
            bench.count()
        with report.stage("timing parts and steps", 0.25) as stage:
            bench.time(stage)
        if parameters.claimed_shapes and setup.device == "cuda":  # pragma: no cover - needs a GPU
            with report.stage("training the claims’ shapes", 1):
                bench.train_claimed()
    return verdict(report)


class Bench:
    """The text, a model, its parts, and the ways to compute them."""

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
        self._batch = self._training[: p.batch].clone()  # apart, as its storage is counted
        dropping = torch.Generator(setup.device).manual_seed(setup.seed)
        self._masks = self._start.masks(self._batch, dropping)
        self._parts = self._made_parts()
        ways = {variant: way for variant, (way, _) in TRAININGS.items()}
        self._ways = {part: dict(ways) for part in self._parts}

    def compile(self) -> None:
        """Add what PyTorch's compiler makes of the parts but the MLP, or say why there is none."""
        own = PYTORCH
        way = Way(
            own.linear, compiled(own.norm), compiled(own.residual), own.feed, compiled(own.loss)
        )
        try:
            check_compiler()
            for part in COMPILED_PARTS:
                both_ways(self._parts[part], way)()
        except RuntimeError as error:  # NotCompiled, or what the compiler raises
            reason = str(error).strip().splitlines()[0]
            self.report.log(f"No variant “{COMPILED}”: {reason}")
            return
        for part in COMPILED_PARTS:
            self._ways[part][COMPILED] = way

    def train_claimed(self) -> None:  # pragma: no cover - needs a GPU
        """Train the claims' shapes, or say why not."""
        try:
            Claimed(self.parameters.rounds, self.setup, self.report).train()
        except NotCompiled as error:
            self.report.log(f"The claims’ shapes are left out: {error}")

    def train(self, stage: Stage) -> None:
        """Report how each way ends; batches and masks are the same for all."""
        for done, (variant, (way, make)) in enumerate(TRAININGS.items()):
            stage.at(done / len(TRAININGS), variant)
            generator = torch.Generator().manual_seed(self.setup.seed)
            dropping = torch.Generator(self.setup.device).manual_seed(self.setup.seed)
            batches = loop.drawn(self._training, generator, self.parameters.batch)
            model = copy.deepcopy(self._start)
            optimizer = make(model.parameters())
            for _, batch in zip(range(self.parameters.steps), batches, strict=False):
                step(model, way, optimizer, batch, model.masks(batch, dropping))
            with torch.no_grad():
                self.report.measure("loss", variant, model(self._evaluation, OP_BY_OP).item())

    def hold_against_op_by_op(self) -> None:
        """Report how far each way's gradients are from op by op's."""
        for name, part in self._parts.items():
            expected = both_ways(part, OP_BY_OP)()
            for variant, way in self._ways[name].items():
                if variant != REFERENCE:
                    error = apart(both_ways(part, way)(), expected)
                    self.report.measure("equality error", variant, error, **of_part(name))

    def count(self) -> None:
        """Report what each part and the whole step launch, move and keep."""
        for name, works in self._works().items():
            for variant, work in works.items():
                work()  # the first makes the optimizer's state
                count, settings = counted(work), of_part(name)
                self.report.measure("operators launched", variant, count.operators, **settings)
                if variant != COMPILED:
                    self.report.measure("bytes moved", variant, count.bytes / MIB, **settings)
        for name, part in self._parts.items():
            for variant, way in self._ways[name].items():
                kept = kept_bytes(part, way) / MIB
                self.report.measure("kept for backward", variant, kept, **of_part(name))
        x = self._start.embedding[self._batch[:, 1:]].detach().requires_grad_()
        weights = list(self._start.decoder[0])  # type: ignore
        for variant, (way, _) in TRAININGS.items():
            beyond = beyond_the_formula(way, x, weights, self._masks[:2])
            self.report.measure("kept beyond the formula", variant, beyond)

    def time(self, stage: Stage) -> None:
        """Report seconds, and speed-ups, of each part and of the whole step."""
        works = self._works()
        for done, (part, runs) in enumerate(works.items()):
            stage.at(done / len(works), part)
            runs[BASE]()
            calls = math.ceil(LONG_ENOUGH / seconds(runs[BASE], self.setup.device))
            again = {variant: partial(repeat, work, calls) for variant, work in runs.items()}
            taken = alternately(again, self.parameters.rounds, self.setup.device)
            for variant, each in taken.items():
                each_call = [t / calls for t in each]
                self.report.measure_time("step time", variant, each_call, **of_part(part))
                if part == WHOLE:
                    tokens = self._batch[:, 1:].numel()
                    rates = [calls * tokens / t for t in each]
                    settings = {"model": TRAINED, "batch": len(self._batch)}
                    self.report.measure("tokens per second", variant, rates, **settings)
            for variant, faster in ratios(taken, to=BASE).items():
                self.report.measure("speed-up", variant, faster, **of_part(part))

    def _made_parts(self) -> dict[str, Part]:
        """Return the parts of the first layer, the criterion, and the whole model."""
        p, device, model = self.parameters, self.setup.device, self._start
        generator = torch.Generator().manual_seed(self.setup.seed)
        size = len(self._batch), p.window, p.width  # B, T, C
        x, y = (
            torch.randn(size, generator=generator).to(device).requires_grad_() for _ in range(2)
        )
        weights: list[Tensor] = list(model.decoder[0])  # type: ignore
        norm, out, mlp = weights[:2], weights[4:6], weights[8:]
        targets, mask = self._batch[:, 1:].flatten(), self._masks[0].clone()
        return {
            NORM: Part(lambda way: way.norm(x, *norm), [x, *norm]),
            RESIDUAL: Part(lambda way: way.residual(y, out[0], out[1], x, mask), [x, y, *out]),
            FEED: Part(lambda way: way.feed(y, mlp, x, mask), [x, y, *mlp]),
            CRITERION: Part(
                lambda way: way.loss(x.flatten(0, 1), model.head, targets), [x, model.head]
            ),
            WHOLE: Part(lambda way: model(self._batch, way, self._masks), list(model.parameters())),
        }

    def _works(self) -> Mapping[str, Mapping[str, Work]]:
        """Return by part and variant what computes it both ways; a whole step changes weights."""
        works: dict[str, dict[str, Work]] = {
            name: {variant: both_ways(part, way) for variant, way in self._ways[name].items()}
            for name, part in self._parts.items()
            if name != WHOLE
        }
        gradients = both_ways(self._parts[WHOLE], PYTORCH)()
        works |= {OPTIMIZER: {}, WHOLE: {}}
        for variant, (way, make) in TRAININGS.items():
            alone = make(copy.deepcopy(self._start).parameters())
            works[OPTIMIZER][variant] = partial(alone.step, gradients)
            model = copy.deepcopy(self._start)
            optimizer = make(model.parameters())
            works[WHOLE][variant] = partial(step, model, way, optimizer, self._batch, self._masks)
        return works


def of_part(part: str) -> dict[str, str]:
    """Return the settings under which a part is reported; the whole step has none."""
    return {} if part == WHOLE else {"part": part}


def step(model: Transformer, way: Way, optimizer: Optimizer, batch: Tensor, masks: Tensor) -> None:
    """Change the model once by the loss of a batch (B, T + 1)."""
    loss = model(batch, way, masks)
    optimizer.step(torch.autograd.grad(loss, list(model.parameters())))


def repeat(work: Work, calls: int) -> None:
    """Do the work that many times."""
    for _ in range(calls):
        work()


def both_ways(part: Part, way: Way) -> Callable[[], tuple[Tensor, ...]]:
    """Return what computes a part and all its gradients.

    The gradient that comes in is no constant, of which a norm lets nothing through; a loss's is 1.
    """
    with torch.no_grad():
        output = part.call(OP_BY_OP)
    waves = torch.arange(output.numel(), device=output.device).cos().to(output.dtype)
    gradient = waves.view(output.shape)
    return lambda: torch.autograd.grad(part.call(way), part.inputs, gradient)


def apart(found: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """Return the largest difference of a number, each relative to its tensor's largest."""
    return max(
        ((own - other).abs().max() / other.abs().max()).item()
        for own, other in zip(found, expected, strict=True)
    )


def kept_bytes(part: Part, way: Way) -> int:
    """Return what autograd keeps of a part, its input too, its weights left out."""
    return saved_bytes(lambda: part.call(way), [one for one in part.inputs if one.dim() < 3])


def saved_bytes(call: Callable[[], Tensor], weights: Iterable[Tensor]) -> int:
    """Return what autograd keeps of the call until its backward pass, weights left out."""
    saved = SavedBytes()
    saved.leave_out(weights)
    with saved.counting():
        output = call()
    kept = saved.bytes
    del output
    return kept


def beyond_the_formula(way: Way, x: Tensor, weights: list[Tensor], masks: Tensor) -> float:
    """Return the bytes a token that a layer keeps of x (B, T, C), beyond 34sbh in 16 bits.

    Of the 34, two are masks of a byte; the other 32 are numbers of 16 bits.
    """
    batch, tokens, width = x.shape
    sixteen = selective_activation_bytes(tokens=tokens, batch=batch, hidden=width, tensor_ranks=1)
    of_masks = 2 * x.numel()
    formula = (sixteen - of_masks) * x.itemsize / 2 + of_masks
    # One mask for each, or both would be one storage.
    own = [mask.clone() for mask in masks]
    kept = saved_bytes(lambda: layer(way, Seen(), x, weights, own), weights)
    return (kept - formula) / (batch * tokens)


def verdict(report: Report) -> str:
    """Return a few sentences made of the run's own numbers."""
    value = {
        (row.metric, row.variant, row.settings.get("part", WHOLE)): row.value
        for row in report.measurements
        if "model" not in row.settings
    }

    def times(metric: str, variant: str) -> float:
        return value[metric, variant, WHOLE] / value[metric, BASE, WHOLE]

    said = [
        f"By hand a step keeps {times('kept for backward', HAND):.2f} times the bytes of PyTorch’s"
        f" own functions, at {value['speed-up', HAND, WHOLE]:.2f} times their speed.",
        f"Op by op it launches {times('operators launched', REFERENCE):.1f} times as many"
        f" operators, at {value['speed-up', REFERENCE, WHOLE]:.2f} times the speed.",
    ]
    faster = value.get(("speed-up", COMPILED, CRITERION))
    if faster:
        said.append(f"Compiled, the criterion has {faster:.2f} times the speed of PyTorch’s own.")
    return " ".join(said)
