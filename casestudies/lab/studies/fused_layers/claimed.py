"""The shapes that the rules of LightSeq2's claims ask for, on random tokens in bfloat16."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.measure.rounds import alternately, ratios
from casestudies.lab.report import Report
from casestudies.lab.studies.fused_layers.claims import (
    BATCHES,
    BIG,
    BIG_BATCH,
    GAIN,
    WIDTHS,
    width_named,
)
from casestudies.lab.studies.fused_layers.compiled import check_compiler, compiled
from casestudies.lab.studies.fused_layers.layers import PYTORCH
from casestudies.lab.studies.fused_layers.model import Layer, Shape, Transformer, layer
from casestudies.lab.studies.fused_layers.optimizers import Listed, Make, Row

LENGTH = 128
# Transformer base has six layers, big six and six (Vaswani et al., 2017, table 3).
LAYERS, VOCABULARY = 6, 37_000
BIG_WIDTH = 1024


class Case(NamedTuple):
    """A shape, and how many sequences a step reads."""

    name: str
    shape: Shape
    batch: int


def cases() -> Iterator[Case]:
    """Yield what the rules ask for."""
    for width in WIDTHS:
        for batch in BATCHES:
            yield Case(width_named(width), Shape(VOCABULARY, width, LAYERS, LENGTH), batch)
    big = Shape(VOCABULARY, BIG_WIDTH, LAYERS, LENGTH, encoder_layers=LAYERS)
    yield Case(BIG, big, BIG_BATCH)


@dataclass(frozen=True)
class Claimed:
    """What measures a case: so many rounds, on this device, into this report."""

    rounds: int
    setup: Setup
    report: Report

    def train(self) -> None:
        """Report what compiled layers gain at each of the claims' shapes; raises NotCompiled."""
        check_compiler()
        for case in cases():
            self.measure(case, compiled(layer))
            torch.compiler.reset()

    def measure(self, case: Case, fused: Layer) -> None:
        """Report tokens a second of PyTorch's functions, and the gain of `fused` layers."""
        runs = {
            "PyTorch": self._training(case, layer, Listed),
            "compiled": self._training(case, fused, Row),
        }
        taken = alternately(runs, self.rounds, self.setup.device)
        settings = {"model": case.name, "batch": case.batch}
        for variant, each in taken.items():
            speeds = [case.batch * case.shape.longest / seconds for seconds in each]
            self.report.measure("tokens per second", variant, speeds, **settings)
        self.report.measure(GAIN, "compiled", ratios(taken, to="PyTorch")["compiled"], **settings)

    def _training(self, case: Case, through: Layer, make: Make) -> Callable[[], None]:
        """Return a step of a model of the case; dropout is PyTorch's own."""
        device, shape = self.setup.device, case.shape
        generator = torch.Generator().manual_seed(self.setup.seed)
        size = case.batch, shape.longest + 1
        windows = torch.randint(shape.vocabulary, size, generator=generator).to(device)
        source = windows[:, :-1].flip(1) if shape.encoder_layers else None
        model = Transformer(shape, generator).to(device)
        optimizer = make(model.parameters())

        def step() -> None:
            with torch.autocast(device, torch.bfloat16):
                loss: Tensor = model(windows, PYTORCH, None, source, through)
            optimizer.step(torch.autograd.grad(loss, list(model.parameters())))

        return step
