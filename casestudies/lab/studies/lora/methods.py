"""The methods that are held against each other: what of a model each trains."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.studies.lora.adapters import FirstCodeScale, LowRank, RowScale
from casestudies.lab.studies.lora.frozen import Nf4Linear

ADAPTED = (LowRank, RowScale, FirstCodeScale)
QUERY_AND_VALUE = ("query", "value")  # what the publication adapts (section 4.2)

Prepare = Callable[[LanguageModel, torch.Generator], None]


@dataclass(frozen=True)
class Method:
    """How a frozen model is made ready, and about which peak learning rate suits it."""

    prepare: Prepare
    rate: float


def adapted(base: LanguageModel, method: Method, generator: torch.Generator) -> LanguageModel:
    """Return a copy of the model of which only what the method trains takes gradients."""
    model = copy.deepcopy(base).requires_grad_(False)
    method.prepare(model, generator)
    return model.to(base.norm.weight.device)


def trained(model: nn.Module) -> list[nn.Parameter]:
    """Return what takes gradients."""
    return [weight for weight in model.parameters() if weight.requires_grad]


def merge(model: LanguageModel) -> LanguageModel:
    """Return a copy of the model with plain layers that do what the adapted ones do."""
    model = copy.deepcopy(model)
    for block in model.blocks:
        for name, layer in list(block.named_children()):
            if isinstance(layer, ADAPTED):
                setattr(block, name, layer.merged())
    return model


def _everything(model: LanguageModel, generator: torch.Generator) -> None:
    model.requires_grad_(True)


def _last_block(model: LanguageModel, generator: torch.Generator) -> None:
    model.blocks[-1].requires_grad_(True)
    model.norm.requires_grad_(True)


def _each_linear(make: Callable[[nn.Linear], nn.Module], *only: str) -> Prepare:
    """Return what puts another layer in the place of those named, or of each linear one."""

    def prepare(model: LanguageModel, generator: torch.Generator) -> None:
        for block in cast(Sequence[Block], model.blocks):
            for name, linear in block.linears().items():
                if name in only or not only:
                    setattr(block, name, make(linear))

    return prepare


def _low_rank(rank: int, *only: str, nf4: bool = False) -> Prepare:
    def prepare(model: LanguageModel, generator: torch.Generator) -> None:
        def make(linear: nn.Linear) -> LowRank:
            return LowRank(Nf4Linear(linear) if nf4 else linear, rank, generator)

        _each_linear(make, *only)(model, generator)

    return prepare


METHODS = {
    "full": Method(_everything, 3e-3),
    "last block": Method(_last_block, 1e-2),
    "scales only": Method(_each_linear(RowScale), 1e-1),
    "alphatuning": Method(_each_linear(FirstCodeScale), 1e-2),
    "lora 1": Method(_low_rank(1, *QUERY_AND_VALUE), 3e-2),
    "lora 4": Method(_low_rank(4, *QUERY_AND_VALUE), 3e-2),
    "lora 16": Method(_low_rank(16, *QUERY_AND_VALUE), 3e-2),
    "lora 4 everywhere": Method(_low_rank(4), 3e-2),
    "qlora 4": Method(_low_rank(4, nf4=True), 3e-2),
}
