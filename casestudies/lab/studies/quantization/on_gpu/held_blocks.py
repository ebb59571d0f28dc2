"""Blocks whose every step is held against float64, whatever computes them."""

import torch
from torch import Tensor

from casestudies.lab.kernels.int8_tokens import misrounded
from casestudies.lab.measure.equality import relative
from casestudies.lab.quantize.int8 import Int8
from casestudies.lab.studies.quantization.on_gpu.blocks import (
    Eager,
    Engine,
    Int8Linear,
    Linear,
    Norm,
    Read,
    Reader,
    apart,
)


class Held(Engine[Read, Reader]):
    """Does what an engine does, and holds each step to float64 on the numbers that it was given.

    What follows goes on with what the engine made, so that no step answers for one before.
    """

    def __init__(self, engine: Engine[Read, Reader], device: str) -> None:
        super().__init__(engine.shape, engine.length)
        self.engine, self.exact = engine, Eager(self.shape, self.length, device)
        self.differences: list[float] = []

    @property
    def apart(self) -> float:
        """Return the largest difference of a step, as a share of its largest number; NaN stays.

        A code may be half a step off besides.
        """
        return torch.tensor(self.differences).max().item()

    def read(self, x: Tensor, reader: Reader) -> Read:
        """Return x as the layer reads it."""
        return self._held(self.engine.read(x, reader), x.double(), reader)

    def normed(
        self, x: Tensor, added: Tensor | None, norm: Norm, reader: Reader
    ) -> tuple[Read, Tensor]:
        """Return the norm of the sum, and what the next sum adds to."""
        found, kept = self.engine.normed(x, added, norm, reader)
        terms = x.double(), None if added is None else added.double()
        wide = norm[0].double(), norm[1].double()
        exact, exact_kept = self.exact.normed(*terms, wide, exactly(reader))
        self.differences.append(relative(kept, exact_kept))
        return self._held(found, exact, reader), kept

    def product(self, read: Read, linear: Reader) -> Tensor:
        """Return what the layer makes."""
        found = self.engine.product(read, linear)
        self.differences.append(relative(found, self.exact.product(numbers(read), exactly(linear))))
        return found

    def attended(self, read: Read, projections: tuple[Reader, ...]) -> Tensor:
        """Return what attention makes."""
        found = self.engine.attended(read, projections)
        three = apart(exactly(projections[0]))
        self.differences.append(relative(found, self.exact.attended(numbers(read), three)))
        return found

    def widened(self, read: Read, up: Reader, down: Reader) -> Read:
        """Return the inside of the feed-forward part."""
        exact = self.exact.widened(numbers(read), exactly(up), exactly(up))
        return self._held(self.engine.widened(read, up, down), exact, down)

    def _held(self, found: Read, exact: Tensor, reader: Reader) -> Read:
        if isinstance(found, Int8):
            known = isinstance(reader, Int8Linear) and reader.step is not None
            self.differences.append(misrounded(found, exact, static=known))
        elif isinstance(found, Tensor):
            self.differences.append(relative(found, exact))
        return found


def numbers(read: Tensor | Int8) -> Tensor:
    """Return the numbers that are read, in float64."""
    return read.numbers() if isinstance(read, Int8) else read.double()


def exactly(linear: Linear | Int8Linear) -> Linear:
    """Return the layer in float64."""
    return Linear(numbers(linear.weight), linear.bias.double())
