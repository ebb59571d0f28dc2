"""A model whose first blocks compute with numbers in 4 bits, and what it loses by that."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.quantize.reading import Reading, reading
from casestudies.lab.studies.outlier_codes.about import INT4_CLIPPED, INT4_NEAREST, OLIVE
from casestudies.lab.studies.outlier_codes.packed import (
    BrokenPromise,
    Rounding,
    check,
    pack,
    scales,
)
from casestudies.lab.studies.outlier_codes.pairs import decode, encode, victims

INT8 = 127
ROUNDING_OF_SUMS = 1e-5

Weights = dict[str, Tensor]  # by layer


@dataclass(frozen=True)
class RoundedWeights:
    """Weights of all layers as read back from their bytes; errors are squared, by layer."""

    weights: Weights
    errors: dict[str, float]
    stored_bytes: int
    victims: int


class Bench:
    """A model, of which the linear layers of the first blocks are rounded, and its texts."""

    def __init__(
        self, model: LanguageModel, calibration: Tensor, evaluation: Tensor, blocks: int
    ) -> None:
        self.model, self.calibration, self.evaluation = model, calibration, evaluation
        self.blocks = cast(Sequence[Block], model.blocks[: blocks or None])
        self.linears = {
            f"{index}.{name}": linear
            for index, block in enumerate(self.blocks)
            for name, linear in block.linears().items()
        }
        self.weights = {name: linear.weight.clone() for name, linear in self.linears.items()}
        self.numbers = sum(weight.numel() for weight in self.weights.values())
        self.energy = sum(w.square().sum().item() for w in self.weights.values())

    def losses(self, weights: Weights | None = None, read: Reading | None = None) -> Tensor:
        """Return the mean negative log-likelihood in nats of each window of the evaluation text.

        The layers have these weights, or their own, and read their inputs so, or as they are.
        """
        self._put(weights or self.weights)
        with reading(self.linears.values() if read else (), read or _as_it_is):
            found = [perplexity(self.model, window[None]) for window in self.evaluation]
        return torch.tensor(found, dtype=torch.float64).log()

    def rounded(self, rounding: Rounding, group: int) -> RoundedWeights:
        """Return the weights rounded in groups, 0 being whole rows; raise BrokenPromise."""
        found: Weights = {}
        errors: dict[str, float] = {}
        size = dropped = 0
        for layer, weight in self.weights.items():
            packed = pack(weight, rounding, group)
            check(weight, packed, rounding)
            found[layer] = packed.weights()
            errors[layer] = (found[layer] - weight).square().sum().item()
            size += packed.stored_bytes
            dropped += int(packed.victims().sum())
        return RoundedWeights(found, errors, size, dropped)

    def calibrated(self, rounding: Rounding) -> dict[nn.Linear, Tensor]:
        """Return each layer's scale, with the least squared error of what it reads unrounded."""
        found: dict[nn.Linear, Tensor] = {}
        sharing = {layers[0]: layers for layers in self._sharing_inputs()}

        def look(linear: nn.Linear, x: Tensor) -> Tensor:
            found.update(dict.fromkeys(sharing[linear], scales(x.flatten(), rounding)))
            return x

        self._put(self.weights)
        with torch.inference_mode(), reading(sharing, look):
            self.model.hidden(self.calibration)
        return found

    def _sharing_inputs(self) -> Iterator[tuple[nn.Linear, ...]]:
        for b in self.blocks:
            yield from [(b.query, b.key, b.value), (b.output,), (b.gate, b.up), (b.down,)]

    def _put(self, weights: Weights) -> None:
        for name, weight in weights.items():
            self.linears[name].weight.copy_(weight)


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

    def __call__(self, linear: nn.Linear, x: Tensor) -> Tensor:
        # Layers that read the same are given the same tensor one after another.
        if self._last is None or self._last[0] is not x:
            self._last = x, self._rounded(linear, x)
        return self._last[1]

    def _rounded(self, linear: nn.Linear, x: Tensor) -> Tensor:
        own = self._rounding._replace(searched=False)
        step = (self._steps[linear] if self._steps else scales(x, own)).float()
        codes = encode(x / step, self._rounding.outliers)
        found = decode(codes) * step
        self.numbers += x.numel()
        self.victims += int(victims(codes).sum())
        self.error += (found - x).square().sum().item()
        self.energy += x.square().sum().item()
        return found


def check_order(found: dict[str, RoundedWeights]) -> None:
    """Raise BrokenPromise where a search that tried plain rounding's scale does worse by it."""
    for layer, error in found[INT4_NEAREST].errors.items():
        for name in (INT4_CLIPPED, OLIVE):
            if found[name].errors[layer] > error * (1 + ROUNDING_OF_SUMS):
                raise BrokenPromise(f"{name} errs more than {INT4_NEAREST} in layer {layer}")


def in_int8(x: Tensor) -> Tensor:
    """Return x on 8 bits with one scale for each last axis: a row of weights, or a token."""
    scale = (x.abs().amax(-1, keepdim=True) / INT8).clamp(min=1e-12)
    return (x / scale).round_().clamp_(-INT8, INT8).mul_(scale)


def _as_it_is(linear: nn.Linear, x: Tensor) -> Tensor:
    return x
