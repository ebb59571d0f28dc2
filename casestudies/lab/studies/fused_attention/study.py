"""Computes attention in several ways: the same numbers, other memory and time."""

import statistics
from collections.abc import Callable, Mapping
from typing import cast

import torch
from torch import Tensor

from casestudies.lab import kernels
from casestudies.lab.contract import Setup
from casestudies.lab.data import text
from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.measure.rounds import alternately, lengths, ratios
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import attention, files, shapes
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.language_model import Block, Config, LanguageModel
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.fused_attention import encoder, in_bfloat16, tiled
from casestudies.lab.studies.fused_attention.about import (
    ENCODER,
    ENCODER_LENGTHS,
    ODD_LENGTH,
    ONE_KERNEL,
    FusedAttentionParameters,
)
from casestudies.lab.train import loop

SHORTEST, GROWTH = 256, 2
WRONG = 1e-4  # this far from float64 no float32 rounding is
GPU_PRECISION = "float32; training and what says so in bfloat16"
MIB = 2**20
# Three matrices of 768 x 2,048 are as many weights as GPT-2's two of 768 x 3,072.
GPT2_VOCABULARY, GPT2_WIDTH, GPT2_HIDDEN, GPT2_HEADS = 50_257, 768, 2_048, 12


def run(parameters: FusedAttentionParameters, setup: Setup, report: Report) -> str:
    """Measure all ways; return the verdict. Raises ValueError if the text is too short."""
    ways: dict[str, Attention] = {
        "definition": attention.naive,
        "tiles": tiled.with_tile(parameters.tile),
        "stock": attention.stock,
    }
    report.precision = "float32" if setup.device == "cpu" else GPU_PRECISION
    bench = AttentionBench(parameters, setup, report, ways)
    with report.stage("comparing with float64", 0.05):
        bench.compare(ways)
        if reason := kernels.why_not(setup.device):
            report.log(f"Tiles in one kernel: {reason}: not run")
        else:  # pragma: no cover - needs a GPU
            with kernels.attempting("Tiles in one kernel", report.log):
                from casestudies.lab.kernels.attention import attend

                bench.take(ONE_KERNEL, attend)
    with report.stage("perplexity of a model with each", 0.25):
        quality = bench.perplexities()
    with report.stage("memory and time as the text grows", 0.35) as stage:
        memory = bench.as_the_text_grows(stage)
        if not kernels.why_not(setup.device):  # pragma: no cover - needs a GPU
            with kernels.attempting("Attention in bfloat16", report.log):
                in_bfloat16.measure(parameters, setup, report)
    with report.stage("timing a training step", 0.35):
        training = bench.training()
        if setup.device == "cuda":  # pragma: no cover - needs a GPU
            bench.encoder()
    return verdict(parameters, quality, memory, training)


class AttentionBench:
    """The ways to compute attention, and what they are measured on."""

    def __init__(
        self,
        parameters: FusedAttentionParameters,
        setup: Setup,
        report: Report,
        ways: Mapping[str, Attention],
    ) -> None:
        self.parameters, self.setup, self.report = parameters, setup, report
        self.ways = dict(ways)
        self._generator = torch.Generator().manual_seed(setup.seed)

    def compare(self, ways: Mapping[str, Attention]) -> dict[str, float]:
        """Report and return how far each way is from the definition in float64."""
        q, k, v = self._inputs(ODD_LENGTH)
        exact = attention.naive(q.double(), k.double(), v.double())
        found = {}
        for variant, way in ways.items():
            found[variant] = (way(q, k, v) - exact).abs().max().item()
            self.report.measure("equality error", variant, found[variant])
        return found

    def take(self, variant: str, way: Attention) -> None:
        """Measure one more way from now on, if it is right."""
        if self.compare({variant: way})[variant] <= WRONG:
            self.ways[variant] = way
        else:
            self.report.log(f"{variant} is wrong: not timed")

    def perplexities(self) -> dict[str, float]:
        """Report and return the perplexity of the model with each way."""
        p, setup, report = self.parameters, self.setup, self.report
        pretrained = files.load(setup.model, setup.device, setup.shared)
        corpus = text.corpus(setup.text)
        report.source("model", pretrained.name, pretrained.sha256)
        report.source("text", corpus.name, corpus.sha256)
        windows = text.windows(corpus.evaluation, pretrained.tokenizer, p.window)
        windows = text.spaced(windows, p.windows).to(setup.device)
        found = {}
        for variant, way in self.ways.items():
            attend_by(way, pretrained.model)
            found[variant] = perplexity(pretrained.model, windows)
            report.measure("perplexity", variant, found[variant])
        return found

    @torch.inference_mode()
    def as_the_text_grows(self, stage: Stage) -> dict[str, float]:
        """Report memory, bytes moved and time at each length; return memory at the longest."""
        p, device = self.parameters, self.setup.device
        memory: dict[str, float] = {}
        doubled = lengths(SHORTEST, p.longest, GROWTH)
        for done, length in enumerate(doubled):
            stage.at(done / len(doubled), f"{length} tokens")
            inputs = self._inputs(length)
            calls = {variant: calling(way, *inputs) for variant, way in self.ways.items()}
            for variant, call in calls.items():
                memory[variant] = peak_bytes(call, device) / MIB
                self._point("attention memory", variant, length, [memory[variant]])
            moved = {
                "definition": tiled.moved_by_definition(length, length, p.head_width),
                "tiles": tiled.moved(length, length, p.head_width, p.tile),
            }
            for variant, numbers in moved.items():
                mib = 4 * p.heads * numbers / MIB
                self.report.measure("bytes moved", variant, mib, length=length)
            taken = alternately(calls, p.rounds, device)
            for variant, times in taken.items():
                self._point("attention time", variant, length, [1000 * t for t in times])
            for variant, speed in ratios(taken, to="definition").items():
                self.report.measure("speed-up", variant, speed, length=length)
        return memory

    def training(self) -> float:
        """Report the speed-up of a training step with the fused kernel; return the median."""
        p, device = self.parameters, self.setup.device
        config = Config(
            vocabulary=GPT2_VOCABULARY,
            width=GPT2_WIDTH,
            feed_forward=GPT2_HIDDEN,
            layers=p.training_layers,
            heads=GPT2_HEADS,
            key_value_heads=GPT2_HEADS,
            rope_base=10_000.0,
            norm_epsilon=1e-5,
        )
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        model = shapes.with_random_weights(config, self._generator).to(device, dtype)
        shape = (1, p.training_tokens + 1)
        tokens = torch.randint(config.vocabulary, shape, generator=self._generator).to(device)
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)

        def step(way: Attention) -> None:
            attend_by(way, model)
            logits = model(tokens[:, :-1])
            loop.token_loss(logits, tokens).backward()
            optimizer.step()
            optimizer.zero_grad()

        steps = {name: calling(step, self.ways[name]) for name in ("definition", "stock")}
        taken = alternately(steps, p.rounds, device)
        speed = ratios(taken, to="definition")["stock"]
        self.report.measure("training speed-up", "stock", speed)
        return statistics.median(speed)

    def encoder(self) -> None:  # pragma: no cover - needs a GPU
        """Report the speed-up of a training step of an encoder, at each length.

        A small training step makes these small: the rule's lengths are 1, 2 and 4 times 1,024.
        """
        device, tokens = self.setup.device, self.parameters.training_tokens
        for length in (n * min(tokens, 1024) // 1024 for n in ENCODER_LENGTHS):
            with kernels.attempting(f"An encoder of {length} tokens", self.report.log):
                steps = encoder.steps(
                    encoder.SHAPE, length, device, torch.bfloat16, self._generator
                )
                taken = alternately(steps, self.parameters.rounds, device)
                speed = ratios(taken, to="definition")["stock"]
                self.report.measure(ENCODER, "stock", speed, length=length)

    def _inputs(self, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return random queries, keys and values (1, heads, length, head width)."""
        shape = (3, 1, self.parameters.heads, length, self.parameters.head_width)
        query, key, value = torch.randn(shape, generator=self._generator).to(self.setup.device)
        return query, key, value

    def _point(self, metric: str, variant: str, length: int, values: list[float]) -> None:
        self.report.measure(metric, variant, values, length=length)
        self.report.point(f"{metric} by length", variant, length, statistics.median(values))


def calling(function: Callable[..., object], *arguments: object) -> Callable[[], object]:
    """Return what calls the function with these arguments."""
    return lambda: function(*arguments)


def attend_by(way: Attention, model: LanguageModel) -> None:
    """Make every block of the model compute attention this way."""
    for block in model.blocks:
        cast(Block, block).attention = way


def verdict(
    parameters: FusedAttentionParameters,
    quality: Mapping[str, float],
    memory: Mapping[str, float],
    training: float,
) -> str:
    """Return a few sentences made of the run's own numbers."""
    apart = max(abs(value / quality["definition"] - 1) for value in quality.values())
    said = "the same in all ways" if apart < 1e-4 else f"apart by {100 * apart:.2g} %"
    return (
        f"A model’s perplexity is {quality['definition']:.2f}, {said}. For"
        f" {parameters.longest:,} tokens attention holds {memory['definition']:.0f} MiB by"
        f" definition, {memory['tiles']:.1f} by tiles and {memory['stock']:.1f} in PyTorch’s fused"
        f" kernel, with which a training step is {training:.2f} x as fast."
    )
