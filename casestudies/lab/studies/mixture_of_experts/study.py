"""Trains dense models and mixtures on the same text and holds them against each other."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.mixture_of_experts import model as models
from casestudies.lab.studies.mixture_of_experts.about import (
    DOCUMENTED,
    ONE_EXPERT,
    UNBALANCED,
    MixtureParameters,
)
from casestudies.lab.studies.mixture_of_experts.claims import (
    DENSE,
    FOUR_TIMES,
    PYRAMID,
    SHALLOWER,
    SWITCH,
    TWICE,
)
from casestudies.lab.studies.mixture_of_experts.model import Shape
from casestudies.lab.studies.mixture_of_experts.training import (
    AT_ONCE,
    EVENNESS,
    PEAK_RATE,
    Teaching,
    losses,
    train,
)
from casestudies.lab.train import loop

VOCABULARY = 1024
CAPACITIES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
POINTS = 25  # of a curve of training
CHECKED = 4  # windows on which one expert is held against the dense model
GIGA, PERCENT, MILLI, THOUSAND = 1e9, 100.0, 1000.0, 1000


@dataclass(frozen=True)
class Bench:
    """The text, and the models that were trained on it, each from the same seed."""

    seed: int
    training: Tensor
    evaluation: Tensor
    models: dict[str, LanguageModel]
    losses: dict[str, Tensor]  # of each window of the evaluation text


def run(parameters: MixtureParameters, setup: Setup, report: Report) -> str:
    """Measure all models; return the verdict. Raises ValueError if the text is too short."""
    p, report.precision = parameters, "float32"
    with report.stage("reading the text and training a tokenizer", 0.1):
        corpus = _corpus(p, setup)
        report.source("text", corpus.name, corpus.sha256)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
        training, evaluation = (
            text.windows(documents, tokenizer, p.window).to(setup.device)
            for documents in (corpus.calibration, corpus.evaluation)
        )
        evaluation = text.spaced(evaluation, p.evaluation_windows)
        bench = Bench(setup.seed, training, evaluation, {}, {})
    with report.stage("training", 0.7) as stage:
        train_all(bench, shapes(tokenizer.get_vocab_size(), p), p, report, stage)
    with report.stage("counting and checking", 0.1):
        count(bench, p.window - 1, report)
        report.measure("equality error", ONE_EXPERT, one_expert_error(bench))
        for variant in (SWITCH, UNBALANCED):
            route_text(variant, bench, report)
    with report.stage("timing", 0.1):
        faster = time_models(bench, p, report)
    return verdict(bench, faster)


def shapes(vocabulary: int, p: MixtureParameters) -> dict[str, Shape]:
    """Return the shapes of all models, in the order in which they are trained."""
    dense, experts = (0,) * p.layers, (p.experts,) * p.layers
    shallower = max(1, p.layers - 1)
    early = shallower // 2
    pyramid = (p.experts // 4,) * early + (p.experts // 2,) * (shallower - early)
    return {
        DENSE: Shape(vocabulary, p.width, dense),
        TWICE: Shape(vocabulary, p.width, dense, wider=2),
        FOUR_TIMES: Shape(vocabulary, p.width, dense, wider=4),
        SWITCH: Shape(vocabulary, p.width, experts),
        UNBALANCED: Shape(vocabulary, p.width, experts),
        PYRAMID: Shape(vocabulary, p.width, pyramid, residual=True),
        SHALLOWER: Shape(vocabulary, p.width, dense[:shallower]),
    }


def train_all(
    bench: Bench,
    shapes: dict[str, Shape],
    p: MixtureParameters,
    report: Report,
    stage: Stage,
) -> None:
    """Train each model on the same batches and report its loss on the other text."""
    for done, (variant, shape) in enumerate(shapes.items()):
        generator = torch.Generator().manual_seed(bench.seed)
        made = models.made(shape, generator, bench.training.device.type)
        models.limit(made, p.capacity_factor)
        teaching = Teaching(
            0.0 if variant == UNBALANCED else EVENNESS,
            bench.models[SWITCH] if variant == PYRAMID else None,
        )
        observe = _observer(variant, p.steps, report)
        stage.at(done / len(shapes), variant)
        batches = loop.drawn(bench.training, torch.Generator().manual_seed(bench.seed))
        train(made, batches, loop.Schedule(p.steps, PEAK_RATE), teaching, observe)
        models.limit(made, None)
        bench.models[variant], bench.losses[variant] = made, losses(made, bench.evaluation)
        report.measure("loss", variant, bench.losses[variant].mean().item())
        if variant != DENSE:
            apart = bench.losses[variant] - bench.losses[DENSE]
            report.measure("loss increase", variant, apart.mean().item())


def count(bench: Bench, tokens: int, report: Report) -> None:
    """Report the parameters and operations of each model."""
    for variant, model in bench.models.items():
        report.measure("trainable parameters", variant, models.parameters(model))
        report.measure("active parameters", variant, models.active_parameters(model))
        operations = THOUSAND * models.operations(model, tokens)
        report.measure("operations", variant, operations / GIGA)


@torch.inference_mode()
def one_expert_error(bench: Bench) -> float:
    """Return by how much logits change when the dense networks become single experts."""
    dense = bench.models[DENSE]
    single = models.with_one_expert(dense)
    windows = bench.evaluation[:CHECKED]
    return (single(windows) - dense(windows)).abs().max().item()


@torch.inference_mode()
def route_text(variant: str, bench: Bench, report: Report) -> None:
    """Report where the tokens of the evaluation text go, and how many are dropped by capacity."""
    model = bench.models[variant]
    uneven, fullest = [], []
    for batch in bench.evaluation.split(AT_ONCE):
        model.hidden(batch[:, :-1])
        uneven.append(models.unevenness(model).item())
        for mixture in models.mixtures(model):
            counts = mixture.seen.expert.bincount(minlength=len(mixture.router))
            fullest.append((counts.max() * len(counts) / counts.sum()).item())
    report.measure("balance loss", variant, statistics.mean(uneven))
    report.measure("fullest expert", variant, statistics.mean(fullest))
    for capacity in CAPACITIES:
        loss, dropped = limited(model, bench.evaluation, capacity)
        report.measure("dropped tokens", variant, PERCENT * dropped, capacity=capacity)
        report.point("dropped tokens by capacity", variant, capacity, PERCENT * dropped)
        report.point("loss by capacity", variant, capacity, loss)


def limited(model: LanguageModel, windows: Tensor, capacity: float) -> tuple[float, float]:
    """Return loss, and the share of tokens that are dropped, with so many places an expert."""
    models.limit(model, capacity)
    found, dropped, routed = [], 0, 0
    for batch in windows.split(AT_ONCE):
        found.append(losses(model, batch))
        for mixture in models.mixtures(model):
            dropped, routed = dropped + mixture.dropped, routed + len(mixture.seen.expert)
    models.limit(model, None)
    return torch.cat(found).mean().item(), dropped / routed


def time_models(bench: Bench, p: MixtureParameters, report: Report) -> dict[str, float]:
    """Report the time of training steps and of reading; return the speed-ups over dense."""
    batch, device = bench.training[: loop.BATCH], bench.training.device.type
    steps = {name: _step(model, batch) for name, model in bench.models.items()}
    for model in bench.models.values():  # as in training
        models.limit(model, p.capacity_factor)
    taken = alternately(steps, p.rounds, device)
    for model in bench.models.values():
        models.limit(model, None)
    for variant, times in taken.items():
        report.measure("step time", variant, [MILLI * t for t in times])
    faster = {}
    for variant, found in ratios(taken, to=DENSE).items():
        report.measure("speed-up", variant, found)
        faster[variant] = statistics.median(found)
    read = bench.evaluation[:AT_ONCE]
    reading = {name: _reading(model, read) for name, model in bench.models.items()}
    for variant, times in alternately(reading, p.rounds, device).items():
        report.measure("tokens per second", variant, [read.numel() / t for t in times])
    return faster


def verdict(bench: Bench, faster: dict[str, float]) -> str:
    """Return a few sentences made of the run's own numbers."""
    loss = {name: found.mean().item() for name, found in bench.losses.items()}
    size = {name: models.parameters(model) for name, model in bench.models.items()}
    apart = loss[SWITCH] - loss[DENSE]
    than = "below" if apart < 0 else "above"
    return (
        f"At the operations of the dense model the mixture’s loss is {loss[SWITCH]:.3f} nats,"
        f" {abs(apart):.3f} {than} it; a dense model four times as wide reaches"
        f" {loss[FOUR_TIMES]:.3f}. It holds {size[SWITCH] / size[DENSE]:.1f} x the parameters and"
        f" trains at {faster[SWITCH]:.2f} x the dense model’s speed. Pyramid-residual and"
        f" distilled, {size[SWITCH] / size[PYRAMID]:.1f} x fewer parameters reach"
        f" {loss[PYRAMID]:.3f}, and a dense model of as few blocks {loss[SHALLOWER]:.3f}."
    )


def _observer(variant: str, steps: int, report: Report) -> Callable[[int, float], None]:
    recent: list[float] = []
    each = max(1, steps // POINTS)

    def observe(step: int, loss: float) -> None:
        recent.append(loss)
        if step % each == 0 or step == steps:
            mean = statistics.mean(recent)
            recent.clear()
            report.point("training loss by step", variant, step, mean)
            if step == steps:
                report.measure("training loss", variant, mean)

    return observe


def _step(model: LanguageModel, batch: Tensor) -> Callable[[], None]:
    weights = list(model.parameters())
    optimizer = torch.optim.AdamW(weights, lr=0.0, fused=True)  # leaves the model as it is

    def step() -> None:
        evenness = EVENNESS * len(models.mixtures(model))
        loss = loop.next_token_loss(model, batch) + evenness * models.unevenness(model)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def _reading(model: LanguageModel, windows: Tensor) -> Callable[[], object]:
    return torch.inference_mode()(lambda: model(windows))


def _corpus(p: MixtureParameters, setup: Setup) -> text.Corpus:
    if setup.text or not p.docstrings:
        return text.corpus(setup.text)
    name = "Python reference (pydoc_data.topics) and docstrings of NumPy and pandas"
    return text.split(name, text.python_reference() + text.docstrings(DOCUMENTED))
