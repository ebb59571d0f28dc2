"""How many tokens a second a model of Llama-2-7B's shape decodes, in 4 bits and in float16.

Both models have the same random weights, those of the blocks rounded to nearest in one of them, and
the same attention, cache and loop, which a CUDA graph repeats whole: so many tokens, one after
another, each read as soon as it is chosen.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.generate.continuation import continued, with_cache
from casestudies.lab.kernels import attempting, why_not
from casestudies.lab.measure.environment import lacking_memory
from casestudies.lab.measure.equality import TOLERANCES
from casestudies.lab.measure.rounds import alternately, captured, ratios
from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.report import Report
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.claims import LLAMA, WHOLE
from casestudies.lab.studies.quantization.gpu_kernels import DTYPE, FORMS

IN_FLOAT16, IN_4_BITS = "float16", "int4 kernel"
CONTEXT, TOKENS = 128, 16
SMALL = "small model"
SHAPES: dict[str, dict[str, Any]] = {
    LLAMA: {"name": "llama-2-7b"},
    SMALL: {"name": "smollm2-135m", "layers": 1},
}
# Blocks in float16 and in 4 bits, two embeddings and heads, 16 in all, and what else a run holds.
NEEDED_GPU_GIB = 20


@dataclass(frozen=True)
class Timed:
    """How far the packed layers are from float64, and tokens a second by round of both models.

    `speeds` are, by round, float16's time divided by that in 4 bits. None is timed if a layer's
    product is wrong.
    """

    apart: float
    rates: Mapping[str, Sequence[float]] = field(default_factory=dict)
    speeds: Sequence[float] = ()


def timed(make: Callable[[], LanguageModel], device: str, rounds: int) -> Timed:
    """Decode with a model and with its like, packed: what `make` returns is alike each time."""
    from casestudies.lab.studies.quantization.on_gpu import packed_model

    packed = packed_model.pack(make(), FORMS[IN_4_BITS])
    apart = packed_model.apart(packed, prompt(packed, 1))
    if not apart <= TOLERANCES[DTYPE]:  # NaN is no less wrong
        return Timed(apart)
    # A graph does not keep what it reads and writes; these do.
    loops = {
        name: decoding(model, CONTEXT, TOKENS)
        for name, model in ((IN_FLOAT16, make()), (IN_4_BITS, packed))
    }
    taken = alternately(
        {name: captured(loop, device) for name, loop in loops.items()}, rounds, device
    )
    return Timed(
        apart,
        {name: [TOKENS / seconds for seconds in times] for name, times in taken.items()},
        ratios(taken, to=IN_FLOAT16)[IN_4_BITS],
    )


def prompt(model: LanguageModel, tokens: int) -> Tensor:
    """Return so many tokens (1, tokens) of no meaning."""
    places = torch.arange(tokens, device=model.embedding.weight.device)
    return places[None] * 7 % model.config.vocabulary


def decoding(model: LanguageModel, context: int, tokens: int) -> Callable[[], Tensor]:
    """Return what decodes the same tokens (1, tokens) each time, after a context in the cache.

    They follow the likeliest token after the context, which is read with the first of them.
    """
    read = prompt(model, context)
    cache = with_cache(model, read, tokens)
    (first,) = continued(model, read, 1, cache)

    def decode() -> Tensor:
        cache.rewind(context)
        return torch.cat(list(continued(model, first, tokens, cache)), dim=1)

    return decode


def report_decoding(parameters: QuantizationParameters, setup: Setup, report: Report) -> None:
    """Report tokens a second at Llama-2-7B’s shape on a GPU that holds it; say why not elsewhere.

    A run that rounds only some blocks decodes with a small model, which no rule speaks of.
    """
    small, device = parameters.blocks > 0, setup.device
    if reason := why_not(device) or lacking_memory(device, 1 if small else NEEDED_GPU_GIB):
        report.log(f"No model decoded with packed weights: {reason}")
        return
    name = SMALL if small else LLAMA
    with attempting(f"decoding, {name}", report.log):
        make = partial(shapes.of_shape, **SHAPES[name], device=device, dtype=DTYPE)
        report_timed(timed(make, device, parameters.rounds), report, name)


def report_timed(found: Timed, report: Report, model: str) -> None:
    """Report that the layers are right, then how fast both models are; of wrong ones no more."""
    where = {"model": model, "part": WHOLE}
    report.measure("equality error", IN_4_BITS, found.apart, **where)
    if not found.speeds:
        report.log(f"{model}, 4 bits: not the product of the unpacked weights, so not timed")
        return
    for variant, rates in found.rates.items():
        report.measure("tokens per second", variant, rates, **where)
    report.measure("speed-up", IN_4_BITS, found.speeds, **where)
