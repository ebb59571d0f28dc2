"""What packed weights gain a GPU over float16 in the lab's own kernels, at published shapes.

One token reads every weight once, so the bound is the bytes: 16 bits over those of a code with its
share of a group's step and zero. So many matrices take turns that no cache holds them, packed
either.
"""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.measure.rounds import alternately, captured, copies, ratios
from casestudies.lab.quantize.quantized import Format

# The linear layers of a block: how many there are of so many rows and columns. OPT: Zhang et al.,
# 2022, table 1; Llama 2: Touvron et al., 2023 (the shapes are those of the first Llama).
LAYERS: dict[str, dict[tuple[int, int], int]] = {
    "OPT-175B": {(12288, 12288): 4, (49152, 12288): 1, (12288, 49152): 1},
    "Llama-2-7B": {(4096, 4096): 4, (11008, 4096): 2, (4096, 11008): 1},
}
# What a run takes that only shows that all works.
SMALL = {"small layers": {(512, 384): 1, (384, 512): 1}}
FORMS = {f"int{bits} kernel": Format(bits, 128) for bits in (8, 4, 3)}
TOKENS = (1, 16)
MOST_COPIES = 128
CHECKED = 64  # rows that are held against float64
DTYPE = torch.float16


@dataclass(frozen=True)
class Timed:
    """Products with packed weights, and how far they are from the unpacked ones' in float64.

    Round by round `speeds` are float16's time divided by theirs, the mean over a block's layers;
    none if the products are wrong. `of_copying` is the time in which the device copies as many
    bytes as must be moved, as a share of theirs.
    """

    apart: float
    speeds: Sequence[float] = ()
    of_copying: float = 0.0


def timed(
    layers: Mapping[tuple[int, int], int], form: Format, tokens: int, device: str, rounds: int
) -> Timed:
    """Multiply so many tokens by random weights of each shape of layer."""
    each = {shape: _of_shape(shape, form, tokens, device, rounds) for shape in layers}
    apart = max(found.apart for found in each.values())
    if not all(found.speeds for found in each.values()):
        return Timed(apart)

    return Timed(
        apart,
        [
            mean_over(layers, {shape: each[shape].speeds[i] for shape in layers})
            for i in range(rounds)
        ],
        mean_over(layers, {shape: each[shape].of_copying for shape in layers}),
    )


def mean_over(
    layers: Mapping[tuple[int, int], int], values: Mapping[tuple[int, int], float]
) -> float:
    """Return the mean over a block's layers of what is known by their shapes."""
    return sum(layers[shape] * values[shape] for shape in layers) / sum(layers.values())


def _of_shape(shape: tuple[int, int], form: Format, tokens: int, device: str, rounds: int) -> Timed:
    from casestudies.lab.kernels import few_bits

    generator = torch.Generator(device).manual_seed(tokens)
    packed = few_bits.random(*shape, form, generator)
    x = torch.randn(tokens, shape[1], generator=generator, device=device).to(DTYPE)
    exact = x.double() @ packed.mapped(lambda part: part[:CHECKED]).weights().double().T
    apart = relative(few_bits.product(x, packed)[:, :CHECKED], exact.cpu())
    if not apart <= TOLERANCES[DTYPE]:  # NaN is no less wrong
        return Timed(apart)
    count = copies(form.stored_bytes(*shape), MOST_COPIES)
    matrices = [packed.mapped(torch.clone) for _ in range(count)]
    dense = [torch.randn(shape, dtype=DTYPE, device=device) for _ in range(count)]

    def in_float16() -> None:
        for w in dense:
            F.linear(x, w)

    def as_packed() -> None:
        for w in matrices:
            few_bits.product(x, w)

    runs = {"float16": captured(in_float16, device), "packed": captured(as_packed, device)}
    taken = alternately(runs, rounds, device)
    each = statistics.median(taken["packed"]) / count
    of_copying = few_bits.floor(*shape, form, tokens).share_of_copying(each, device)
    return Timed(apart, ratios(taken, to="float16")["packed"], of_copying)
