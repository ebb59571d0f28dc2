"""How much faster blocks of published shapes are in int8 than in float16, eager and fused.

OPT-30B: Zhang et al., 2022, table 1; BERT-base: Devlin et al., 2019, section 3; GPT-3 350M: Brown
et al., 2020, table 2.1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from casestudies.lab.kernels import attempting
from casestudies.lab.measure.rounds import alternately, captured, ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.quantization.claims import (
    BATCHES,
    BERT_BASE,
    FUSED,
    GPT3_350M,
    OPT_30B,
    OPT_TOKENS,
    TEXT,
)
from casestudies.lab.studies.quantization.on_gpu import blocks
from casestudies.lab.studies.quantization.on_gpu.blocks import Eager, Shape

EAGER = "float16 eager"
STATIC, EACH = "SmoothQuant", "W8A8 per token"  # one scale that is known before; one a token
CHECKED = 2  # blocks whose steps are held against float64: the others have the same shapes
# So far from float64, as a share of the largest number, no rounding to float16 is, nor a sum of
# partial sums that were rounded to it.
WRONG = 4e-3
PASSES = 10  # of which a time is taken


@dataclass(frozen=True)
class Case:
    """A shape, how it is rounded, and the texts that pass through it: so many at once, each T."""

    shape: Shape
    variant: str
    length: int
    batches: Sequence[int]


CASES = {
    OPT_30B: Case(Shape(1, 7168, 56, decoder=True, relu=True), STATIC, OPT_TOKENS, (1,)),
    BERT_BASE: Case(Shape(12, 768, 12, decoder=False), EACH, TEXT, BATCHES),
    GPT3_350M: Case(Shape(24, 1024, 16, decoder=True), EACH, TEXT, BATCHES),
}
# What a run takes that only shows that all works.
SMALL = {
    f"small {name}": replace(
        case, shape=replace(case.shape, layers=2, width=64, heads=2), length=8, batches=(1, 2)
    )
    for name, case in CASES.items()
}


@dataclass(frozen=True)
class Timed:
    """What blocks gain, by variant: how far a step is from float64, and round by round the time of
    the eager ones and of the fused ones divided by theirs; no times if a step is wrong."""

    apart: Mapping[str, float]
    over_eager: Mapping[str, list[float]] = field(default_factory=dict)
    over_fused: Mapping[str, list[float]] = field(default_factory=dict)


@torch.inference_mode()
def timed(case: Case, batch: int, device: str, rounds: int) -> Timed:
    """Let so many texts pass through the blocks in float16 and in int8."""
    from casestudies.lab.studies.quantization.on_gpu import fused_blocks, held_blocks

    generator = torch.Generator(device).manual_seed(batch)
    shape = case.shape
    joined = blocks.drawn(shape, generator)
    size = batch * case.length, shape.width
    x = torch.randn(size, generator=generator, device=device).half()
    given = shape, case.length, device
    watching = fused_blocks.Watching(*given)
    watching.passed(joined, x)
    rounded = fused_blocks.in_int8(joined, watching.largest if case.variant == STATIC else None)
    fused, in_int8 = fused_blocks.Fused(*given), fused_blocks.InInt8(shape, case.length)

    held, held_int8 = held_blocks.Held(fused, device), held_blocks.Held(in_int8, device)
    held.passed(joined[:CHECKED], x)
    held_int8.passed(rounded[:CHECKED], x)
    found = {FUSED: held.apart, case.variant: held_int8.apart}
    if not all(apart <= WRONG for apart in found.values()):  # NaN is no less wrong
        return Timed(found)

    three = [replace(layer, projections=blocks.apart(*layer.projections)) for layer in joined]
    runs: dict[str, Callable[[], object]] = {
        EAGER: partial(Eager(*given).passed, three, x),
        FUSED: captured(partial(fused.passed, joined, x), device),
        case.variant: captured(partial(in_int8.passed, rounded, x), device),
    }
    taken = alternately({name: partial(_often, run) for name, run in runs.items()}, rounds, device)
    over_fused = ratios({name: taken[name] for name in (FUSED, case.variant)}, to=FUSED)
    return Timed(found, ratios(taken, to=EAGER), over_fused)


def _often(run: Callable[[], object]) -> None:
    for _ in range(PASSES):
        run()


def measure(cases: Mapping[str, Case], rounds: int, device: str, report: Report) -> None:
    """Report how fast each case is; one that fails, as where memory is short, costs no other."""
    for model, case in cases.items():
        for batch in case.batches:
            tokens = batch * case.length
            with attempting(f"{case.variant}, {model}, {tokens} tokens", report.log):
                _report(report, timed(case, batch, device, rounds), model, tokens)


def _report(report: Report, found: Timed, model: str, tokens: int) -> None:
    for variant, apart in found.apart.items():
        report.measure("equality error", variant, apart, model=model, tokens=tokens)
        if not apart <= WRONG:
            report.log(f"{variant}, {model}, {tokens} tokens: not what float64 makes: not timed")
    for metric, speeds in (
        ("speed over eager", found.over_eager),
        ("speed over fused", found.over_fused),
    ):
        for variant, each in speeds.items():
            report.measure(metric, variant, each, model=model, tokens=tokens)
