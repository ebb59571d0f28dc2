"""Adds to every linear layer's product, for a row of texts, what each text's own adapter adds.

The layer's product is one for all tokens of the row, whosever they are. The row falls into segments
of one task each. Beside the product the adapters of segments of one length are gathered into one
tensor, and applied by batched products (Punica's SGMV, Chen et al., 2023, in stock PyTorch): all
that add one token each cost as many operations as one of them.

Shapes in comments: N tokens of the row, R segments, T tokens of each, k numbers into a layer, d out
of it.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.studies.multi_lora.adapters import Kind, Parts, by_layer, sizes_of
from casestudies.lab.studies.multi_lora.pool import Pool


class Segment(NamedTuple):
    """Tokens next to each other in the row that are of one task."""

    task: int
    tokens: int


@dataclass(frozen=True)
class Group:
    """Segments next to each other whose adapters are applied together: of one kind and length."""

    kind: Kind
    first: int  # token
    shape: tuple[int, int]  # R, T
    parts: Sequence[Parts]  # of each layer

    def add(self, y: Tensor, x: Tensor, layer: int) -> None:
        """Add to the outputs y (N, d) of a layer what the adapters make of its inputs x (N, k)."""
        tokens = slice(self.first, self.end)
        own_y, own_x = (row[tokens].unflatten(0, self.shape) for row in (y, x))
        self.kind.add(own_y, own_x, self.parts[layer])

    @property
    def end(self) -> int:
        """Return the token after its last."""
        return self.first + self.shape[0] * self.shape[1]


class Batch:
    """The groups that the next pass reads."""

    groups: Sequence[Group] = ()


class Adapted(nn.Module):
    """A linear layer, numbered in its model, with the adapters of the batch beside it."""

    def __init__(self, plain: nn.Linear, layer: int, batch: Batch) -> None:
        super().__init__()
        self.plain, self._layer, self._batch = plain, layer, batch

    def forward(self, x: Tensor) -> Tensor:
        """Return (1, N, d) for x (1, N, k)."""
        y: Tensor = self.plain(x)
        for group in self._batch.groups:
            group.add(y[0], x[0], self._layer)
        return y


def adapted(model: LanguageModel, batch: Batch) -> LanguageModel:
    """Return a model of the same weights, not copied, that adds the batch's adapters."""
    found = copy.deepcopy(model, {id(weight): weight for weight in model.parameters()})
    layer = 0
    for block in cast(Sequence[Block], found.blocks):
        for name, linear in block.linears().items():
            setattr(block, name, Adapted(linear, layer, batch))
            layer += 1
    return found


class ManyTasks:
    """A model for all tasks whose adapters a pool brings in.

    The adapters of a group are gathered when it is new, and kept while the next passes have it too.
    With `one_by_one` each segment is a group of its own.
    """

    def __init__(self, model: LanguageModel, pool: Pool, *, one_by_one: bool = False) -> None:
        self._batch = Batch()
        self._sizes = sizes_of(model)
        self._one_by_one = one_by_one
        self._gathered: dict[tuple[int, ...], list[Parts]] = {}
        self.pool = pool
        self.model = adapted(model, self._batch)

    @torch.inference_mode()
    def turn_to(self, row: Sequence[Segment]) -> None:
        """Make ready for a row of these segments. Raises NoRoom if the pool is too small."""
        self.pool.hold([segment.task for segment in row])
        grouped = self._grouped(row)
        tasks = [tuple(segment.task for segment in group) for group in grouped]
        self._batch.groups = ()  # what is not needed again is freed before more is gathered
        self._gathered = {own: held for own, held in self._gathered.items() if own in tasks}
        groups, first = list[Group](), 0
        for group, own in zip(grouped, tasks, strict=True):
            shape = len(group), group[0].tokens
            groups.append(Group(self._kind(own[0]), first, shape, self._parts(own)))
            first = groups[-1].end
        self._batch.groups = groups

    def _grouped(self, row: Sequence[Segment]) -> list[list[Segment]]:
        if self._one_by_one:
            return [[segment] for segment in row]
        alike = groupby(row, key=lambda segment: (self._kind(segment.task), segment.tokens))
        return [list(group) for _, group in alike]

    def _kind(self, task: int) -> Kind:
        return self.pool.adapters[task].kind

    def _parts(self, tasks: tuple[int, ...]) -> list[Parts]:
        if tasks not in self._gathered:
            held = self.pool.gathered(tasks)
            self._gathered[tasks] = by_layer(self._kind(tasks[0]), self._sizes, held)
        return self._gathered[tasks]
