"""FlexGen's block schedule: one load of a block's weights serves several batches.

Sheng et al., 2023, sections 3 and 4.1, algorithm 1. Weights, keys and values lie on the host. The
device reads K batches together, block after block and in each block batch after batch; while it
computes batch k of block j, the link carries

    load_weight      the k-th part of the weights of block j + 1
    load_cache       keys and values of batch k + 1
    store_cache      the keys and values of the tokens that batch k - 1 has read

so the device holds the weights of two blocks and the caches of a few batches, whatever the model's
depth. A step moves the weights once for all K batches. What the paper does besides is left out:
activations stay on the device, no disk, no compression, no attention on the host.

Shapes in comments: B sequences, T tokens, H key-value heads, D head width, n numbers of a block.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.measure.tensors import Device
from casestudies.lab.models.language_model import Block, LanguageModel, Place
from casestudies.lab.studies.offloading.carrying import Arrival, Carrier
from casestudies.lab.studies.offloading.rows import parts, row_of


class Wanted(Protocol):
    """A tensor that the device will need."""

    def send_part(self) -> None: ...

    def arrived(self) -> Tensor: ...


class Coming:
    """A tensor of the host on its way to the device, where room is made when the first part leaves.

    It leaves in so many parts, or all at once when it is waited for.
    """

    def __init__(self, source: Tensor, room: int, device: Device, link: Carrier, parts: int = 1):
        self._source, self._device, self._link = source, device, link
        self._shape = torch.Size((len(source) + room, *source.shape[1:]))
        ends = [len(source) * part // parts for part in range(parts + 1)]
        self._parts = [slice(*rows) for rows in pairwise(ends) if rows[0] < rows[1]]
        self._there: Tensor | None = None
        self._arrivals: list[Arrival] = []

    def send_part(self) -> None:
        """Let the next part leave, if one is left."""
        there = self._room()
        if len(self._arrivals) < len(self._parts):
            rows = self._parts[len(self._arrivals)]
            self._arrivals.append(self._link.carry(self._source[rows], there[rows]))

    def arrived(self) -> Tensor:
        """Return the tensor on the device, with `room` more rows at its end."""
        while len(self._arrivals) < len(self._parts):
            self.send_part()
        for arrived in self._arrivals:
            arrived()
        return self._room()

    def _room(self) -> Tensor:
        if self._there is None:
            self._there = self._device.empty(self._shape, self._source.dtype)
        return self._there


class There:
    """A tensor that stays on the device."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def send_part(self) -> None:
        """Do nothing."""

    def arrived(self) -> Tensor:
        """Return the tensor."""
        return self._tensor


class Piece:
    """Keys and values (T + new, 2, B, H, D) of one block and batch, T of which are there."""

    def __init__(self, held: Tensor, length: int) -> None:
        self.held, self.length = held, length

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep new keys and values (B, H, new, D); return all of them."""
        keys, values = self.held.permute(1, 2, 3, 0, 4)  # B, H, T + new, D
        keys[:, :, self.length :], values[:, :, self.length :] = key, value
        return keys, values

    def advance(self, tokens: int) -> None:
        """Count tokens that every block has read."""
        self.length += tokens


class Shell:
    """A block without weights of its own, to which those of any block are lent."""

    def __init__(self, block: Block) -> None:
        self.block = deepcopy(block).requires_grad_(requires_grad=False)
        self._weights = list(self.block.parameters())
        self._shapes = [weight.shape for weight in self._weights]
        self.give_back()

    def lend(self, row: Tensor) -> None:
        """Let the weights be parts of the row (n)."""
        for weight, part in zip(self._weights, parts(row, self._shapes), strict=True):
            weight.data = part

    def give_back(self) -> None:
        """Let go of the row."""
        for weight in self._weights:
            weight.data = weight.new_empty(0)


class BlockSchedule(ABC):
    """Reads K batches of texts block by block; its kinds differ in what lies where.

    Embedding, last norm and head are on the device in all of them.
    """

    prefetch = False

    def __init__(self, model: LanguageModel, device: Device) -> None:
        self.config, self.device = model.config, device
        self.embedding = device.put(model.embedding.weight.detach())
        self.norm = device.put(model.norm.weight.detach())
        self.head = device.put(model.head.weight.detach()) if model.head else self.embedding
        self.shell = Shell(cast(Block, model.blocks[0]))
        self.caches: list[list[Tensor]] = []
        self.length = 0

    def begin(self, batches: int, sequences: int, room: int) -> None:
        """Make room for keys and values of so many tokens of each sequence; none is read yet."""
        c = self.config
        shape = torch.Size((room, 2, sequences, c.key_value_heads, c.width // c.heads))
        self.caches = []  # of the texts before
        self.caches = [[self._room(shape) for _ in range(batches)] for _ in range(c.layers)]
        self.length = 0

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first `length`."""
        self.length = length

    @torch.no_grad()
    def step(self, batches: Sequence[Tensor]) -> list[Tensor]:
        """Return the logits (B, vocabulary) after the last of new tokens (B, T) of each batch."""
        c, new = self.config, slice(self.length, self.length + batches[0].shape[1])
        hidden = [F.embedding(batch, self.embedding) for batch in batches]
        place = Place.of(hidden[0], c.width // c.heads, c.rope_base, self.length)
        weights, cache = self._weights(0), self._cache(0, 0, new)
        stored: list[Arrival] = []
        for j in range(c.layers):
            self.shell.give_back()  # so that no more than two blocks are there
            self.shell.lend(weights.arrived())
            following = j + 1 < c.layers
            if following:
                weights = self._weights(j + 1)
            for k in range(len(batches)):
                held, last = cache.arrived(), k + 1 == len(batches)
                if len(stored) > 1:
                    stored.pop(0)()  # so that no more than three caches are there
                if self.prefetch and following:
                    weights.send_part()
                if not last or following:
                    cache = self._cache(j + last, 0 if last else k + 1, new)
                    if self.prefetch:
                        cache.send_part()
                piece = Piece(held, self.length)
                hidden[k] = self.shell.block(hidden[k], place._replace(cache=piece))
                stored.append(self._store(held[new], self.caches[j][k][new]))
        self.shell.give_back()
        for arrived in stored:
            arrived()
        self.length = new.stop
        return [self._logits(last[:, -1]) for last in hidden]

    def _logits(self, hidden: Tensor) -> Tensor:
        normed = F.rms_norm(hidden, (self.config.width,), self.norm, self.config.norm_epsilon)
        return F.linear(normed, self.head)

    @abstractmethod
    def _room(self, shape: torch.Size) -> Tensor:
        """Return room for the keys and values of a block and batch."""

    @abstractmethod
    def _weights(self, j: int) -> Wanted:
        """Return the weights of block j."""

    @abstractmethod
    def _cache(self, j: int, k: int, new: slice) -> Wanted:
        """Return keys and values of block j and batch k, with room for the new ones."""

    @abstractmethod
    def _store(self, new: Tensor, place: Tensor) -> Arrival:
        """Bring new keys and values to where they belong."""


class OnDevice(BlockSchedule):
    """All blocks and all caches stay on the device."""

    def __init__(self, model: LanguageModel, device: Device) -> None:
        super().__init__(model, device)
        self._rows = [device.put(row_of(block)) for block in model.blocks]

    def _room(self, shape: torch.Size) -> Tensor:
        return self.device.empty(shape, self.embedding.dtype)

    def _weights(self, j: int) -> Wanted:
        return There(self._rows[j])

    def _cache(self, j: int, k: int, new: slice) -> Wanted:
        return There(self.caches[j][k][: new.stop])

    def _store(self, new: Tensor, place: Tensor) -> Arrival:
        """Do nothing: the place is where the new keys and values are."""
        return lambda: None


class Offloaded(BlockSchedule):
    """Blocks and caches lie on the host.

    With `prefetch` they are on their way while the device computes; without, it waits for each
    when it needs it.
    """

    def __init__(
        self, model: LanguageModel, device: Device, link: Carrier, *, prefetch: bool
    ) -> None:
        super().__init__(model, device)
        self.link, self.prefetch, self._kind = link, prefetch, self.embedding.device.type
        self._rows = [on_host(row_of(block), self._kind) for block in model.blocks]

    def carry_all(self, new: slice) -> None:
        """Bring to the device all that a step reads, and compute nothing."""
        for j in range(self.config.layers):
            self._weights(j).arrived()
            for k in range(len(self.caches[j])):
                self._cache(j, k, new).arrived()

    def _room(self, shape: torch.Size) -> Tensor:
        return on_host(torch.zeros(shape, dtype=self.embedding.dtype), self._kind)

    def _weights(self, j: int) -> Wanted:
        parts = len(self.caches[0]) if self.prefetch else 1
        return Coming(self._rows[j], 0, self.device, self.link, parts)

    def _cache(self, j: int, k: int, new: slice) -> Wanted:
        held = self.caches[j][k][: new.start]
        return Coming(held, new.stop - new.start, self.device, self.link)

    def _store(self, new: Tensor, place: Tensor) -> Arrival:
        arrived = self.link.carry(new, place)
        if not self.prefetch:
            arrived()
        return arrived


def on_host(tensor: Tensor, device: str) -> Tensor:
    """Return the tensor on the host; where there is a GPU, in memory that it may read."""
    return tensor.cpu().pin_memory() if device == "cuda" else tensor
