"""What each rank does: a share of a GPT's step, which is compared, counted and timed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.distributed.traffic import Traffic
from casestudies.lab.measure.rounds import alternately
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.measure.tensors import peak_bytes
from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention
from casestudies.lab.models.gpt import (
    Dropout,
    Gpt,
    Layer,
    Part,
    embedded,
    later_hidden,
    logits,
    none,
    projected,
    selective,
    unchanged,
)
from casestudies.lab.studies.sequence_parallel import megatron
from casestudies.lab.studies.sequence_parallel.about import DROPOUT, HEAD_WIDTH, WAYS, Split
from casestudies.lab.studies.sequence_parallel.ring import (
    CONTIGUOUS,
    ZIG_ZAG,
    Ring,
    ulysses,
)

CUT = (0, 0, 0, 1, 0, 1)  # along which dimension ranks share query, key, value, out, up, down
SEED = 1  # of dropout
Gradients = list[Any]  # NumPy arrays, of the embedding and of each layer's matrices


@dataclass(frozen=True)
class Task:
    """A GPT's weights as NumPy arrays, and windows (b, s + 1) of tokens."""

    weights: Gradients
    windows: Any

    @classmethod
    def of(cls, model: Gpt, windows: Tensor) -> "Task":
        """Return the task of this model."""
        return cls([w.detach().numpy() for w in model.parameters()], windows.numpy())


class Shared:
    """A rank's part of a GPT's step: its tokens, its part of the weights, and the layer so cut.

    It computes in `dtype`; weights are leaves of that type. If `alike`, each rank draws the dropout
    of the whole and keeps its part, so that all together drop what one process drops; else it draws
    for its part alone, as systems do.
    """

    def __init__(
        self,
        task: Task,
        split: Split,
        dtype: torch.dtype,
        dropout: float = DROPOUT,
        alike: bool = False,
    ) -> None:
        self.split, self._dropout, self._alike = split, dropout, alike
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.alone = split.tokens == "all" and not split.tensor
        self.waits = self.alone and self.rank > 0
        windows = torch.from_numpy(task.windows)
        self.whole = windows.shape[1] - 1
        placement = ZIG_ZAG if split.tokens == "zig-zag" else CONTIGUOUS
        self.own = torch.arange(self.whole)
        if split.tokens != "all":
            self.own = placement.tokens(self.whole, self.rank, self.world)
        self.ring = Ring(placement)
        self._read, self._next = windows[:, self.own], windows[:, self.own + 1]
        self.weights = [
            self.part_of(torch.from_numpy(weight), index).to(dtype).clone().requires_grad_()
            for index, weight in enumerate(task.weights)
        ]
        self.gradients: Sequence[Tensor] = ()
        self._heads = task.weights[0].shape[1] // HEAD_WIDTH
        scored = split.attention in ("kept", "again")
        self._hidden = later_hidden(self.weights[0], self.whole if scored else 0)

    def part_of(self, weight: Tensor, index: int) -> Tensor:
        """Return the rank's part of a weight; the first, the embedding, is on every rank."""
        if not self.split.tensor or index == 0:
            return weight
        return weight.chunk(self.world, CUT[(index - 1) % len(CUT)])[self.rank]

    def layers(self, x: Tensor) -> Tensor:
        """Return what the last layer makes (b, n, h) of what the first one reads."""
        layer, way = self._layer(), selective if self.split.attention == "again" else none
        for first in range(1, len(self.weights), len(CUT)):
            x = way(layer, x, tuple(self.weights[first : first + len(CUT)]))
        return x

    def inputs(self) -> Tensor:
        """Return what the first layer reads (b, n, h)."""
        return embedded(self._read, self.weights[0], self.own)

    def loss(self) -> Tensor:
        """Return the rank's part of the mean loss of all tokens: all of it if it has all."""
        found = logits(self.layers(self.inputs()), self.weights[0])
        tokens = self._read.shape[0] * self.whole
        found = found if found.dtype == torch.float64 else found.float()
        return F.cross_entropy(found.flatten(0, 1), self._next.flatten(), reduction="sum") / tokens

    def backward(self) -> None:
        """Compute the gradients, but for what other ranks add to them."""
        self.gradients = torch.autograd.grad(self.loss(), self.weights)

    def finish(self) -> None:
        """Add up the gradients of those weights that are on every rank."""
        if self.split.tokens != "all":
            for gradient in self.gradients[: 1 if self.split.tensor else None]:
                dist.all_reduce(gradient)

    def _layer(self) -> Layer:
        split, shares = self.split, self.split.tokens != "all"
        heads = torch.arange(self._heads)
        if split.tensor:
            heads = heads.chunk(self.world)[self.rank]
        # Ranks with the same tokens must drop the same, so all have one seed.
        dropout = of_scores = Dropout(self._dropout, torch.Generator().manual_seed(SEED))
        if self._alike:
            dropout = replace(dropout, part=Part(self.own, self.whole))
            of_scores = replace(dropout, part=Part(heads, self._heads))
        enter: Callable[..., tuple[Tensor, ...]] = projected
        leave: Callable[[Tensor], Tensor] = unchanged
        if split.tensor:
            enter = megatron.enter_shared if shares else megatron.enter
            leave = megatron.leave_shared if shares else megatron.leave
        instead: dict[str, Attention] = {
            "fused": attention.stock,
            "ring": self.ring,
            "exchange": ulysses,
        }
        by = instead.get(split.attention)
        return Layer(len(heads), self._hidden, dropout, by, of_scores, enter, leave)


@dataclass
class Exact:
    """What one process finds in float64: the loss without dropout, and gradients with it."""

    loss: float
    gradients: Gradients


def exact(task: Task, names: Sequence[str]) -> dict[str, Exact]:
    """Return what these ways of one process find."""
    return {
        name: Exact(
            _evaluated(task, name),
            [gradient.numpy() for gradient in _with_gradients(task, name).gradients],
        )
        for name in names
    }


@dataclass
class Compared:
    """A way's loss, its difference, and that of a gradient as a share of the matrix's largest."""

    loss: float
    of_loss: float
    of_gradient: float


def compare(
    task: Task, found: Mapping[str, Exact], against: Mapping[str, str]
) -> dict[str, Compared]:
    """Return how each way on ranks stands beside what the way named with it found alone."""
    return {name: _compared(task, found[alone], name) for name, alone in against.items()}


def _compared(task: Task, alone: Exact, name: str) -> Compared:
    shared = _with_gradients(task, name)
    apart = []
    for index, gradient in enumerate(shared.gradients):
        expected = shared.part_of(torch.from_numpy(alone.gradients[index]), index)
        apart.append((gradient - expected).abs().max() / expected.abs().max())
    loss = _evaluated(task, name)
    return Compared(loss, abs(loss - alone.loss), torch.stack(apart).max().item())


def _with_gradients(task: Task, name: str) -> Shared:
    """Return the rank's part of a step that is done, with dropout."""
    shared = Shared(task, WAYS[name], torch.float64, alike=True)
    shared.backward()
    shared.finish()
    return shared


@torch.no_grad()
def _evaluated(task: Task, name: str) -> float:
    """Return the mean loss of all tokens without dropout."""
    loss = Shared(task, WAYS[name], torch.float64, dropout=0.0).loss()
    if WAYS[name].tokens != "all":
        dist.all_reduce(loss)
    return loss.item()


@dataclass
class Counted:
    """What a rank keeps of a layer, sends for it in a step, and computes of attention."""

    kept: int  # bytes
    sent: float  # bytes, of activations and their gradients
    sent_of_weights: float  # bytes, of the gradients of matrices that are on every rank
    calls: Mapping[str, int]
    pairs: int  # of query and key, in a forward pass


def count(task: Task, names: Sequence[str]) -> dict[str, Counted]:
    """Return what each way keeps, sends and computes for a layer in a step, in bfloat16."""
    one_layer = replace(task, weights=task.weights[: 1 + len(CUT)])
    return {name: _counted(Shared(one_layer, WAYS[name], torch.bfloat16)) for name in names}


def _counted(shared: Shared) -> Counted:
    (_, *weights), saved = shared.weights, SavedBytes()
    saved.leave_out(weights)
    x = shared.inputs().detach().requires_grad_()
    with Traffic() as traffic:
        with saved.counting():
            found = shared.layers(x)
        kept = saved.bytes
        gradients = torch.autograd.grad(found, (x, *weights), torch.ones_like(found))
    shared.gradients = (x.new_empty(0), *gradients[1:])  # the embedding is of no layer
    with Traffic() as of_weights:
        shared.finish()
    return Counted(
        kept, traffic.bytes_sent, of_weights.bytes_sent, dict(traffic.calls), shared.ring.pairs
    )


def peaks(task: Task, names: Sequence[str], lengths: Sequence[int]) -> dict[tuple[str, int], int]:
    """Return the most bytes that a step holds beyond weights, by way and length, in float32."""
    found = {}
    for name, length in product(names, lengths):
        cut = replace(task, windows=task.windows[:, : length + 1])
        shared = Shared(cut, WAYS[name], torch.float32)
        if not shared.waits:
            found[name, length] = peak_bytes(shared.backward)
    return found


def timed(task: Task, names: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of a step of each way in each round, in turn, in float32.

    One process may use as many threads as there are ranks, which wait for it.
    """
    ways = {name: Shared(task, WAYS[name], torch.float32) for name in names}
    return alternately({name: partial(_step, way) for name, way in ways.items()}, rounds)


def _step(shared: Shared) -> None:
    torch.set_num_threads(shared.world if shared.alone else 1)
    if not shared.waits:
        shared.backward()
        shared.finish()
    dist.barrier()


def slices(task: Task, units: int, rounds: int) -> dict[tuple[int, int], list[float]]:
    """Return the seconds that a layer takes for each slice, forward and backward, in each round.

    A slice is so many units of the sequence after so many others, whose keys and values are there.
    """
    weights = [torch.from_numpy(weight).requires_grad_() for weight in task.weights[1:][: len(CUT)]]
    hidden = task.weights[0].shape[1]
    heads, unit = hidden // HEAD_WIDTH, (task.windows.shape[1] - 1) // units
    random = torch.Generator().manual_seed(SEED)
    past = torch.randn(1, heads, unit * units, HEAD_WIDTH, generator=random)

    def step(length: int, before: int) -> None:
        def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            seen = past[:, :, : unit * before]
            return attention.stock(query, torch.cat((seen, key), 2), torch.cat((seen, value), 2))

        layer = Layer(heads, torch.empty(0), Dropout(DROPOUT, random), attend)
        x = torch.ones(1, unit * length, hidden, requires_grad=True)
        found = layer(x, *weights)
        torch.autograd.grad(found, (x, *weights), torch.ones_like(found))

    every = [(n, before) for n in range(1, units + 1) for before in range(units - n + 1)]
    taken = alternately({str(one): partial(step, *one) for one in every}, rounds)
    return {one: taken[str(one)] for one in every}
