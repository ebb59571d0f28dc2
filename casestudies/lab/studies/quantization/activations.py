"""What 8-bit activations cost: the pretrained model read in each of the ways to round them."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from casestudies.lab.quantize.reading import Reading, reading
from casestudies.lab.report import Report, Stage
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.int8 import (
    OutliersApart,
    as_quantize_dynamic,
    per_tensor,
    per_token,
    rounded,
    unrounded,
)
from casestudies.lab.studies.quantization.models import Bench
from casestudies.lab.studies.quantization.smoothquant import calibrated, smoothed


class Way(NamedTuple):
    """How a layer's weights are rounded, and what it reads."""

    weight: Callable[[nn.Linear], Tensor]
    reading: Reading


def ways(bench: Bench, strength: float, apart: OutliersApart) -> dict[str, Way]:
    """Return the ways by variant; `strength` is SmoothQuant's."""
    s = calibrated(bench.model, bench.sharing_inputs(), bench.calibration, strength)

    def rows(linear: nn.Linear) -> Tensor:
        return rounded(linear.weight, dim=1)

    def smooth(linear: nn.Linear) -> Tensor:
        return rounded(linear.weight * s[linear], dim=1)

    return {
        "8-bit weights": Way(rows, unrounded),
        "quantize_dynamic": Way(lambda linear: rounded(linear.weight), as_quantize_dynamic),
        "W8A8 per tensor": Way(rows, per_tensor),
        "W8A8 per token": Way(rows, per_token),
        "LLM.int8()": Way(rows, apart),
        "SmoothQuant": Way(smooth, smoothed(s, per_tensor)),
        "SmoothQuant per token": Way(smooth, smoothed(s, per_token)),
    }


def round_activations(
    bench: Bench,
    sixteen: float,
    parameters: QuantizationParameters,
    report: Report,
    stage: Stage,
) -> dict[str, float]:
    """Report and return perplexity over that in 16 bits with 8-bit weights and activations."""
    bench.restore()
    apart = OutliersApart(parameters.threshold)
    found, ratios = ways(bench, parameters.smoothing, apart), {}
    for done, (variant, way) in enumerate(found.items()):
        stage.at(done / len(found), variant)
        perplexity = perplexity_in_8_bits(bench, way)
        ratios[variant] = perplexity / sixteen
        report.measure("perplexity", variant, perplexity)
        report.measure("perplexity over 16 bits", variant, ratios[variant])
    report.measure_share("products in 8 bits", "LLM.int8()", apart.share)
    bench.restore()
    return ratios


def perplexity_in_8_bits(bench: Bench, way: Way) -> float:
    """Return that of the model whose linear layers are rounded so, and leave its weights so."""
    bench.restore()
    for linear in bench.linears.values():
        linear.weight.copy_(way.weight(linear))
    with reading(bench.linears.values(), way.reading):
        return bench.perplexity()
