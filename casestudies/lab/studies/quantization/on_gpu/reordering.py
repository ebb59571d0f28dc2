"""What it costs one token that columns were rounded in another order than they lie in.

Lin et al., 2023, compare AWQ's kernel with GPTQ's, which looks up the group of each column that it
reads. Weights may instead lie in the order that they were rounded in; then each product begins with
bringing its input into that order. Both are held against our product of columns in their own order;
all have 4 bits in groups of 128.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from casestudies.lab.contract import Setup
from casestudies.lab.kernels import attempting, why_not
from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.measure.rounds import alternately, captured, copies, ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.claims import GATHERED, LLAMA, LOOKED_UP, REORDERING
from casestudies.lab.studies.quantization.gpu_kernels import (
    CHECKED,
    DTYPE,
    FORMS,
    LAYERS,
    MOST_COPIES,
    SMALL,
    mean_over,
)

IN_ORDER = "int4 kernel"
FORM = FORMS[IN_ORDER]


@dataclass(frozen=True)
class Timed:
    """How far the products are from float64, and round by round how many times as long they take.

    That is their time divided by that of columns in order, the mean over a block's layers, by
    variant; none if a product is wrong.
    """

    apart: float
    costs: Mapping[str, Sequence[float]] = field(default_factory=dict)


def timed(layers: Mapping[tuple[int, int], int], device: str, rounds: int) -> Timed:
    """Multiply one token by random weights of each shape of layer."""
    each = {shape: _of_shape(shape, device, rounds) for shape in layers}
    apart = max(found.apart for found in each.values())
    if not all(found.costs for found in each.values()):
        return Timed(apart)

    def mean(way: str, i: int) -> float:
        return mean_over(layers, {shape: each[shape].costs[way][i] for shape in layers})

    return Timed(
        apart, {way: [mean(way, i) for i in range(rounds)] for way in (LOOKED_UP, GATHERED)}
    )


def _of_shape(shape: tuple[int, int], device: str, rounds: int) -> Timed:
    from casestudies.lab.kernels import few_bits, reordered

    generator = torch.Generator(device).manual_seed(0)
    packed = few_bits.random(*shape, FORM, generator)
    x = torch.randn(1, shape[1], generator=generator, device=device).to(DTYPE)
    order = torch.randperm(shape[1], generator=generator, device=device)
    group_of = reordered.groups_of(order, FORM.group)
    checked = packed.mapped(lambda part: part[:CHECKED])
    pairs = (
        (few_bits.product(x, packed), checked.weights()),
        (reordered.product(x, packed, group_of), reordered.unpacked(checked, group_of)),
    )
    found = [
        relative(y[:, :CHECKED], (x.double() @ weights.double().T).cpu()) for y, weights in pairs
    ]
    if not all(apart <= TOLERANCES[DTYPE] for apart in found):  # NaN is no less wrong
        return Timed(max(found))
    count = copies(FORM.stored_bytes(*shape), MOST_COPIES)
    # A layer's order is its own, too.
    matrices = [(packed.mapped(torch.clone), order.clone(), group_of.clone()) for _ in range(count)]

    def in_order() -> None:
        for w, _, _ in matrices:
            few_bits.product(x, w)

    def looked_up() -> None:
        for w, _, groups in matrices:
            reordered.product(x, w, groups)

    def gathered() -> None:
        for w, places, _ in matrices:
            few_bits.product(x.index_select(1, places), w)

    ways = {IN_ORDER: in_order, LOOKED_UP: looked_up, GATHERED: gathered}
    runs = {way: captured(run, device) for way, run in ways.items()}
    taken = alternately(runs, rounds, device)
    return Timed(
        max(found), {way: ratios(taken, to=way)[IN_ORDER] for way in (LOOKED_UP, GATHERED)}
    )


def report_reordering(parameters: QuantizationParameters, setup: Setup, report: Report) -> None:
    """Report what reordered columns cost on a GPU, at Llama-2-7B’s layers; say why not elsewhere.

    A run that rounds only some blocks multiplies small layers, which no rule speaks of.
    """
    if reason := why_not(setup.device):
        report.log(f"No product with reordered columns was timed: {reason}")
        return
    shapes = SMALL if parameters.blocks else {LLAMA: LAYERS[LLAMA]}
    for model, layers in shapes.items():
        with attempting(f"reordered columns, {model}", report.log):
            found = timed(layers, setup.device, parameters.rounds)
            report.measure("equality error", LOOKED_UP, found.apart, model=model, tokens=1)
            for way, costs in found.costs.items():
                report.measure(REORDERING, way, costs, model=model, tokens=1)
            if not found.costs:
                report.log(f"{LOOKED_UP}, {model}: not the unpacked weights’ product, so not timed")
