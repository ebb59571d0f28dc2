"""Trains a model and its predictors, and decodes with what these choose."""

import copy
import itertools
import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text, tokenizers
from casestudies.lab.equations.experts import distinct_experts
from casestudies.lab.equations.operations import forward_operations
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.models.language_model import Config
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.contextual_sparsity import choosing, skipping
from casestudies.lab.studies.contextual_sparsity.about import (
    BATCHES,
    DENSE,
    HEAD_WIDTH,
    NEURONS,
    ORACLE,
    PREDICTED,
    RANDOM,
    STATIC,
    WINDOW,
    ContextualSparsityParameters,
)
from casestudies.lab.studies.contextual_sparsity.choosing import Kept, Predictor, Recorder, Scores
from casestudies.lab.studies.contextual_sparsity.model import (
    BATCH,
    blocks_of,
    cache_for,
    for_decoding,
    train,
    untrained,
)
from casestudies.lab.studies.contextual_sparsity.skipping import Skipping
from casestudies.lab.train import loop

VOCABULARY, PEAK_RATE = 1024, 3e-3
CHOOSING = 32  # windows of training text on which it is chosen how much stays
TIMES_ACTIVE = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)  # neurons that stay, of those that speak on average
READ, DECODED = 32, 16  # tokens before those that are timed, and those
PLACES = range(0, WINDOW, WINDOW // DECODED)  # in a window, where sequences are decoded together
ALLOWED_ERROR = 1e-9  # of a logit, in float64
MIB = 2**20


def run(parameters: ContextualSparsityParameters, setup: Setup, report: Report) -> str:
    """Train, choose and decode; return the verdict. Raises ValueError if the text is too short."""
    report.precision = "float32"
    bench = Bench(parameters, setup, report)
    with report.stage("training", 0.5) as stage:
        bench.train(stage)
    with report.stage("training predictors", 0.15):
        bench.fit()
    with report.stage("choosing how much stays", 0.1):
        bench.choose()
    with report.stage("reading the text kept apart", 0.15) as stage:
        worse, recall = bench.evaluate(stage)
    with report.stage("decoding", 0.1):
        bench.check()
        ways = bench.ways()
        read = bench.count(ways)
        taken = bench.time(ways)
        many, faster_many = bench.batches()
    dense, ours = (1000 * statistics.median(taken[one]) for one in (DENSE, PREDICTED))
    return (
        f"A token takes {ours:.2f} instead of {dense:.2f} ms where predictors choose"
        f" {bench.share:.1f} % of the neurons and {bench.heads} of {bench.config.heads} heads,"
        f" {100 * read:.0f} % of the weights being read; perplexity is {worse[PREDICTED]:.3f} x"
        f" that of the dense model, by an oracle {worse[ORACLE]:.3f} x, with the same ones for"
        f" every token {worse[STATIC]:.3f} x. Chosen neurons give {recall:.0f} % of what all give."
        f" {BATCHES[-1]} sequences together ask for {many:.0f} % of the neurons, at"
        f" {faster_many:.2f} x the dense speed."
    )


class Bench:
    """The text, the model, what predicts its neurons and heads, and how many of them stay."""

    def __init__(
        self, parameters: ContextualSparsityParameters, setup: Setup, report: Report
    ) -> None:
        self.p, self.setup, self.report = parameters, setup, report
        corpus = text.corpus(setup.text)
        report.source("text", corpus.name, corpus.sha256)
        tokenizer = tokenizers.byte_pairs(corpus.calibration, VOCABULARY)
        self._training, kept_apart = (
            text.windows(documents, tokenizer, WINDOW + 1).to(setup.device)
            for documents in (corpus.calibration, corpus.evaluation)
        )
        self._evaluation = text.spaced(kept_apart, parameters.evaluation_windows)
        shuffled = text.sample(self._training, CHOOSING + parameters.recorded_windows, setup.seed)
        self._choosing, self._recorded = shuffled[:CHOOSING], shuffled[CHOOSING:]
        p, heads = parameters, parameters.width // HEAD_WIDTH
        self.config = Config(
            VOCABULARY, p.width, p.expansion * p.width, p.layers, heads, heads, 10_000.0, 1e-5
        )
        self._model = untrained(self.config, self._generator(), setup.device)
        self._neurons: list[Predictor] = []
        self._heads: list[Predictor] = []

    @property
    def share(self) -> float:
        """Return how many percent of the neurons are chosen for a token."""
        return self._percent(self._counts)

    def train(self, stage: Stage) -> None:
        """Train the model on all but the windows on which something is chosen."""
        chosen = {tuple(row) for row in self._choosing.tolist()}
        rows = [n for n, row in enumerate(self._training.tolist()) if tuple(row) not in chosen]
        batches = loop.drawn(self._training[rows], self._generator(), BATCH)
        losses = train(
            self._model, batches, loop.Schedule(self.p.steps, PEAK_RATE), self.p.penalty, stage.at
        )
        last = losses[-max(1, len(losses) // 10) :]
        self.report.measure("training loss", DENSE, sum(last) / len(last))

    def fit(self) -> None:
        """Train a predictor of neurons and one of heads for every block."""
        p = self.p
        neurons, heads = self._recording(self._recorded)
        self._means, self._heads_means, self._active = [], [], []
        for layer in range(p.layers):
            seen, given, lengths = neurons.seen(layer), neurons.given(layer), heads.given(layer)
            speaking = given > 0
            longest = lengths.amax(-1, keepdim=True)
            for predictors, wanted in (
                (self._neurons, speaking),
                (self._heads, lengths / longest.clamp(min=1e-30)),
            ):
                predictors.append(
                    choosing.fitted(seen, wanted, p.rank, p.predictor_steps, self.setup.seed)
                )
            self._means.append(given.mean(0))
            self._heads_means.append(lengths.mean(0))
            self._active.append(speaking.float().mean().item())

    def choose(self) -> None:
        """Find the fewest neurons, then heads, with which perplexity rises within the tolerance.

        Half of it is for neurons, over the dense model, and half for heads, over what neurons left.
        Where no number of neurons that is tried is enough, the largest stays. At least one head is
        left out, whatever that costs.
        """
        allowed = 1 + self.p.tolerance / 2
        by_neurons, by_heads = map(choosing.predicted, (self._neurons, self._heads))
        dense = self._perplexity(self._choosing)
        for times in TIMES_ACTIVE:
            self._counts = self._counted(times)
            kept = Kept(by_neurons, self._counts)
            before = self._perplexity(self._choosing, kept)
            if before <= allowed * dense:
                break
        self.heads = self.config.heads - 1
        while self.heads > 1:
            fewer = Kept(by_heads, [self.heads - 1] * self.p.layers)
            if self._perplexity(self._choosing, kept, fewer) > allowed * before:
                break
            self.heads -= 1

    def evaluate(self, stage: Stage) -> tuple[dict[str, float], float]:
        """Report perplexity by how much stays and who chooses; return ratios and recall."""
        p, dense = self.p, self._perplexity(self._evaluation)
        self.report.measure("perplexity", DENSE, dense)
        self.report.measure("perplexity ratio", DENSE, 1)
        by_neurons: dict[str, Scores] = {
            PREDICTED: choosing.predicted(self._neurons),
            ORACLE: choosing.oracle,
            STATIC: choosing.static(self._means),
            RANDOM: choosing.at_random(self._generator()),
        }
        by_heads: dict[str, Scores] = {
            **by_neurons,
            PREDICTED: choosing.predicted(self._heads),
            STATIC: choosing.static(self._heads_means),
        }
        for done, times in enumerate(TIMES_ACTIVE):
            stage.at(done / len(TIMES_ACTIVE), f"{times:g} times as many as speak")
            counts = self._counted(times)
            for variant, scores in by_neurons.items():
                found = self._perplexity(self._evaluation, Kept(scores, counts)) / dense
                self.report.point(
                    "perplexity by neurons read", variant, self._percent(counts), found
                )
        worse: dict[str, float] = {}
        heads = [self.heads] * p.layers
        for variant, scores in by_neurons.items():
            neurons, of_heads = Kept(scores, self._counts), Kept(by_heads[variant], heads)
            found = self._perplexity(self._evaluation, neurons, of_heads)
            worse[variant] = found / dense
            self.report.measure("perplexity", variant, found)
            self.report.measure("perplexity ratio", variant, worse[variant])
        only = self._perplexity(self._evaluation, Kept(by_neurons[PREDICTED], self._counts))
        self.report.measure("perplexity", NEURONS, only)
        self.report.measure("perplexity ratio", NEURONS, only / dense)
        return worse, self._recall(by_neurons)

    def check(self) -> None:
        """Report how far decoding with all that speaks is from the dense model, and no further.

        Raises ArithmeticError where it is further than rounding in float64.
        """
        model = copy.deepcopy(self._model).double()
        blocks = blocks_of(model)

        def speaking(layer: int, seen: Tensor, x: Tensor) -> Tensor:
            return (blocks[layer].up(x) > 0).nonzero().flatten()

        def all_heads(layer: int, seen: Tensor, x: Tensor) -> Tensor:
            return torch.arange(self.config.heads, device=x.device)

        decode = Skipping(model, self.p.ahead, speaking, all_heads)
        cache = cache_for(model, DECODED)
        tokens = self._evaluation[:1, :DECODED]
        found = torch.cat([decode(token, cache) for token in tokens.split(1, dim=1)], dim=1)
        apart = (found - model(tokens)).abs().max().item()
        if not apart <= ALLOWED_ERROR:
            raise ArithmeticError(f"silent neurons left out change a logit by {apart:g}")
        self.report.measure("equality error", ORACLE, apart)

    def count(self, ways: dict[str, Skipping]) -> float:
        """Report what a token reads; return its share of what it reads of the dense model.

        Raises ArithmeticError where what was read is not what the formula says.
        """
        p, config = self.p, self.config
        heads = [self.heads] * p.layers
        rows = {
            DENSE: (self._dense_numbers(), 100.0, 100.0),
            NEURONS: (skipping.numbers_read(config, self._counts, None, p.rank), self.share, 100.0),
            PREDICTED: (
                skipping.numbers_read(config, self._counts, heads, p.rank),
                self.share,
                100 * self.heads / config.heads,
            ),
        }
        for variant in (NEURONS, PREDICTED):
            decode, expected = ways[variant], rows[variant][0]
            decode(self._evaluation[:1, :1], cache_for(self._model, 1))
            if decode.numbers_read != expected:
                raise ArithmeticError(f"{variant} read {decode.numbers_read}, not {expected}")
        for variant, (numbers, of_neurons, of_heads) in rows.items():
            operations = forward_operations(parameters=numbers, tokens=1)
            self.report.measure("operations of a token", variant, operations / 1e6)
            self.report.measure("weights read", variant, 4 * numbers / MIB)
            self.report.measure("neurons read", variant, of_neurons)
            self.report.measure("heads read", variant, of_heads)
        return rows[PREDICTED][0] / rows[DENSE][0]

    def time(self, skipping_ways: dict[str, Skipping]) -> dict[str, list[float]]:
        """Report the time of a token by each way to decode; return it by variant."""
        cache = cache_for(self._model, READ + DECODED)
        tokens = self._evaluation[:1, : READ + DECODED]
        with torch.inference_mode():
            self._model(tokens[:, :READ], cache)
        following = tokens[:, READ:].split(1, dim=1)

        @torch.inference_mode()
        def decoded(by: skipping.Decode) -> None:
            cache.rewind(READ)
            for token in following:
                by(token, cache)

        ways: dict[str, skipping.Decode] = {DENSE: for_decoding(self._model), **skipping_ways}
        runs = {variant: lambda by=by: decoded(by) for variant, by in ways.items()}
        taken = alternately(runs, self.p.rounds, self.setup.device)
        for variant, times in taken.items():
            self.report.measure_time("time per token", variant, [t / DECODED for t in times])
        for variant, faster in ratios(taken, DENSE).items():
            self.report.measure("speed-up of a token", variant, faster)
        return {variant: [t / DECODED for t in times] for variant, times in taken.items()}

    @torch.inference_mode()
    def batches(self) -> tuple[float, float]:
        """Report what several sequences ask for together; return it, and the speed, of the most."""
        neurons, _ = self._recording(self._evaluation[: BATCHES[-1]])
        layers = range(self.p.layers)
        seen = [neurons.seen(layer).unflatten(0, (-1, WINDOW)) for layer in layers]
        for batch in BATCHES:
            asked = [
                len(self._asked(layer, seen[layer][:batch, at]).unique())
                for layer in layers
                for at in PLACES
            ]
            read = 100 * statistics.mean(asked) / self.config.feed_forward
            alone = [
                distinct_experts(experts=self.config.feed_forward, chosen=count, batch=batch)
                for count in self._counts
            ]
            self.report.measure("neurons read", PREDICTED, read, batch=batch)
            self.report.point("neurons read by batch", PREDICTED, batch, read)
            self.report.point("neurons read by batch", RANDOM, batch, self._percent(alone))
            faster = self._time_together([of_layer[:batch] for of_layer in seen])
            self.report.measure("speed-up of neurons", PREDICTED, faster, batch=batch)
            self.report.point("speed-up by batch", PREDICTED, batch, statistics.median(faster))
        return read, statistics.median(faster)

    def _time_together(self, seen: Sequence[Tensor]) -> list[float]:
        """Return how much faster the chosen neurons of all blocks are, round by round.

        What predictors see (B, T, C) by layer is also what neurons are given: only time counts.
        """
        rows = [
            (block.up.weight, block.down.weight.T.contiguous()) for block in blocks_of(self._model)
        ]
        dense_blocks = blocks_of(for_decoding(self._model))

        def dense() -> None:
            for at in PLACES:
                for layer, block in enumerate(dense_blocks):
                    block.down(torch.relu(block.up(seen[layer][:, at])))

        def chosen() -> None:
            for at in PLACES:
                for layer, (up, down) in enumerate(rows):
                    x = seen[layer][:, at]
                    skipping.together(x, up, down, self._asked(layer, x))

        taken = alternately({DENSE: dense, PREDICTED: chosen}, self.p.rounds, self.setup.device)
        return ratios(taken, DENSE)[PREDICTED]

    def ways(self) -> dict[str, Skipping]:
        """Return what decodes with chosen units, by variant."""
        p = self.p
        heads = [self.heads] * p.layers
        neurons = skipping.best(self._neurons, self._counts)
        both = [*self._neurons, *self._heads]
        return {
            PREDICTED: Skipping(
                self._model, p.ahead, neurons, skipping.best(self._heads, heads), both
            ),
            NEURONS: Skipping(self._model, p.ahead, neurons, None, self._neurons),
            RANDOM: Skipping(
                self._model,
                p.ahead,
                self._drawn(self.config.feed_forward, self._counts),
                self._drawn(self.config.heads, heads),
            ),
        }

    def _drawn(self, units: int, counts: Sequence[int]) -> skipping.Choice:
        """Return a choice of so many units of each layer, drawn ahead for DECODED tokens."""
        generator, device = self._generator(), self._evaluation.device
        rounds = [
            itertools.cycle(
                [
                    torch.randperm(units, generator=generator)[:count].to(device)
                    for _ in range(DECODED)
                ]
            )
            for count in counts
        ]
        return lambda layer, seen, x: next(rounds[layer])

    def _recall(self, by_neurons: dict[str, Scores]) -> float:
        """Report who finds how much of what neurons give; return the mean of predictors."""
        found = []
        neurons, _ = self._recording(self._evaluation)
        for layer, count in enumerate(self._counts):
            seen, given = neurons.seen(layer), neurons.given(layer)
            active = 100 * (given > 0).float().mean().item()
            self.report.measure("active neurons", DENSE, active, block=layer + 1)
            for variant, scores in by_neurons.items():
                chosen = choosing.top(scores(layer, seen, given), count)
                share = 100 * ((given * chosen).sum() / given.sum().clamp(min=1e-30)).item()
                self.report.measure("recall", variant, share, block=layer + 1)
                if variant == PREDICTED:
                    found.append(share)
        return statistics.mean(found)

    def _recording(self, windows: Tensor) -> tuple[Recorder, Recorder]:
        """Return what predictors see of the windows, and what neurons and heads give, all kept."""
        p, config = self.p, self.config
        neurons, heads = Recorder(p.layers), Recorder(p.layers)
        everything = (
            Kept(neurons, [config.feed_forward] * p.layers),
            Kept(heads, [config.heads] * p.layers),
        )
        for part in windows.split(loop.AT_ONCE):
            choosing.read(self._model, part[:, :-1], p.ahead, *everything)
        return neurons, heads

    def _asked(self, layer: int, seen: Tensor) -> Tensor:
        """Return which neurons predictors choose (B, k) for what they see (B, C)."""
        return self._neurons[layer](seen).topk(self._counts[layer], sorted=False).indices

    def _counted(self, times: float) -> list[int]:
        """Return how many neurons of each layer are so many times those that speak."""
        width = self.config.feed_forward
        return [min(width, max(1, round(times * share * width))) for share in self._active]

    def _percent(self, counts: Sequence[float]) -> float:
        return 100 * statistics.mean(counts) / self.config.feed_forward

    def _dense_numbers(self) -> int:
        """Return the numbers of all matrices of the model, those of its tied head once."""
        return sum(weight.numel() for weight in self._model.parameters() if weight.dim() == 2)

    def _perplexity(
        self, windows: Tensor, neurons: Kept | None = None, heads: Kept | None = None
    ) -> float:
        parts = windows.split(loop.AT_ONCE)
        total = 0.0
        for part in parts:
            logits = choosing.read(self._model, part[:, :-1], self.p.ahead, neurons, heads)
            total += len(part) * loop.token_loss(logits, part).item()
        return math.exp(total / len(windows))

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.setup.seed)
