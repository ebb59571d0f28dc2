"""Prunes one model by each method in turn and measures what is left of it."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from casestudies.lab import kernels
from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.measure.cost import Measured
from casestudies.lab.measure.environment import lacking_memory
from casestudies.lab.measure.equality import hold
from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.models import files as model_files
from casestudies.lab.quantize import layerwise, opt_block
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.sparsegpt import (
    baselines,
    masks,
    semi_structured,
    solver,
)
from casestudies.lab.studies.sparsegpt.about import (
    IN_HARDWARE,
    ONE_KERNEL,
    PRUNING_TIME,
    SparseGptParameters,
)
from casestudies.lab.studies.sparsegpt.speed import TOKENS, speeds

METHODS = ("magnitude", "wanda", "sparsegpt")
CURVE = (0.3, 0.7)
NOISE = 1e-6


@dataclass(frozen=True)
class PruningTrial:
    """One method with one pattern; repeats after the first start from slightly changed weights."""

    method: str
    pattern: masks.Pattern
    repeat: int = 0


@dataclass(frozen=True)
class PrunedModel:
    """What one trial measured; `errors` are the layers' reconstruction errors by name."""

    perplexity: float
    sparsity: float
    errors: dict[str, float]
    cost: Measured


def run(parameters: SparseGptParameters, setup: Setup, report: Report) -> str:
    """Measure the dense model and every trial into `report`; return the verdict.

    Raises FileNotFoundError or UnsupportedModel if there is no model to prune, and ValueError if
    the text is too short or the model's layers do not divide into the pattern's groups.
    """
    with report.stage("reading the model and the text", 0.02):
        bench = PruningBench(parameters, setup, report)
        report.precision = "float32"
    pattern = masks.parse(parameters.pattern, parameters.sparsity)
    with report.stage("measuring the dense model", 0.03):
        dense = perplexity(bench.model, bench.evaluation)
        report.measure("perplexity", "dense", dense)
    one_kernel = _holds_in_one_kernel(setup.device, report)
    trials, outcomes = plan(parameters, pattern, one_kernel=one_kernel), {}
    for trial in trials:
        with report.stage(f"{trial.method}, {describe(trial.pattern)}", 0.9 / len(trials)) as stage:
            outcomes[trial] = bench.carry_out(trial, stage)
        _report_curve(report, trial, dense, outcomes[trial])
    for method in dict.fromkeys(trial.method for trial in trials):
        _report_method(report, method, dense, _repeats(outcomes, method, pattern))
    with report.stage("measuring the speed of sparse products", 0.03):
        speed = _report_speed(bench, report)
        _report_semi_structured(parameters, setup.device, report)
    if parameters.opt_block:
        with report.stage("pruning a block of OPT-175B’s shape", 0.02):
            _report_opt_block(parameters, setup, report, one_kernel=one_kernel)
    return verdict(pattern, dense, outcomes, speed)


def plan(
    parameters: SparseGptParameters, pattern: masks.Pattern, *, one_kernel: bool = False
) -> list[PruningTrial]:
    """Return the trials: each method with the pattern, SparseGPT's repeats, then the curve."""
    trials = [PruningTrial(method, pattern) for method in METHODS]
    trials += [PruningTrial(ONE_KERNEL, pattern)] * one_kernel
    trials += [
        PruningTrial("sparsegpt", pattern, repeat) for repeat in range(1, parameters.repeats)
    ]
    if parameters.curve and not pattern.group:
        others = [masks.Pattern(share) for share in CURVE if share != pattern.sparsity]
        trials += [PruningTrial(method, other) for other in others for method in METHODS]
    return trials


class PruningBench:
    """The model with its dense weights at hand, the texts, and the run's parameters."""

    def __init__(self, parameters: SparseGptParameters, setup: Setup, report: Report) -> None:
        self.parameters, self.setup = parameters, setup
        pretrained = model_files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        self.model = pretrained.model
        self.layers = min(parameters.layers or len(self.model.blocks), len(self.model.blocks))
        self.dense = {name: layer.weight.clone() for name, layer in self.model.linears().items()}
        length = parameters.window
        calibration = text.windows(corpus.calibration, pretrained.tokenizer, length)
        evaluation = text.windows(corpus.evaluation, pretrained.tokenizer, length)
        calibration = text.sample(calibration, parameters.calibration_windows, setup.seed)
        self.calibration = calibration.to(setup.device)
        self.evaluation = text.spaced(evaluation, parameters.evaluation_windows).to(setup.device)

    def carry_out(self, trial: PruningTrial, stage: Stage) -> PrunedModel:
        """Prune the dense model as the trial says and measure what is left."""
        self._restore(trial.repeat)
        errors: dict[str, float] = {}

        def observe(name: str, old: Tensor, new: Tensor, inputs: Sequence[Tensor]) -> None:
            errors[name] = layerwise.relative_error(old, new, inputs)
            block, last = name.split(".")
            if last == "down":
                done = int(block) + 1
                stage.at(0.7 * done / self.layers, f"block {done} of {self.layers}")

        # Magnitude pruning looks at no text; one window serves to measure its error.
        windows = self.calibration[:1] if trial.method == "magnitude" else self.calibration
        with Measured(self.setup.device) as cost:
            layerwise.compress(self.model, windows, self._method(trial), self.layers, observe)
        stage.at(0.7, "perplexity")
        return PrunedModel(
            perplexity(self.model, self.evaluation), self._zeros(errors), errors, cost
        )

    def first_large_layer(self) -> tuple[Tensor, Tensor]:
        """Return the dense and the present weights of the first block's `gate` layer."""
        return self.dense["0.gate"], self.model.linears()["0.gate"].weight

    def _restore(self, repeat: int) -> None:
        generator = torch.Generator().manual_seed(self.setup.seed + repeat)
        for name, linear in self.model.linears().items():
            weight = self.dense[name]
            if repeat:
                noise = torch.randn(weight.shape, generator=generator).to(weight.device)
                weight = weight * (1 + NOISE * noise)
            linear.weight.copy_(weight)

    def _method(self, trial: PruningTrial) -> layerwise.Method:
        p, pattern = self.parameters, trial.pattern
        bits = None if p.bits == "none" else int(p.bits)

        def prune(weights: Sequence[Tensor], inputs: Sequence[Tensor]) -> Sequence[Tensor]:
            if trial.method == "magnitude":
                return [baselines.magnitude(weight, pattern, bits) for weight in weights]
            if trial.method == "wanda":
                return [baselines.wanda(weight, inputs, pattern, bits) for weight in weights]
            by_one = trial.method == ONE_KERNEL
            settings = solver.Settings(pattern, p.block, p.damping, bits, by_one)
            return solver.prune(weights, gram(inputs), settings)

        return prune

    def _zeros(self, names: dict[str, float]) -> float:
        weights = [self.model.linears()[name].weight for name in names]
        zeros = sum(int((weight == 0).sum()) for weight in weights)
        return zeros / sum(weight.numel() for weight in weights)


def _repeats(
    outcomes: dict[PruningTrial, PrunedModel], method: str, pattern: masks.Pattern
) -> list[PrunedModel]:
    return [o for t, o in outcomes.items() if t.method == method and t.pattern == pattern]


def _report_curve(report: Report, trial: PruningTrial, dense: float, outcome: PrunedModel) -> None:
    if trial.repeat == 0:
        curve = "perplexity by sparsity"
        if not report.curve(curve, trial.method):
            report.point(curve, trial.method, 0.0, dense)
        report.point(curve, trial.method, trial.pattern.sparsity, outcome.perplexity)


def _report_method(report: Report, method: str, dense: float, repeats: list[PrunedModel]) -> None:
    report.measure("perplexity", method, [o.perplexity for o in repeats])
    report.measure("perplexity ratio", method, [o.perplexity / dense for o in repeats])
    report.measure("sparsity", method, [o.sparsity for o in repeats])
    errors = [statistics.mean(o.errors.values()) for o in repeats]
    report.measure("reconstruction error", method, errors)
    report.measure("compression time", method, [o.cost.seconds for o in repeats])
    report.measure("CPU time", method, [o.cost.cpu_seconds for o in repeats])
    report.measure("peak memory", method, [o.cost.peak_mib for o in repeats])
    by_block: dict[int, list[float]] = {}
    for name, error in repeats[0].errors.items():
        by_block.setdefault(int(name.split(".")[0]), []).append(error)
    for block, found in by_block.items():
        report.point("reconstruction error by layer", method, block, statistics.mean(found))


def _report_speed(bench: PruningBench, report: Report) -> dict[tuple[str, int], float]:
    """Report every speed, and return the medians by variant and number of tokens."""
    generator = torch.Generator().manual_seed(bench.setup.seed)
    medians = {}
    for tokens in TOKENS:
        for variant, ratios in speeds(*bench.first_large_layer(), tokens, generator).items():
            report.measure("product speed", variant, ratios, tokens=tokens)
            medians[variant, tokens] = statistics.median(ratios)
    return medians


def _holds_in_one_kernel(device: str, report: Report) -> bool:
    """Report how far the kernel's columns are from float64; return whether it is to be measured."""
    if reason := kernels.why_not(device):
        report.log(f"Columns in one kernel: {reason}: not run")
        return False
    from casestudies.lab.kernels import columns  # pragma: no cover - needs a GPU

    several = list(hold(columns.EQUALITIES, device))  # pragma: no cover - needs a GPU
    if failed := [held for held in several if not held.holds]:  # pragma: no cover - needs a GPU
        report.log(f"Columns in one kernel: {failed[0].why or failed[0]}: not run")
        return False
    apart = max(held.apart or 0 for held in several)  # pragma: no cover - needs a GPU
    report.measure("equality error", ONE_KERNEL, apart)  # pragma: no cover - needs a GPU
    return True  # pragma: no cover - needs a GPU


def _report_semi_structured(parameters: SparseGptParameters, device: str, report: Report) -> None:
    """Report what hardware gains from weights 2:4; where only some blocks are pruned, few."""
    if device == "cpu":
        report.log("Weights 2:4 in hardware: needs a GPU: not run")
        return
    layers = semi_structured.layers(small=parameters.layers > 0)  # pragma: no cover - needs a GPU
    for name, size in layers.items():  # pragma: no cover - needs a GPU
        with kernels.attempting(f"Weights 2:4 in hardware, {name}", report.log):
            for found in semi_structured.products(name, size, device):
                report_product(report, found)


def report_product(report: Report, found: semi_structured.Measured) -> None:
    """Report what a product of weights 2:4 reached, and the dense one; only of what is right."""
    settings = {"layer": found.layer, "tokens": found.tokens}
    report.measure("equality error", IN_HARDWARE, found.apart, **settings)
    if not found.speed:
        report.log(f"{found.layer}, {found.tokens} tokens: wrong, so not timed")
        return
    report.measure("2:4 speed", IN_HARDWARE, found.speed, **settings)
    many = found.tokens >= semi_structured.MANY
    for variant, share in found.share.items():
        metric = "share of bfloat16 rate" if many else "share of copying"
        report.measure_share(metric, variant, share, **settings)


def _report_opt_block(
    parameters: SparseGptParameters, setup: Setup, report: Report, *, one_kernel: bool
) -> None:
    if reason := lacking_memory(setup.device, opt_block.NEEDED_GPU_GIB):
        report.log(f"No block of OPT-175B's shape was pruned: {reason}")
        return
    pattern = masks.parse(parameters.pattern, parameters.sparsity)
    report.precision = "float32, OPT-175B's block in bfloat16"
    ways = {"sparsegpt": False} | ({ONE_KERNEL: True} if one_kernel else {})
    for name, by_one in ways.items():
        settings = solver.Settings(pattern, parameters.block, parameters.damping, one_kernel=by_one)
        prune = partial(solver.prune, settings=settings)
        with kernels.attempting(f"{name}, a block of OPT-175B's shape", report.log):
            cost = opt_block.measured(prune, setup.device, setup.seed)
            report.measure(PRUNING_TIME, name, opt_block.BLOCKS * cost.seconds / 3600)
            took = f"{cost.seconds:.1f} s and {cost.peak_mib / 1024:.1f} GiB"
            report.log(f"{name}: a block took {took}")


def describe(pattern: masks.Pattern) -> str:
    """Return the pattern as a reader would name it: "50 % zeros" or "2 zeros in every 4"."""
    if pattern.group:
        return f"{pattern.zeros} zeros in every {pattern.group}"
    return f"{100 * pattern.sparsity:.0f} % zeros"


def verdict(
    pattern: masks.Pattern,
    dense: float,
    outcomes: dict[PruningTrial, PrunedModel],
    speed: dict[tuple[str, int], float],
) -> str:
    """Return one or two sentences made of the run's own numbers."""
    in_dense, in_rows = speed["zeros in a dense product", 1], speed["sparse rows", 1]
    left = {
        method: statistics.median(o.perplexity for o in _repeats(outcomes, method, pattern))
        for method in METHODS
    }
    return (
        f"With {describe(pattern)}, perplexity goes from {dense:.4g} to {left['sparsegpt']:.4g}"
        f" with SparseGPT, {left['wanda']:.4g} with Wanda and {left['magnitude']:.4g} with"
        f" magnitude pruning. For one token, the zeros give a speed of"
        f" {in_dense:.2f} x dense in a dense product and"
        f" {in_rows:.2f} x in a sparse one."
    )
