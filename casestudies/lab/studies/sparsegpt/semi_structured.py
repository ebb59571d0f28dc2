"""Products with two zeros in every four weights, by hardware that skips them, beside dense ones.

A GPU from Ampere on multiplies a matrix 2:4 in half the steps (Mishra et al., 2021, arXiv
2104.08378). Both products are in bfloat16, with random weights at layers of known models: time
depends on their shapes, and which two are zero does not matter. So many copies of a matrix take
turns that no cache holds them, compressed either. PyTorch needs CUDA for it.
"""

import statistics
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.kernels.floor import Floor
from casestudies.lab.measure.equality import TOLERANCES, relative
from casestudies.lab.measure.rounds import alternately, captured, copies, ratios
from casestudies.lab.models.shapes import SHAPES
from casestudies.lab.studies.sparsegpt import baselines, masks
from casestudies.lab.studies.sparsegpt.about import BFLOAT16, IN_HARDWARE
from casestudies.lab.studies.sparsegpt.speed import ROUNDS

MODELS = ("llama-1b", "llama-8b")
SMALL = {"small, 256 x 128": (256, 128)}  # of a run that only shows that all works
TOKENS = (1, 512, 4096)
MANY = 512  # from so many tokens on operations bound a product, and no longer the weights' bytes
MOST_COPIES = 64
Compress = Callable[[Tensor], Tensor]


class Measured(NamedTuple):
    """One layer with so many tokens at once: how far the product is off, and its speed by round.

    `share` is by variant that of copying, or of many tokens that of multiplying: see `Floor`. What
    is wrong has neither.
    """

    layer: str
    tokens: int
    apart: float
    speed: Sequence[float] = ()
    share: Mapping[str, float] = {}


def layers(*, small: bool = False) -> dict[str, tuple[int, int]]:
    """Return the outputs and inputs of layers by name: "llama-8b up, 14336 x 4096"."""
    if small:
        return SMALL
    found = dict[str, tuple[int, int]]()
    for model in MODELS:
        width, hidden = SHAPES[model].width, SHAPES[model].feed_forward
        sizes = {"query": (width, width), "up": (hidden, width), "down": (width, hidden)}
        found |= {f"{model} {name}, {d} x {k}": (d, k) for name, (d, k) in sizes.items()}
    return found


def compressed(weight: Tensor) -> Tensor:
    """Return a weight 2:4 as the hardware reads it: half of the numbers, and which they are."""
    with warnings.catch_warnings():
        # PyTorch calls it a beta; this study reports how fast it is today.
        warnings.simplefilter("ignore", UserWarning)
        return torch.sparse.to_sparse_semi_structured(weight)


@torch.inference_mode()
def products(
    name: str, size: tuple[int, int], device: str, compress: Compress = compressed
) -> Iterator[Measured]:
    """Yield the layer with each number of tokens; all numbers are drawn on the device."""
    generator = torch.Generator(device).manual_seed(0)
    weight = torch.randn(size, generator=generator, device=device)
    dense = baselines.magnitude(weight, masks.parse("2:4", 0.5)).bfloat16()
    count = copies(floor(IN_HARDWARE, size, 0).bytes, MOST_COPIES)
    dense_ones = [dense.clone() for _ in range(count)]
    sparse_ones = [compress(each) for each in dense_ones]
    for tokens in TOKENS:
        x = torch.randn(tokens, size[1], generator=generator, device=device).bfloat16()
        exact = F.linear(x.float(), dense.float())
        apart = relative(F.linear(x, sparse_ones[0]), exact.cpu().double())
        if not apart <= TOLERANCES[torch.bfloat16]:  # NaN is no less wrong
            yield Measured(name, tokens, apart)
            continue
        ways = {BFLOAT16: dense_ones, IN_HARDWARE: sparse_ones}
        runs = {way: captured(partial(_each, x, several), device) for way, several in ways.items()}
        taken = alternately(runs, ROUNDS, device)
        speed = ratios(taken, to=BFLOAT16)[IN_HARDWARE]
        each = {way: statistics.median(times) / count for way, times in taken.items()}
        yield Measured(name, tokens, apart, speed, _shares(each, size, tokens, device))


def _shares(
    seconds: Mapping[str, float], size: tuple[int, int], tokens: int, device: str
) -> dict[str, float]:
    found = {}
    for way, taken in seconds.items():
        least = floor(way, size, tokens)
        share = least.share_of_multiplying if tokens >= MANY else least.share_of_copying
        found[way] = share(taken, device)
    return found


def floor(way: str, size: tuple[int, int], tokens: int) -> Floor:
    """Return the least that a product takes.

    Of weights 2:4 those that are zero are neither read nor multiplied, and two bits beside each of
    the others say which it is.
    """
    weights, bits = size[0] * size[1], 16
    if way == IN_HARDWARE:
        weights, bits = weights // 2, bits + 2
    return Floor(weights * bits // 8 + 2 * tokens * sum(size), 2 * tokens * weights)


def _each(x: Tensor, weights: Sequence[Tensor]) -> None:
    for weight in weights:
        F.linear(x, weight)
