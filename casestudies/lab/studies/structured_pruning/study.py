"""Prunes neurons and heads of a real model: what is lost, what gets smaller, what gets faster."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.generate.continuation import greedy
from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.models import files
from casestudies.lab.models.bert import BertShape
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.quantize.layerwise import compress
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.structured_pruning import choosing, pruning, removing, stored
from casestudies.lab.studies.structured_pruning.about import (
    BERT_STORED,
    MASKED,
    SCATTERED,
    SPARSITIES,
    SURGEON,
    StructuredPruningParameters,
)
from casestudies.lab.studies.structured_pruning.choosing import Costs
from casestudies.lab.studies.structured_pruning.removing import Part

METHODS = ("random", "magnitude", "contribution", SURGEON, SCATTERED)
FLOAT32_BYTES = 4
MIB, KIB, MILLION, GIGA = 2**20, 2**10, 1e6, 1e9
CHECKED = 32  # tokens on which removing is held against masking


def run(parameters: StructuredPruningParameters, setup: Setup, report: Report) -> str:
    """Prune and measure; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "float32"
    with report.stage("reading the model and the text", 0.1):
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        p, model = parameters, pretrained.model
        calibration, evaluation = (
            text.windows(documents, pretrained.tokenizer, p.length)
            for documents in (corpus.calibration, corpus.evaluation)
        )
        bench = Bench(
            p,
            setup,
            report,
            model,
            text.sample(calibration, p.calibration_windows, setup.seed).to(setup.device),
            text.spaced(evaluation, p.evaluation_windows).to(setup.device),
        )
    with report.stage("reading what comes to each layer", 0.1):
        bench.begin()
    with report.stage("pruning", 0.8) as stage:
        for done, (part, share) in enumerate(bench.cases):
            bench.prune(part, share, stage, done / len(bench.cases))
    count_stored(report)
    return bench.verdict()


def scattered(weight: Tensor, norms: Tensor, share: float) -> Tensor:
    """Return the matrix (out, in) with that share of each row zero, the least by Wanda's score.

    That is the size of a weight times the norm (in) of what comes to it.
    """
    scores = weight.abs() * norms
    least = scores.topk(round(share * weight.shape[1]), dim=1, largest=False).indices
    return weight.scatter(1, least, 0.0)


def shares(largest: float, count: int) -> list[float]:
    """Return so many shares at even distances, up to the largest."""
    return [largest * (n + 1) / count for n in range(count)]


@dataclass
class Bench:
    """The model, the texts, and what was found so far by part, share and variant."""

    parameters: StructuredPruningParameters
    setup: Setup
    report: Report
    model: LanguageModel
    calibration: Tensor
    evaluation: Tensor
    found: dict[tuple[Part, float, str], float] = field(default_factory=dict)

    @property
    def cases(self) -> list[tuple[Part, float]]:
        """Return what is removed in turn."""
        p = self.parameters
        return [(part, s) for part in pruning.PARTS for s in shares(p.share, p.shares)]

    def begin(self) -> None:
        """Report the model as it is, and learn what comes to its layers."""
        self.grams = pruning.grams(self.model, self.calibration, self.parameters.blocks)
        self.dense = perplexity(self.model, self.evaluation)
        self.report.measure("perplexity", "dense", self.dense)
        for part in pruning.PARTS:
            for variant in METHODS:
                self.report.point(f"perplexity by {part} removed", variant, 0, self.dense)
        count(self.model, "dense", self.report)

    def prune(self, part: Part, share: float, stage: Stage, done: float) -> None:
        """Report what every method makes of the model without that share of its units."""
        each = 1 / len(self.cases)
        random = choosing.at_random(torch.Generator().manual_seed(self.setup.seed))
        methods: dict[str, Costs] = {
            "random": random,
            "magnitude": choosing.magnitude,
            "contribution": choosing.contribution,
        }
        chosen: dict[str, list[Tensor]] = {}
        for number, (variant, costs) in enumerate(methods.items()):
            stage.at(done + 0.1 * number * each, f"{part}, {share:.0%}, {variant}")
            chosen[variant] = pruning.chosen(self.model, part, share, costs, self.grams)
            self._say(part, share, variant, pruning.smaller(self.model, part, chosen[variant]))
        stage.at(done + 0.3 * each, f"{part}, {share:.0%}, {SCATTERED}")
        self._say(part, share, SCATTERED, self._scattered(part, share))
        stage.at(done + 0.4 * each, f"{part}, {share:.0%}, {SURGEON}")
        # Blocks lose as many as by contribution: how far each can make up compares them badly.
        numbers = [len(one) for one in chosen["contribution"]]
        masked, removed = pruning.operated(self.model, part, numbers, self.calibration)
        smaller = pruning.smaller(masked, part, removed)
        self._say(part, share, SURGEON, smaller)
        stage.at(done + 0.8 * each, f"{part}, {share:.0%}, speed")
        self._compare(part, share, masked, smaller)

    def verdict(self) -> str:
        """Return a few sentences made of the run's own numbers."""
        return f"Dense, the perplexity is {self.dense:.1f}. " + " ".join(
            self._sentence(part) for part in pruning.PARTS
        )

    def _sentence(self, part: Part) -> str:
        share = self.parameters.share
        by = {v: self.found[part, share, v] for v in (SURGEON, "contribution", "magnitude")}
        return (
            f"Without {100 * share:.0f} % of the {part} it is {by[SURGEON]:,.1f} by the surgeon,"
            f" {by['contribution']:,.1f} by contribution and {by['magnitude']:,.0f} by magnitude;"
            f" {self.parameters.length} tokens are read {self.found[part, share, 'speed']:.2f} x as"
            f" fast, and with zeros in their place {self.found[part, share, MASKED]:.2f} x."
        )

    def _say(self, part: Part, share: float, variant: str, model: LanguageModel) -> None:
        at = {"part": part, "share": share}
        value = perplexity(model, self.evaluation)
        self.found[part, share, variant] = value
        self.report.measure("perplexity", variant, value, **at)
        self.report.measure("perplexity ratio", variant, value / self.dense, **at)
        self.report.point(f"perplexity by {part} removed", variant, 100 * share, value)

    def _scattered(self, part: Part, share: float) -> LanguageModel:
        """Return a copy with that share of zeros in each row of the matrices that the part has.

        They are Wanda's: where weights times what comes to them are smallest, on the same text.
        """
        nothing = [torch.zeros(0, dtype=torch.long)] * self.parameters.blocks
        found = pruning.masked(self.model, part, nothing)
        names = {
            "neurons": ("gate", "up", "down"),
            "head groups": ("query", "key", "value", "output"),
        }[part]
        blocks = pruning.blocks_of(found, self.parameters.blocks)
        ours = {id(getattr(block, name).weight) for block in blocks for name in names}

        def scatter(weights: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
            norms = torch.cat([x.flatten(0, -2) for x in inputs]).norm(dim=0)
            return [scattered(w, norms, share) if id(w) in ours else w for w in weights]

        compress(found, self.calibration, scatter, self.parameters.blocks)
        return found

    @torch.inference_mode()
    def _compare(
        self, part: Part, share: float, masked: LanguageModel, smaller: LanguageModel
    ) -> None:
        """Report the size and speed of the smaller model, and how far it is from the masked."""
        at = {"part": part, "share": share}
        tokens = self.evaluation[:1]
        apart = (masked(tokens[:, :CHECKED]) - smaller(tokens[:, :CHECKED])).abs().max().item()
        self.report.measure("equality error", SURGEON, apart, **at)
        count(smaller, SURGEON, self.report, **at)
        models = {"dense": self.model, MASKED: masked, SURGEON: smaller}
        reads = {name: lambda m=one: m.hidden(tokens) for name, one in models.items()}
        speed = self._time("forward time", "speed-up", reads, at)
        self.found[part, share, "speed"] = speed[SURGEON]
        self.found[part, share, MASKED] = speed[MASKED]
        steps = {name: token_step(one, tokens) for name, one in models.items()}
        self._time("time per token", "speed-up of a token", steps, at)

    def _time(
        self,
        metric: str,
        faster: str,
        runs: Mapping[str, Callable[[], object]],
        at: Mapping[str, Part | float],
    ) -> dict[str, float]:
        taken = alternately(runs, self.parameters.rounds, self.setup.device)
        for variant, times in taken.items():
            self.report.measure_time(metric, variant, times, **at)
        speed = ratios(taken, to="dense")
        for variant, several in speed.items():
            self.report.measure(faster, variant, several, **at)
        return {variant: statistics.median(several) for variant, several in speed.items()}


def token_step(model: LanguageModel, tokens: Tensor) -> Callable[[], Tensor]:
    """Return the step that adds a token after those (1, T), whose keys and values are kept."""
    cache = removing.UnevenCache()
    model.hidden(tokens, cache)

    def step() -> Tensor:
        cache.rewind(tokens.shape[1])
        return greedy(model.logits(model.hidden(tokens[:, -1:], cache))[:, -1])

    return step


def count(model: LanguageModel, variant: str, report: Report, **at: Part | float) -> None:
    """Report parameters, operations of a token, and bytes of its keys and values."""
    linears = model.linears()
    head = model.embedding.weight if model.head is None else model.head.weight
    products = removing.parameters(linears.values()) + head.numel()
    report.measure("parameters", variant, removing.parameters([model]) / MILLION, **at)
    report.measure("operations", variant, 2 * products / GIGA, **at)
    kept = sum(
        layer.out_features for name, layer in linears.items() if name.endswith(("key", "value"))
    )
    report.measure("cache per token", variant, FLOAT32_BYTES * kept / KIB, **at)


def count_stored(report: Report, sparsities: Sequence[float] = SPARSITIES) -> None:
    """Report the bytes of BERT-base stored dense and as compound compression would."""
    for sparsity in sparsities:
        dense, compressed = stored.encoder_bytes(BertShape(), sparsity)
        at = {"sparsity": sparsity}
        report.measure("encoder size", BERT_STORED, compressed / MIB, **at)
        report.measure("compound compression", BERT_STORED, dense / compressed, **at)
