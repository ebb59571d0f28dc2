"""Trains a small mixture of experts, compresses it in several ways and measures what is left."""

import bisect
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.kernels import attempting, why_not
from casestudies.lab.measure.cost import Measured
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.qmoe import compression, expert_products, model, speed, training
from casestudies.lab.studies.qmoe.about import DENSE_BITS, DOCUMENTED, SWITCH_C_MIB, QMoeParameters
from casestudies.lab.studies.qmoe.codes import container, dictionary
from casestudies.lab.studies.qmoe.codes.container import CODES, Code
from casestudies.lab.studies.qmoe.compression import Compressed

VOCABULARY = 1024
METHODS = ("rtn", "gptq")
CURVE = (0.7, 0.85, 1.0, 1.2, 1.4)
CURVE_CODES: tuple[Code, ...] = ("paper", "tunstall-16")
IN_CACHE = 16  # MiB
# Shares of the run.
READING, TRAINING, CONTROLS, COMPRESSING, CODING = 0.05, 0.53, 0.02, 0.35, 0.05


@dataclass(frozen=True)
class RoundingTrial:
    """One method on a grid that reaches to `clip` times each row's extremes."""

    method: str
    clip: float


@dataclass(frozen=True)
class Size:
    """Bits of all experts in one code: of the code words, and of the bytes as written."""

    payload: int
    total: int


@dataclass(frozen=True)
class RoundedModel:
    """What one trial measured, sizes in bits per weight of the experts."""

    loss_increase: float
    standard_error: float
    zeros: float
    entropy: float
    payload: dict[Code, float]
    total: dict[Code, float]
    fallen_back: int
    cost: Measured


def run(parameters: QMoeParameters, setup: Setup, report: Report) -> str:
    """Measure the trained model, the controls and every trial; return the verdict.

    Raises ValueError if the text is too short.
    """
    bench = QMoeBench(parameters, setup, report)
    report.measure("perplexity", "trained", math.exp(bench.loss))
    with report.stage("measuring the model without its experts", CONTROLS):
        controls = {
            "experts zeroed": bench.without_experts(),
            "experts reset": bench.reset_experts(),
        }
    for control, increase in controls.items():
        _report_loss(report, control, bench.loss, increase)
    outcomes = bench.carry_out_all(plan(parameters))
    for method in METHODS:
        _report_method(report, bench, method, outcomes[RoundingTrial(method, parameters.clip)])
    if ratios := matched_ratios(outcomes):
        report.measure("matched loss ratio", "gptq", ratios)
    with report.stage("measuring sizes and speeds of the codes", CODING):
        _report_sizes(report, setup)
        products = _report_products(report, setup, parameters.speed_size)
        _report_overheads(report, setup, parameters.speed_size)
    return verdict(parameters.clip, bench, outcomes, controls["experts zeroed"], products)


def plan(parameters: QMoeParameters) -> list[RoundingTrial]:
    """Return the trials, those with the reader's own grid first."""
    others = [clip for clip in CURVE if clip != parameters.clip] if parameters.curve else []
    return [
        RoundingTrial(method, clip) for clip in [parameters.clip, *others] for method in METHODS
    ]


class QMoeBench:
    """The trained model with its experts at hand, and the texts."""

    def __init__(self, parameters: QMoeParameters, setup: Setup, report: Report) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        report.precision = "float32"
        with report.stage("reading the text and training a tokenizer", READING):
            corpus = text.corpus(
                setup.text, DOCUMENTED if parameters.docstrings else (), "NumPy, pandas, Django"
            )
            report.source("text", corpus.name, corpus.sha256)
            tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
            train = text.windows(corpus.calibration, tokenizer, parameters.window)
            evaluation = text.windows(corpus.evaluation, tokenizer, parameters.window)
        evaluation = text.spaced(evaluation, parameters.evaluation_windows)
        calibration = text.sample(train, parameters.calibration_windows, setup.seed)
        self.evaluation = evaluation.to(setup.device)
        self.calibration = calibration.to(setup.device)
        generator = torch.Generator().manual_seed(setup.seed)
        config = model.SwitchConfig(
            tokenizer.get_vocab_size(), parameters.width, parameters.layers, parameters.experts
        )
        self.model = model.SwitchModel(config, generator).to(setup.device)
        self.initial = self._copy_experts()
        with report.stage("training", TRAINING) as stage:
            self._train(train.to(setup.device), generator, stage)
        self.trained = self._copy_experts()
        self._losses = model.losses(self.model, self.evaluation)
        self.loss = self._losses.mean().item()

    def carry_out_all(self, trials: list[RoundingTrial]) -> dict[RoundingTrial, RoundedModel]:
        """Carry out the trials in turn and report their points of each curve."""
        outcomes = {}
        for trial in trials:
            title = f"{trial.method}, grid to {trial.clip:g} x"
            with self.report.stage(title, COMPRESSING / len(trials)) as stage:
                outcomes[trial] = self.carry_out(trial, stage)
            _report_curves(self.report, trial, outcomes[trial])
        return outcomes

    def carry_out(self, trial: RoundingTrial, stage: Stage) -> RoundedModel:
        """Compress the trained experts as the trial says and measure what is left."""
        self._restore(self.trained)
        stage.at(0, "rounding")
        with Measured(self.setup.device) as cost:
            compressed = self._compress(
                trial, lambda block: stage.at(0.7 * (block + 1) / self.parameters.layers)
            )
        stage.at(0.7, "loss and sizes")
        increases = model.losses(self.model, self.evaluation) - self._losses
        sizes = {code: size(compressed, code) for code in CODES}
        weights = self.expert_weights
        return RoundedModel(
            loss_increase=increases.mean().item(),
            standard_error=increases.std().item() / len(increases) ** 0.5,
            zeros=sum(m.zeros() * m.trits.size for m in compressed.matrices) / weights,
            entropy=sum(m.entropy() * m.trits.size for m in compressed.matrices) / weights,
            payload={code: found.payload / weights for code, found in sizes.items()},
            total={code: found.total / weights for code, found in sizes.items()},
            fallen_back=compressed.fallen_back,
            cost=cost,
        )

    def without_experts(self) -> float:
        """Return how much the loss rises when every expert returns zero."""
        return self._increase([torch.zeros_like(weights) for weights in self.trained])

    def reset_experts(self) -> float:
        """Return how much the loss rises with the experts' weights from before training."""
        return self._increase(self.initial)

    @property
    def expert_weights(self) -> int:
        """Return the number of weights in the experts."""
        return sum(weights.numel() for weights in self.trained)

    def whole_model(self, bits_per_weight: float) -> float:
        """Return bits per parameter of the model if its experts take so many per weight."""
        parameters = sum(weights.numel() for weights in self.model.parameters())
        dense = parameters - self.expert_weights
        return (bits_per_weight * self.expert_weights + DENSE_BITS * dense) / parameters

    def _train(self, windows: Tensor, generator: torch.Generator, stage: Stage) -> None:
        steps = self.parameters.steps
        recent: list[float] = []

        def observe(step: int, loss: float) -> None:
            recent.append(loss)
            if step % max(1, steps // 50) == 0 or step == steps:
                mean = statistics.mean(recent)
                recent.clear()
                stage.at(step / steps, f"step {step} of {steps}")
                self.report.point("training loss by step", "trained", step, mean)
                if step == steps:
                    self.report.measure("training loss", "trained", mean)

        training.train(self.model, windows, steps, generator, observe)

    def _compress(self, trial: RoundingTrial, observe: Callable[[int], None]) -> Compressed:
        if trial.method == "rtn":
            return compression.by_rounding(self.model, trial.clip)
        damping = self.parameters.damping
        return compression.by_gptq(self.model, self.calibration, trial.clip, damping, observe)

    def _increase(self, experts: list[Tensor]) -> float:
        self._restore(experts)
        return (model.losses(self.model, self.evaluation) - self._losses).mean().item()

    def _stacks(self) -> list[Tensor]:
        return [weights.data for e in self.model.experts() for weights in (e.up, e.down)]

    def _copy_experts(self) -> list[Tensor]:
        return [weights.clone() for weights in self._stacks()]

    def _restore(self, experts: list[Tensor]) -> None:
        for weights, old in zip(self._stacks(), experts, strict=True):
            weights.copy_(old)


def size(compressed: Compressed, code: Code) -> Size:
    """Return what the experts take in the code, read from the bytes themselves."""
    files = [container.pack(matrix, code) for matrix in compressed.matrices]
    payload = sum(container.unpack(data).units.nbytes for data in files)
    return Size(8 * payload, 8 * sum(map(len, files)))


def matched_ratios(outcomes: dict[RoundingTrial, RoundedModel]) -> list[float]:
    """Return GPTQ's loss increase over round-to-nearest's at the entropy of each of its grids.

    GPTQ's loss at that entropy is read between its two nearest grids, in logarithms. Grids of
    round-to-nearest that are outside all of GPTQ's are left out.
    """
    curve = {method: [] for method in METHODS}  # type: dict[str, list[tuple[float, float]]]
    for trial, outcome in outcomes.items():
        curve[trial.method].append((outcome.entropy, outcome.loss_increase))
    known = sorted(curve["gptq"])
    ratios = []
    for entropy, loss in curve["rtn"]:
        right = bisect.bisect_left(known, (entropy,))
        if 0 < right < len(known) and min(loss, known[right][1], known[right - 1][1]) > 0:
            (x0, y0), (x1, y1) = known[right - 1 : right + 1]
            share = (entropy - x0) / (x1 - x0)
            ratios.append(math.exp((1 - share) * math.log(y0) + share * math.log(y1)) / loss)
    return ratios


def _report_curves(report: Report, trial: RoundingTrial, outcome: RoundedModel) -> None:
    rise = outcome.loss_increase
    report.point("loss increase by entropy", trial.method, outcome.entropy, rise)
    report.point("loss increase by clip", trial.method, trial.clip, rise)
    for code in CURVE_CODES:
        size = outcome.total[code]
        report.point("loss increase by size", trial.method, size, rise, code=code)
    report.log(
        f"{trial.method}, grid to {trial.clip:g} x: loss increase {rise:.4f} nats"
        f" (standard error {outcome.standard_error:.4f}), entropy {outcome.entropy:.4f} bits"
    )


def _report_loss(report: Report, variant: str, loss: float, increase: float) -> None:
    report.measure("loss increase", variant, increase)
    report.measure("perplexity", variant, math.exp(loss + increase))


def _report_method(report: Report, bench: QMoeBench, method: str, outcome: RoundedModel) -> None:
    _report_loss(report, method, bench.loss, outcome.loss_increase)
    report.measure("sparsity", method, outcome.zeros)
    report.measure("entropy", method, outcome.entropy)
    for code in CODES:
        whole = bench.whole_model(outcome.total[code])
        report.measure("payload", method, outcome.payload[code], code=code)
        report.measure("bits per weight", method, outcome.total[code], code=code)
        report.measure("bits per parameter", method, whole, code=code)
        report.measure("compression ratio", method, DENSE_BITS / whole, code=code)
    report.measure("compression time", method, outcome.cost.seconds)
    report.measure("peak memory", method, outcome.cost.peak_mib)
    if method == "gptq":
        report.measure("experts rounded instead", method, outcome.fallen_back)


def _report_sizes(report: Report, setup: Setup) -> None:
    """Report how small random weights get in each code, and how fast a CPU writes and reads it."""
    zeros = dictionary.PAPER_ZERO / 10_000
    matrix = speed.random_weights(speed.CODED_ROWS, speed.COLUMNS, zeros, setup.seed)
    millions = matrix.trits.size / 1e6
    for code, coded in speed.code_all(matrix).items():
        report.measure("payload over entropy", code, coded.payload / matrix.entropy())
        report.measure("bits per random weight", code, coded.total)
        if setup.device == "cpu":
            report.measure("encoding speed", code, [millions / s for s in coded.encoding])
            report.measure("decoding speed", code, [millions / s for s in coded.decoding])


def _report_products(report: Report, setup: Setup, mebibytes: int) -> dict[str, float]:
    """Report the products' speeds; return those at that size by variant, none on a GPU."""
    if setup.device != "cpu":
        report.log("The codes are written and read by a CPU: no speeds of that on a GPU")
        return {}
    medians = {}
    for mib in sorted({min(IN_CACHE, mebibytes), mebibytes}):
        for name, ratios in speed.product_ratios(mib, setup.seed).items():
            report.measure("product speed", name, ratios, size=mib)
            medians[name] = statistics.median(ratios)
    return medians


def _report_overheads(report: Report, setup: Setup, mebibytes: int) -> None:
    """Report what products from the codes cost a GPU; say why not where there is no kernel.

    Where the size is less than that of an expert of Switch-c2048, small ones are multiplied.
    """
    if reason := why_not(setup.device):
        report.log(f"No product with experts of Switch-c2048’s shapes was timed: {reason}")
        return
    whole = mebibytes >= SWITCH_C_MIB  # pragma: no cover - needs a GPU
    shapes = expert_products.SWITCH_C if whole else expert_products.SMALL
    matrices = expert_products.experts(setup.seed, shapes)
    for code in expert_products.CODES:
        for tokens in expert_products.TOKENS:
            with attempting(f"{code}, {tokens} tokens", report.log):
                found = expert_products.timed(matrices, code, tokens, setup.device)
                report_overhead(report, code, tokens, found)


def report_overhead(report: Report, code: Code, tokens: int, found: expert_products.Timed) -> None:
    """Report that the products are right, then what they cost; of wrong ones nothing more."""
    report.measure("equality error", code, found.apart, tokens=tokens)
    if not found.overheads:
        report.log(f"{code}, {tokens} tokens: not the product of the decoded weights, so not timed")
        return
    report.measure("product overhead", code, list(found.overheads), tokens=tokens)
    report.measure_share("share of copying", code, found.of_copying, tokens=tokens)


def verdict(
    clip: float,
    bench: QMoeBench,
    outcomes: dict[RoundingTrial, RoundedModel],
    zeroed: float,
    products: dict[str, float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    rtn, gptq = (outcomes[RoundingTrial(method, clip)] for method in METHODS)
    loss, ours = bench.loss, gptq.total["tunstall-16"]
    quality = (
        f"Perplexity goes from {math.exp(loss):.4g} to {math.exp(loss + gptq.loss_increase):.4g}"
        f" with GPTQ, {math.exp(loss + rtn.loss_increase):.4g} with round-to-nearest and"
        f" {math.exp(loss + zeroed):.4g} without experts. GPTQ's experts take"
        f" {gptq.total['paper']:.3g} bits per weight in the publication's code and {ours:.3g} in"
        f" ours, metadata included; the whole model {bench.whole_model(ours):.3g} per parameter."
    )
    if not products:
        return quality
    return (
        f"{quality} A product of {bench.parameters.speed_size} MiB of weights runs at"
        f" {products['paper']:.2f} x dense from the publication's code,"
        f" {products['tunstall-16']:.2f} x from ours and {products['int8']:.2f} x from one byte a"
        f" weight."
    )
