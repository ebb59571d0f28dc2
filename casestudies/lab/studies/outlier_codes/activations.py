"""What linear layers read, in 4 bits: with one scale a layer, known before, or one a token."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.quantize.reading import Reading, reading
from casestudies.lab.studies.outlier_codes.models import INT8, Bench, RoundedWeights
from casestudies.lab.studies.outlier_codes.packed import ROUNDINGS, Rounding, scales
from casestudies.lab.studies.outlier_codes.pairs import beside, decode, encode, victims


class FourBits:
    """Layers read their inputs (..., columns), columns even, as 4 bits hold them.

    With `steps`, each layer's scale is the one found there, else each token has its own. Counts
    numbers and victims, squared errors and the squares of what was there.
    """

    def __init__(self, rounding: Rounding, steps: dict[nn.Linear, Tensor] | None = None) -> None:
        self._rounding, self._steps = rounding, steps
        self._last: tuple[Tensor, Tensor] | None = None
        self.numbers = self.victims = 0
        self.error = self.energy = 0.0
        # By the first of the layers that read the same: tokens, and outliers by column.
        self.outliers: dict[nn.Linear, tuple[int, Tensor]] = {}
        self.first: dict[nn.Linear, nn.Linear] = {}

    def __call__(self, linear: nn.Linear, x: Tensor) -> Tensor:
        # Layers that read the same are given the same tensor one after another.
        if self._last is None or self._last[0] is not x:
            self._last, self._reader = (x, self._rounded(linear, x)), linear
        self.first[linear] = self._reader
        return self._last[1]

    def _rounded(self, linear: nn.Linear, x: Tensor) -> Tensor:
        code, which, _ = self._rounding
        own = self._rounding._replace(searched=False)
        step = (self._steps[linear] if self._steps else scales(x, own)).float()
        codes = encode(x / step, code, which)
        found = decode(codes, code) * step
        victim = victims(codes)
        self.numbers += x.numel()
        self.victims += int(victim.sum())
        self.error += (found - x).square().sum().item()
        self.energy += x.square().sum().item()
        outliers = beside(victim).flatten(0, -2)
        tokens, columns = self.outliers.get(linear, (0, outliers.new_zeros((), dtype=torch.long)))
        self.outliers[linear] = tokens + len(outliers), columns + outliers.sum(0)
        return found


def in_int8(linear: nn.Linear, x: Tensor) -> Tensor:
    """Return x on 8 bits with one scale a token."""
    scale = (x.abs().amax(-1, keepdim=True) / INT8).clamp(min=1e-12)
    return (x / scale).round_().clamp_(-INT8, INT8).mul_(scale)


def shifted(bench: Bench, read: FourBits, rounded: RoundedWeights) -> float:
    """Return the share of multiply-adds of which a factor is an outlier."""
    products = plain = 0.0
    for name, linear in bench.linears.items():
        tokens, of_inputs = read.outliers[read.first[linear]]
        of_weights = rounded.outliers[name]  # by column
        rows = len(linear.weight)
        products += tokens * rows * len(of_inputs)
        plain += ((tokens - of_inputs).double() * (rows - of_weights)).sum().item()
    return 1 - plain / products


@torch.inference_mode()
def calibrated(bench: Bench, names: Sequence[str]) -> dict[str, dict[nn.Linear, Tensor]]:
    """Return, by rounding, each layer's scale for what it reads of the calibration text.

    The model is unrounded meanwhile; the scale is the one with the least squared error.
    """
    found: dict[str, dict[nn.Linear, Tensor]] = {name: {} for name in names}
    sharing = {layers[0]: layers for layers in bench.sharing_inputs()}

    def look(linear: nn.Linear, x: Tensor) -> Tensor:
        for name in names:
            scale = scales(x.flatten(), ROUNDINGS[name])
            found[name].update(dict.fromkeys(sharing[linear], scale))
        return x

    bench.put()
    with reading(sharing, look):
        bench.model(bench.calibration)
    return found


def perplexity_reading(bench: Bench, read: Reading, weights: dict[str, Tensor] | None) -> float:
    """Return the perplexity of the model whose rounded layers read so, with these weights."""
    bench.put(weights)
    with reading(bench.linears.values(), read):
        return perplexity(bench.model, bench.evaluation)
