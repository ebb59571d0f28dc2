"""Reads texts of different lengths with and without padding: the same numbers, less work."""

import statistics
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.models import files
from casestudies.lab.models.packed import Packing
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.padding_removal import heads, reading
from casestudies.lab.studies.padding_removal.about import (
    ATTENTION_FILL,
    BERT_HEADS,
    HEAD_WIDTH,
    SHORTEST,
    PaddingRemovalParameters,
)
from casestudies.lab.studies.padding_removal.reading import Counted, Reader, Reading

FILLS = (0.2, 0.4, 0.6, 0.8, 1.0)
POOLS = (1, 2, 4, 8, 16, 32, 64)
FEWEST = 2  # tokens of a text that can be scored
TOLERANCE = 2e-3  # nats; float32, in batches of other shapes
# Of random heads; texts that saw each other would be apart by whole numbers.
ATTENTION_TOLERANCE = {torch.float32: 1e-4, torch.float16: 5e-2}


def run(parameters: PaddingRemovalParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text has too few paragraphs.

    Raises RuntimeError where a way does not say what the text read alone says, or where a count is
    not the equation's.
    """
    gpu = setup.device == "cuda"
    report.precision = "float32, times in bfloat16 and float16" if gpu else "float32"
    bench = PaddingBench(parameters, setup, report)
    with report.stage("counting and comparing", 0.2) as stage:
        scores = bench.compare(stage)
    with report.stage("planning buckets", 0.01):
        bench.plan()
    with report.stage("timing on real lengths", 0.5):
        real = bench.on_real_lengths()
    with report.stage("timing as the fill grows", 0.2) as stage:
        full = bench.as_the_fill_grows(stage)
    with report.stage("attention alone", 0.09) as stage:
        bench.attention_alone(stage)
    return verdict(bench, scores, real, full)


class PaddingBench:
    """The model, its texts, and the ways to read them."""

    def __init__(self, parameters: PaddingRemovalParameters, setup: Setup, report: Report) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        self._generator = torch.Generator().manual_seed(setup.seed)
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        self.model = pretrained.model
        parts = (part for document in corpus.evaluation for part in document.text.split("\n\n"))
        read = pretrained.tokenizer.encode_batch([part.strip() for part in parts])
        every = [ids[: parameters.longest] for ids in (one.ids for one in read)]
        every = [ids for ids in every if len(ids) >= FEWEST]
        wanted = parameters.batch * parameters.batches
        if wanted > len(every):
            raise ValueError(f"the text has {len(every)} paragraphs, not {wanted}")
        order = torch.randperm(len(every), generator=self._generator).tolist()
        whole = order[: len(order) // parameters.batch * parameters.batch]
        self.planned = [len(every[i]) for i in whole]
        self.texts = [torch.tensor(every[i], device=setup.device) for i in order[:wanted]]
        windows = text.windows(corpus.evaluation, pretrained.tokenizer, parameters.longest)
        self._long = text.spaced(windows, wanted).to(setup.device)

    @property
    def tokens(self) -> int:
        """Return the tokens of the texts."""
        return sum(map(len, self.texts))

    @torch.inference_mode()
    def compare(self, stage: Stage) -> dict[str, int]:
        """Report what each way counts and that it says the same; return the scores of each."""
        reader, found = Reader(self.model), dict[str, Tensor]()
        ways = self._ways(reader, self.texts)
        for done, (variant, read) in enumerate(ways.items()):
            stage.at(done / len(ways), variant)
            with Counted() as counted:
                hidden = [read.way(batch) for batch in read.batches]
            nats = {
                which: of_text
                for states, batch in zip(hidden, read.batches, strict=True)
                for which, of_text in zip(batch.which, reader.surprise(states, batch), strict=True)
            }
            found[variant] = torch.cat([nats[which] for which in range(len(self.texts))])
            reader.hold(counted, read.tokens, read.scores)
            self.report.measure("tokens read", variant, counted.tokens)
            self.report.measure("scores", variant, counted.scores // len(reader.blocks))
            self.report.measure("operations", variant, counted.operations / 1e9)
            self.report.measure("slots per token", variant, counted.tokens / self.tokens)
            self.report.measure("perplexity", variant, found[variant].mean().exp().item())
        alone = found.pop("one by one")
        for variant, own in found.items():
            apart = (own - alone).abs().max().item()
            if not apart <= TOLERANCE:
                raise RuntimeError(f"{variant} is {apart:.2g} nats from the text read alone")
            self.report.measure("equality error", variant, apart)
        return {variant: read.scores for variant, read in ways.items()}

    def plan(self) -> None:
        """Report how much padding is left of all paragraphs, by how many batches are sorted."""
        size, tokens = self.parameters.batch, sum(self.planned)
        arrived = reading.slots(self.planned, size) / tokens
        for pool in POOLS:
            order = reading.by_length(self.planned, size * pool)
            sorted_ = reading.slots([self.planned[i] for i in order], size) / tokens
            for variant, left in (("padded", arrived), ("buckets", sorted_), ("varlen", 1.0)):
                self.report.point("slots per token by pool", variant, pool, left)

    @torch.inference_mode()
    def on_real_lengths(self) -> dict[str, float]:
        """Report and return how fast each way scores the paragraphs with the whole model."""
        if self.setup.device == "cuda":  # pragma: no cover - needs a GPU
            self.model.to(torch.bfloat16)
        reader = Reader(self.model)

        def scoring(read: Reading) -> Callable[[], object]:
            return lambda: [reader.surprise(read.way(batch), batch) for batch in read.batches]

        return self._timed({n: scoring(r) for n, r in self._ways(reader, self.texts).items()})

    @torch.inference_mode()
    def as_the_fill_grows(self, stage: Stage) -> dict[str, float]:
        """Report how fast the first blocks read at each fill; return it of the fullest."""
        p, found = self.parameters, dict[str, float]()
        reader = Reader(self.model, p.blocks)
        for done, fill in enumerate(FILLS):
            drawn = [
                length
                for _ in range(p.batches)
                for length in reading.stratified(p.batch, p.longest, fill, self._generator)
            ]
            percent = reading.percent(drawn)
            stage.at(done / len(FILLS), f"{percent} %")
            texts = [row[:length] for row, length in zip(self._long, drawn, strict=True)]

            def passing(read: Reading) -> Callable[[], object]:
                return lambda: [read.way(batch) for batch in read.batches]

            ways = self._ways(reader, texts)
            found = self._timed({n: passing(read) for n, read in ways.items()}, fill=percent)
            for variant, speed in found.items():
                self.report.point("speed-up by fill", variant, percent, speed)
        return found

    @torch.inference_mode()
    def attention_alone(self, stage: Stage) -> None:
        """Report how fast and how equal attention of random heads is, at each length.

        Raises RuntimeError where it is not the definition's.
        """
        p, device = self.parameters, self.setup.device
        dtype = torch.float16 if device == "cuda" else torch.float32
        longest = lengths(SHORTEST, p.attention_longest, 2)
        for done, length in enumerate(longest):
            stage.at(done / len(longest), f"{length} tokens")
            drawn = reading.stratified(p.attention_batch, length, ATTENTION_FILL, self._generator)
            shape = 3, p.attention_batch, length, BERT_HEADS, HEAD_WIDTH
            padded = torch.randn(shape, generator=self._generator).to(device, dtype)
            ways = heads.calls(Packing(drawn, device), padded)
            rows = {variant: call.row(call.attend()) for variant, call in ways.items()}
            exact = rows.pop("definition")
            for variant, own in rows.items():
                apart = (own - exact).abs().max().item()
                if not apart <= ATTENTION_TOLERANCE[dtype]:
                    raise RuntimeError(f"attention {variant} is {apart:.2g} from its definition")
                self.report.measure("equality error", variant, apart, length=length)
            taken = alternately(
                {name: call.attend for name, call in ways.items()}, p.rounds, device
            )
            for variant, seconds in taken.items():
                self.report.measure_time("attention time", variant, seconds, length=length)
            for variant, speed in ratios(taken, to="definition").items():
                self.report.measure("attention speed-up", variant, speed, length=length)
                median = statistics.median(speed)
                self.report.point("attention speed-up by length", variant, length, median)

    def _ways(self, reader: Reader, texts: Sequence[Tensor]) -> dict[str, Reading]:
        count, size = len(texts), self.parameters.batch
        arrived = reading.batches(texts, range(count), size)
        order = reading.by_length([len(one) for one in texts], count)
        return {
            "padded": Reading(reader.padded, arrived, True, True),
            "buckets": Reading(reader.padded, reading.batches(texts, order, size), True, True),
            "one by one": Reading(reader.padded, reading.batches(texts, range(count), 1)),
            "unpacked": Reading(reader.unpacked, arrived, attention_pads=True),
            "varlen": Reading(reader.variable, arrived),
        }

    def _timed(self, runs: Mapping[str, Callable[[], object]], **settings: int) -> dict[str, float]:
        taken = alternately(runs, self.parameters.rounds, self.setup.device)
        found = ratios(taken, to="padded")
        for variant, speed in found.items():
            self.report.measure("speed-up", variant, speed, **settings)
        return {variant: statistics.median(speed) for variant, speed in found.items()}


def verdict(
    bench: PaddingBench,
    scores: Mapping[str, int],
    real: Mapping[str, float],
    full: Mapping[str, float],
) -> str:
    """Return a few sentences made of the run's own numbers."""
    p = bench.parameters
    texts = p.batch * p.batches
    slots = reading.slots([len(one) for one in bench.texts], p.batch)
    return (
        f"{texts} real paragraphs fill {100 * bench.tokens / slots:.0f} % of their padded batches"
        f" and make {100 * scores['varlen'] / scores['padded']:.0f} % of the scores. Without the"
        f" padding the whole model scores them {real['varlen']:.2f} x as fast, with the same"
        f" likelihoods; unpacked for attention {real['unpacked']:.2f} x, in buckets"
        f" {real['buckets']:.2f} x, one by one {real['one by one']:.2f} x. Where all texts are as"
        f" long as the longest, packing reads {full['varlen']:.2f} x as fast as padded batches."
    )
