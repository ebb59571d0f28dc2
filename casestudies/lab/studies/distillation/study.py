"""Distils a model that the run trained, and counts and times half the blocks at known shapes."""

import copy
import hashlib
import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.generate.continuation import greedy, with_cache
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.models import attention, bert, shapes
from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.distillation import distilling
from casestudies.lab.studies.distillation.about import (
    BERT,
    LONGER,
    RANDOM,
    SMOLLM2,
    TRAINED_HERE,
    DistillationParameters,
)
from casestudies.lab.studies.distillation.distilling import Objective
from casestudies.lab.train import loop

VOCABULARY, WINDOW = 1024, 64
EVALUATED, LOOKED_AT = 512, 64  # windows
LOOKS = 5  # points of a curve
RATE = 3e-3  # highest rate of a student; see the README
TIMED_TOKENS = 128
GIGA, TERA, MIB, MILLION = 1e9, 1e12, 2**20, 1e6
FLOAT32_BYTES = 4

# Returns from a student what a batch costs it.
LossOf = Callable[[LanguageModel], Callable[[Tensor], loop.Loss]]


def run(parameters: DistillationParameters, setup: Setup, report: Report) -> str:
    """Train teacher and students; return the verdict. Raises ValueError if the text is short."""
    report.precision = "float32"
    bench = Bench(parameters, setup, report)
    with report.stage("training the teacher", 0.25) as stage:
        teacher = bench.train_teacher(stage)
    with report.stage("training students", 0.6) as stage:
        found = bench.train_students(teacher, stage)
        lead = bench.compare(found)
    with report.stage("counting and timing half the blocks", 0.15):
        student = distilling.student_of(teacher)
        bench.check(teacher, student)
        fewer = count(teacher, student, report)
        faster = time_shapes(parameters, setup, report)
        time_own(teacher, student, parameters.rounds, report)
    return verdict(parameters, found, lead, fewer, faster)


class Quality(NamedTuple):
    """Of text kept apart: the loss in nats, and of each window the share of tokens that are hit."""

    loss: float
    hits: Tensor  # windows

    @property
    def accuracy(self) -> float:
        """Return the share of tokens whose likeliest guess is right, in percent."""
        return 100 * self.hits.mean().item()


@dataclass(frozen=True)
class Lead:
    """By how many points of accuracy a student is ahead, and the standard error of that."""

    points: float
    error: float


Found = Mapping[str, list[Quality]]


class Bench:
    """The text, and what is trained and tested on it."""

    def __init__(self, parameters: DistillationParameters, setup: Setup, report: Report) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        corpus = text.corpus(setup.text)
        more = text.split("docstrings of NumPy", text.docstrings(["numpy"]))
        both = hashlib.sha256(f"{corpus.sha256} {more.sha256}".encode()).hexdigest()
        report.source("text", f"{corpus.name}; {more.name}", both)
        training = (*corpus.calibration, *more.calibration)
        tokenizer = tokenizers.byte_pairs(training, VOCABULARY)
        self._training, kept_apart = (
            text.windows(documents, tokenizer, WINDOW + 1).to(setup.device)
            for documents in (training, (*corpus.evaluation, *more.evaluation))
        )
        self._evaluation = text.spaced(kept_apart, min(EVALUATED, len(kept_apart)))
        p = parameters
        self.objective = Objective(p.soft_weight, p.hard_weight, p.hidden_weight, p.temperature)

    def train_teacher(self, stage: Stage) -> LanguageModel:
        """Return the teacher, which takes no gradients."""
        p, generator = self.parameters, self._generator(0)
        teacher = self._random(p.layers, generator)

        def observe(step: int, loss: float) -> None:
            if step % max(1, p.teacher_steps // 20) == 0:
                done = step / p.teacher_steps
                stage.at(done, f"step {step} of {p.teacher_steps}, loss {loss:.2f}")

        schedule = loop.Schedule(p.teacher_steps)
        batches = loop.drawn(self._training, generator)
        loop.train(teacher.parameters(), _alone(teacher), batches, schedule, observe)
        return teacher.requires_grad_(False)

    def train_students(self, teacher: LanguageModel, stage: Stage) -> Found:
        """Report what each student becomes, and return it, once for each repeat."""
        p = self.parameters
        costs = step_operations(teacher, self.objective, self._training[: loop.BATCH])
        more = round(p.steps * costs["distilled"] / costs["alone"])
        plans = self._plans(teacher, costs, more)
        found: dict[str, list[Quality]] = {name: [] for name in plans}
        for repeat in range(p.repeats):
            for done, (variant, plan) in enumerate(plans.items()):
                share = (repeat + done / len(plans)) / p.repeats
                stage.at(share, f"{variant}, {plan.steps} steps")
                student = self._train(variant, plan, repeat)
                found[variant].append(self.quality(student, self._evaluation))
        return {
            "teacher": [self.quality(teacher, self._evaluation)],
            "cut": [self.quality(distilling.student_of(teacher), self._evaluation)],
            **found,
        }

    def compare(self, found: Found) -> Lead:
        """Report loss and accuracy by variant; return the lead of the distilled student."""
        of_teacher = found["teacher"][0].accuracy
        for variant, qualities in found.items():
            accuracies = [quality.accuracy for quality in qualities]
            self.report.measure("loss", variant, [quality.loss for quality in qualities])
            self.report.measure("next-token accuracy", variant, accuracies)
            if variant != "teacher":
                kept = [100 * accuracy / of_teacher for accuracy in accuracies]
                self.report.measure("accuracy kept", variant, kept)
        leads = {other: lead_over(found["distilled"], found[other]) for other in ("alone", LONGER)}
        for other, lead in leads.items():
            self.report.measure("lead of distillation", other, lead.points)
            self.report.measure("standard error of the lead", other, lead.error)
        return leads["alone"]

    def check(self, teacher: LanguageModel, student: LanguageModel) -> None:
        """Report how exactly a student begins, and how its gradient changes with temperature."""
        windows = self._evaluation[:4]
        with torch.no_grad():
            own, aims = student(windows[:, :-1]), teacher(windows[:, :-1])
            silenced = distilling.with_blocks_silenced(teacher)(windows[:, :-1])
        self.report.measure("equality error", "cut", (own - silenced).abs().max().item())
        for exponent in range(0, 11, 2):
            distance = distilling.from_matching(own, aims, 2.0**exponent)
            self.report.point("distance from matching logits", "distilled", exponent, distance)
        self.report.measure("distance from matching logits", "distilled", distance)

    @torch.inference_mode()
    def quality(self, model: LanguageModel, windows: Tensor) -> Quality:
        """Return how well the model foretells the windows (count, WINDOW + 1)."""
        total, hits = 0.0, []
        for part in windows.split(loop.BATCH):
            logits = model(part[:, :-1])
            total += len(part) * loop.token_loss(logits, part).item()
            hits.append((logits.argmax(-1) == part[:, 1:]).float().mean(1))
        return Quality(total / len(windows), torch.cat(hits).cpu())

    def _plans(
        self, teacher: LanguageModel, costs: Mapping[str, float], more: int
    ) -> dict[str, "Plan"]:
        """Return how each student is made and trained; only one takes `more` steps."""
        p, objective = self.parameters, self.objective
        learned = _from(teacher, objective)
        bare = replace(objective, hidden=0.0)

        def halved(_: torch.Generator) -> LanguageModel:
            return distilling.student_of(teacher)

        def random(generator: torch.Generator) -> LanguageModel:
            return self._random(p.layers // 2, generator)

        by_teacher, by_itself = costs["distilled"], costs["alone"]
        return {
            "distilled": Plan(halved, learned, p.steps, by_teacher),
            "alone": Plan(halved, _alone, p.steps, by_itself),
            LONGER: Plan(halved, _alone, more, by_itself),
            "no hidden states": Plan(halved, _from(teacher, bare), p.steps, by_teacher),
            RANDOM: Plan(random, learned, p.steps, by_teacher),
        }

    def _train(self, variant: str, plan: "Plan", repeat: int) -> LanguageModel:
        student = plan.start(self._generator(repeat + 1))
        some = text.spaced(self._evaluation, min(LOOKED_AT, len(self._evaluation)))

        # What begins with random weights is so far off that beside it all others would look alike.
        drawn = repeat == 0 and variant != RANDOM

        def observe(step: int, _: float) -> None:
            if drawn and (step % -(-plan.steps // LOOKS) == 0 or step == plan.steps):
                spent = step * plan.step_operations / TERA
                loss = self.quality(student, some).loss
                self.report.point("loss by operations", variant, spent, loss)

        schedule = loop.Schedule(plan.steps, RATE)
        # Every student sees the same batches in the same order.
        batches = loop.drawn(self._training, self._generator(repeat + 1))
        loop.train(student.parameters(), plan.loss_of(student), batches, schedule, observe)
        spent = plan.steps * plan.step_operations / TERA
        if repeat == 0:
            self.report.measure("operations of training", variant, spent)
            self.report.measure("tokens read", variant, plan.steps * loop.BATCH * WINDOW)
        return student

    def _random(self, layers: int, generator: torch.Generator) -> LanguageModel:
        return shapes.small(VOCABULARY, self.parameters.width, layers, generator, self.setup.device)

    def _generator(self, repeat: int) -> torch.Generator:
        return torch.Generator().manual_seed((self.setup.seed + repeat) % 2**63)


@dataclass(frozen=True)
class Plan:
    """How a student begins and learns, for how many steps of how many operations."""

    start: Callable[[torch.Generator], LanguageModel]
    loss_of: LossOf
    steps: int
    step_operations: float


def _alone(student: LanguageModel) -> Callable[[Tensor], loop.Loss]:
    return lambda batch: loop.Loss(loop.next_token_loss(student, batch))


def _from(teacher: LanguageModel, objective: Objective) -> LossOf:
    def loss_of(student: LanguageModel) -> Callable[[Tensor], loop.Loss]:
        return lambda batch: distilling.distillation_loss(student, teacher, batch, objective)

    return loss_of


def lead_over(ours: list[Quality], theirs: list[Quality]) -> Lead:
    """Return the mean lead in points, and its standard error over windows and over repeats.

    Both kinds of chance count: which text was kept apart, and which batches came in which order.
    """
    apart = torch.stack([a.hits - b.hits for a, b in zip(ours, theirs, strict=True)])  # R, windows
    apart = 100 * apart.double()
    variance = apart.mean(0).var().item() / apart.shape[1]
    if len(apart) > 1:
        variance += apart.mean(1).var().item() / len(apart)
    return Lead(apart.mean().item(), math.sqrt(variance))


def step_operations(
    teacher: LanguageModel, objective: Objective, windows: Tensor
) -> dict[str, float]:
    """Return the operations of a training step on the windows, with the teacher and without."""
    # No counter knows the kernel of PyTorch's own attention on a CPU.
    teacher = _with_plain_attention(teacher)
    student = distilling.student_of(teacher)
    losses = {"distilled": _from(teacher, objective)(student), "alone": _alone(student)}
    found = {}
    for variant, loss_of in losses.items():
        with FlopCounterMode(display=False) as counter:
            loss = loss_of(windows)
            (loss.of_tokens + loss.penalty).backward()
        found[variant] = float(counter.get_total_flops())
    return found


def _with_plain_attention(model: LanguageModel) -> LanguageModel:
    model = copy.deepcopy(model)
    for block in model.blocks:
        cast(Block, block).attention = attention.naive
    return model


def count(teacher: LanguageModel, student: LanguageModel, report: Report) -> dict[str, float]:
    """Report parameters and bytes at each shape; return how many percent fewer there are."""
    with torch.device("meta"):
        whole = LanguageModel(shapes.SHAPES["smollm2-135m"], tied=True)
    sizes = {
        TRAINED_HERE: (_parameters(teacher), _parameters(student)),
        BERT: (
            bert.parameters(bert.BertShape()),
            bert.parameters(bert.BertShape(layers=6, whole=False)),
        ),
        SMOLLM2: (_parameters(whole), _parameters(distilling.student_of(whole))),
    }
    fewer = {}
    for shape, pair in sizes.items():
        fewer[shape] = 100 * (1 - pair[1] / pair[0])
        for variant, number in zip(("teacher", "distilled"), pair, strict=True):
            report.measure("parameters", variant, number / MILLION, shape=shape)
            report.measure("weights", variant, FLOAT32_BYTES * number / MIB, shape=shape)
        report.measure("fewer parameters", "distilled", fewer[shape], shape=shape)
    return fewer


def _parameters(model: torch.nn.Module) -> int:
    return sum(weight.numel() for weight in model.parameters())


@torch.inference_mode()
def time_shapes(p: DistillationParameters, setup: Setup, report: Report) -> dict[str, float]:
    """Report the time of one text through all blocks and half of them, at known shapes."""
    generator = torch.Generator().manual_seed(setup.seed)
    tokens = torch.randint(30_000, (1, TIMED_TOKENS), generator=generator).to(setup.device)
    blocks = p.timed_blocks
    found = {}
    encoders = {
        "teacher": bert.with_random_weights(bert.BertShape(layers=blocks), setup.device),
        "distilled": bert.with_random_weights(
            bert.BertShape(layers=blocks // 2, whole=False), setup.device
        ),
    }
    runs = {name: lambda m=model: m(tokens) for name, model in encoders.items()}
    found[BERT] = time_forward(runs, BERT, p.rounds, setup.device, report)
    whole = shapes.of_shape("smollm2-135m", setup.device, layers=blocks * 5 // 2)
    half = distilling.student_of(whole).requires_grad_(False)
    decoders = {"teacher": whole, "distilled": half}
    reads = {
        name: lambda m=model: m.logits(m.hidden(tokens)[:, -1:]) for name, model in decoders.items()
    }
    found[SMOLLM2] = time_forward(reads, SMOLLM2, p.rounds, setup.device, report)
    time_tokens(decoders, tokens, SMOLLM2, p.rounds, report)
    return found


@torch.inference_mode()
def time_own(teacher: LanguageModel, student: LanguageModel, rounds: int, report: Report) -> None:
    """Report the times of the models of the run."""
    device = teacher.norm.weight.device
    tokens = torch.arange(TIMED_TOKENS, device=device)[None]
    models = {"teacher": teacher, "distilled": student}
    runs = {name: lambda m=model: m(tokens) for name, model in models.items()}
    time_forward(runs, TRAINED_HERE, rounds, device.type, report)
    time_tokens(models, tokens, TRAINED_HERE, rounds, report)


def time_forward(
    runs: Mapping[str, Callable[[], object]], shape: str, rounds: int, device: str, report: Report
) -> float:
    """Report the time of each of the runs; return how many times as fast half the blocks are."""
    taken = alternately(runs, rounds, device)
    for variant, times in taken.items():
        report.measure_time("forward time", variant, times, shape=shape)
    speed = ratios(taken, to="teacher")["distilled"]
    report.measure("speed-up", "distilled", speed, shape=shape)
    return statistics.median(speed)


def time_tokens(
    models: Mapping[str, LanguageModel], tokens: Tensor, shape: str, rounds: int, report: Report
) -> None:
    """Report the time of one token more, after a text whose keys and values are kept."""
    runs: dict[str, Callable[[], object]] = {}
    for name, model in models.items():
        cache = with_cache(model, tokens, 1)
        model.hidden(tokens, cache)

        def step(model: LanguageModel = model, cache: KeyValueCache = cache) -> Tensor:
            cache.rewind(tokens.shape[1])
            return greedy(model.logits(model.hidden(tokens[:, -1:], cache))[:, -1])

        runs[name] = step
    taken = alternately(runs, rounds, tokens.device.type)
    for variant, times in taken.items():
        report.measure_time("time per token", variant, times, shape=shape)


def verdict(
    p: DistillationParameters,
    found: Found,
    lead: Lead,
    fewer: Mapping[str, float],
    faster: Mapping[str, float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    of_teacher = found["teacher"][0].accuracy
    kept = {
        variant: 100 * statistics.median(q.accuracy for q in qualities) / of_teacher
        for variant, qualities in found.items()
    }
    return (
        f"With {p.layers // 2} of {p.layers} blocks a student keeps {kept['cut']:.1f} % of its"
        f" teacher’s accuracy untrained, {kept['distilled']:.1f} % distilled and"
        f" {kept['alone']:.1f} % trained on the same tokens alone: a lead of {lead.points:.2f}"
        f" points, standard error {lead.error:.2f}. Alone with as many operations as distilling"
        f" takes it keeps {kept[LONGER]:.1f} %; from random weights, distilled,"
        f" {kept[RANDOM]:.1f} %. BERT’s shape loses {fewer[BERT]:.1f} % of its"
        f" parameters, and half of {p.timed_blocks} blocks are {faster[BERT]:.2f} x as fast."
    )
