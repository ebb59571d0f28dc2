"""The models whose numbers are rounded, with their weights as they were at hand."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.quantize import layerwise
from casestudies.lab.quantize.gptq import gptq
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.quantize.quantized import Format
from casestudies.lab.studies.outlier_codes.about import (
    INT4_CLIPPED,
    INT4_NEAREST,
    NEARER_PAIRS,
    OLIVE,
)
from casestudies.lab.studies.outlier_codes.packed import ROUNDINGS, BrokenPromise, check, pack

INT8 = 127
# Ways to round of which one cannot be worse than the other, since it chooses among what that has.
NO_WORSE = (
    (INT4_CLIPPED, INT4_NEAREST),
    (OLIVE, INT4_NEAREST),
    (NEARER_PAIRS, OLIVE),
    (NEARER_PAIRS, INT4_CLIPPED),
)
ROUNDING_OF_SUMS = 1e-5


@dataclass(frozen=True)
class RoundedWeights:
    """Weights of all layers as read back from their bytes; errors are squared, by layer."""

    weights: dict[str, Tensor]
    errors: dict[str, float]
    bits: float  # of a weight, scales among them
    victims: float  # share of all weights
    outliers: dict[str, Tensor]  # by layer, outliers by column


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

    def sharing_inputs(self) -> Iterator[tuple[nn.Linear, ...]]:
        """Yield the linear layers, together where they read the same."""
        for b in self.blocks:
            yield from [(b.query, b.key, b.value), (b.output,), (b.gate, b.up), (b.down,)]

    def perplexity(self, weights: dict[str, Tensor] | None = None) -> float:
        """Return that of the model with these weights, or with its own."""
        self.put(weights)
        return perplexity(self.model, self.evaluation)

    def rounded(self, name: str, group: int) -> RoundedWeights:
        """Return the weights in one of ROUNDINGS; raise BrokenPromise."""
        rounding = ROUNDINGS[name]
        found: dict[str, Tensor] = {}
        outliers: dict[str, Tensor] = {}
        size = victims = 0
        for layer, weight in self.weights.items():
            packed = pack(weight, rounding, group or weight.shape[1])
            check(weight, packed, rounding)
            found[layer] = packed.weights()
            size += packed.stored_bytes
            victims += int(packed.victims().sum())
            outliers[layer] = packed.outliers().sum(0)
        return self._measured(found, size, victims, outliers)

    def in_int8(self) -> RoundedWeights:
        """Return the weights in 8 bits with one scale a row."""
        found, size = {}, 0
        for layer, weight in self.weights.items():
            scale = (weight.abs().amax(1, keepdim=True) / INT8).clamp(min=1e-12)
            found[layer] = (weight / scale).round_().clamp_(-INT8, INT8).mul_(scale)
            size += weight.numel() + 2 * len(weight)
        return self._measured(found, size)

    def by_gptq(self, group: int) -> RoundedWeights:
        """Return the weights in 4 bits by GPTQ, fitted to the calibration text."""
        size = 0

        def write(weights: Sequence[Tensor], inputs: Sequence[Tensor]) -> list[Tensor]:
            nonlocal size
            columns = weights[0].shape[1]
            form = Format(4, min(group or columns, columns))
            size += sum(form.stored_bytes(*weight.shape) for weight in weights)
            return [matrix.weights() for matrix in gptq(weights, gram(inputs), form)]

        self.put()
        layerwise.compress(self.model, self.calibration, write, len(self.blocks))
        return self._measured({n: li.weight.clone() for n, li in self.linears.items()}, size)

    def put(self, weights: dict[str, Tensor] | None = None) -> None:
        """Give the linear layers these weights, or their own."""
        for name, weight in (weights or self.weights).items():
            self.linears[name].weight.copy_(weight)

    def percent(self, rounded: RoundedWeights) -> float:
        """Return the squared error of all weights in percent of their squares."""
        return 100 * sum(rounded.errors.values()) / self.energy

    def _measured(
        self,
        found: dict[str, Tensor],
        size: int,
        victims: int = 0,
        outliers: dict[str, Tensor] | None = None,
    ) -> RoundedWeights:
        errors = {
            name: (found[name] - weight).square().sum().item()
            for name, weight in self.weights.items()
        }
        bits = 8 * size / self.numbers
        return RoundedWeights(found, errors, bits, victims / self.numbers, outliers or {})


def check_order(found: dict[str, RoundedWeights]) -> None:
    """Raise BrokenPromise where a way that cannot be worse than another is, in any layer."""
    for better, worse in NO_WORSE:
        for layer, error in found[worse].errors.items():
            if found[better].errors[layer] > error * (1 + ROUNDING_OF_SUMS):
                raise BrokenPromise(f"{better} errs more than {worse} in layer {layer}")
