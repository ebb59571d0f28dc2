"""Where training keeps its states, after five publications. Bytes for each of P parameters:

                                                on the device             on the host   carried
    on the device                               2 + 2 + 12                -             -
    optimizer on the host   ZeRO-Offload, §4    2, a unit's gradient      2 + 12        4
    optimizer in buckets    AxoNN, §5           2 + 2, 16 of a bucket     12            24
    layer window            STRONGHOLD, §3      2 of a window, a gradient 2 + 2 + 12    8
    chunks                  PatrickStar, §6     what there is room for    the rest      as it comes

A layer window whose host is a disk is ZeRO-Infinity's (§5). What is carried ahead of time, beside
computation, changes times and no bytes, so that for counting everything is carried when it is
needed. A window whose blocks do come ahead, over a link, is timed on a GPU.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from casestudies.lab.measure.tensors import Device
from casestudies.lab.studies.offloading.carrying import Arrival, Carrier
from casestudies.lab.studies.offloading.training import ENDS, WEIGHT
from casestudies.lab.train.adamw import adamw

STATES = 3  # float32 copy, momentum and variance of Adam


class Memory(Protocol):
    """What tensors may lie in; `bytes` are those that it holds now, `peak` the most so far."""

    @property
    def bytes(self) -> int: ...

    @property
    def peak(self) -> int: ...

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor: ...


class Disk:
    """A folder: each tensor is a file, which is mapped, and stays until the folder goes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._files = folder, 0

    @property
    def bytes(self) -> int:
        """Return the bytes of all files."""
        return sum(file.stat().st_size for file in self._folder.iterdir())

    peak = bytes

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return a tensor in a new file, all zeros."""
        self._files += 1
        path = str(self._folder / str(self._files))
        return torch.from_file(path, shared=True, size=shape.numel(), dtype=dtype).view(shape)


class Pinned(Device):  # pragma: no cover - needs a GPU
    """The host's memory, of which a card may read and write what is carried; nothing is counted."""

    def empty(self, shape: torch.Size, dtype: torch.dtype) -> Tensor:
        """Return a tensor whose numbers are not set; states of Adam, in float32, never leave."""
        return torch.empty(shape, dtype=dtype, pin_memory=dtype == WEIGHT)


class Placed:
    """What placements share: two memories, and a count of the bytes that go between them."""

    _states: list[Tensor]  # of each unit, (3, n)

    def __init__(self, units: Sequence[Tensor], device: Device, host: Memory) -> None:
        self.units, self.device, self.host, self.carried = units, device, host, 0

    def room(self, unit: int) -> Tensor:
        """Return room for the unit's gradient (n) on the device."""
        return self.device.empty(self.units[unit].shape, WEIGHT)

    def save(self, hidden: Tensor) -> Tensor:
        """Keep a block's input until the backward pass: an activation, which is not counted."""
        return hidden

    def restored(self, saved: Tensor) -> Tensor:
        """Return a block's input that was saved."""
        return saved

    def carry(self, tensor: Tensor, memory: Memory) -> Tensor:
        """Return a copy in the other memory."""
        return self.write(tensor, memory.empty(tensor.shape, tensor.dtype))

    def write(self, tensor: Tensor, there: Tensor) -> Tensor:
        """Copy the tensor into one in the other memory, and return that."""
        self.carried += tensor.nbytes
        return there.copy_(tensor)

    def weights_in(self, memory: Memory, unit: int) -> Tensor:
        """Return the unit's first weights (n), as the model reads them."""
        return memory.empty(self.units[unit].shape, WEIGHT).copy_(self.units[unit])

    def states_in(self, memory: Memory, unit: int) -> Tensor:
        """Return the unit's first states of Adam (3, n)."""
        return self.first_states(memory, self.units[unit])

    def first_states(self, memory: Memory, row: Tensor) -> Tensor:
        """Return the first states of Adam (3, n) of weights (n)."""
        states = memory.empty(torch.Size((STATES, len(row))), torch.float32).zero_()
        states[0] = row
        return states

    def whole(self) -> Tensor:
        """Return the float32 copies of all weights."""
        return torch.cat([states[0] for states in self._states])


class OnDevice(Placed):
    """Everything stays on the device.

    With `wide` all gradients are made float32 before the step, as early libraries for mixed
    precision did: 20 bytes a parameter instead of 16.
    """

    def __init__(
        self, units: Sequence[Tensor], device: Device, host: Memory, *, wide: bool = False
    ) -> None:
        super().__init__(units, device, host)
        self._wide = wide
        self._weights = [self.weights_in(device, unit) for unit in range(len(units))]
        self._states = [self.states_in(self._home, unit) for unit in range(len(units))]
        self._gradients: dict[int, Tensor] = {}

    @property
    def _home(self) -> Memory:
        """Return where the states of Adam lie."""
        return self.device

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights (n)."""
        return self._weights[unit]

    def keep(self, unit: int, gradient: Tensor) -> None:
        """Keep the unit's gradient until the step."""
        self._gradients[unit] = gradient

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam."""
        found = self._gradients
        if self._wide:
            found = {
                unit: self.device.empty(gradient.shape, torch.float32).copy_(gradient)
                for unit, gradient in found.items()
            }
        for unit, states in enumerate(self._states):
            adamw(states, found[unit], step, rate)
            self._weights[unit].copy_(states[0])
        self._gradients = {}


class OptimizerOnHost(Placed):
    """ZeRO-Offload: gradients leave as they come, and the host computes the step of Adam."""

    def __init__(self, units: Sequence[Tensor], device: Device, host: Memory) -> None:
        super().__init__(units, device, host)
        self._weights = [self.weights_in(self._home, unit) for unit in range(len(units))]
        self._gradients = [host.empty(row.shape, WEIGHT) for row in units]
        self._states = [self.states_in(host, unit) for unit in range(len(units))]

    @property
    def _home(self) -> Memory:
        """Return where the weights lie."""
        return self.device

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights (n)."""
        return self._weights[unit]

    def keep(self, unit: int, gradient: Tensor) -> None:
        """Bring the unit's gradient to the host."""
        self.write(gradient, self._gradients[unit])

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam on the host, and bring the weights to the device."""
        for unit, states in enumerate(self._states):
            adamw(states, self._gradients[unit], step, rate)
            self.write(states[0].to(WEIGHT), self._weights[unit])


class LayerWindow(OptimizerOnHost):
    """STRONGHOLD: on the device are the ends, and of the blocks a window of `size`.

    The window goes up in the forward pass and down in the backward pass. Inputs of blocks, of which
    there are more in a deeper model, wait on the host too.
    """

    def __init__(
        self, units: Sequence[Tensor], device: Device, host: Memory, *, size: int = 2
    ) -> None:
        super().__init__(units, device, host)
        self._size, self._last = size, ENDS
        self._there: dict[int, Tensor] = {}

    @property
    def _home(self) -> Memory:
        return self.host

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights, and bring those of the window that begins with it."""
        if unit != ENDS:
            way = 1 if unit > self._last else -1
            window = range(unit, unit + way * self._size, way)
            kept = {ENDS, *window}
            self._there = {u: row for u, row in self._there.items() if u in kept}
            for other in window:
                if 0 < other < len(self.units):
                    self._bring(other)
            self._last = unit
        return self._bring(unit)

    def save(self, hidden: Tensor) -> Tensor:
        """Bring a block's input to the host."""
        return self.carry(hidden, self.host)

    def restored(self, saved: Tensor) -> Tensor:
        """Bring a block's input back."""
        return self.write(saved, torch.empty_like(saved))

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam on the host, where the weights are."""
        self._there, self._last = {}, ENDS
        for unit, states in enumerate(self._states):
            adamw(states, self._gradients[unit], step, rate)
            self._weights[unit].copy_(states[0])

    def _bring(self, unit: int) -> Tensor:
        if unit not in self._there:
            self._there[unit] = self.carry(self._weights[unit], self.device)
        return self._there[unit]


class LinkedWindow(LayerWindow):
    """A layer window over a link: blocks come, and gradients and inputs of blocks leave.

    With `ahead` the next block is on its way while the device computes, and a gradient while the
    next one is made. Without, each block comes when it is needed, and the device waits for whatever
    the link carries.
    """

    def __init__(
        self, units: Sequence[Tensor], device: Device, host: Memory, link: Carrier, *, ahead: bool
    ) -> None:
        super().__init__(units, device, host, size=2 if ahead else 1)
        self._link, self._ahead = link, ahead
        self._coming: dict[int, Arrival] = {}
        self._leaving: list[Arrival] = []

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights once they have arrived; see `LayerWindow`."""
        there = super().weights(unit)
        if arrived := self._coming.pop(unit, None):
            arrived()
        return there

    def room(self, unit: int) -> Tensor:
        """Return room for the unit's gradient (n), beside the one that leaves."""
        while len(self._leaving) > 1:
            self._leaving.pop(0)()
        return super().room(unit)

    def save(self, hidden: Tensor) -> Tensor:
        """Send a block's input to the host."""
        return self._leave(hidden, self.host.empty(hidden.shape, hidden.dtype))

    def restored(self, saved: Tensor) -> Tensor:
        """Bring a block's input back, which is an activation and not counted."""
        there = torch.empty_like(saved, device=self._there[ENDS].device)
        self._send(saved, there)()
        return there

    def keep(self, unit: int, gradient: Tensor) -> None:
        """Send the unit's gradient to the host."""
        self._leave(gradient, self._gradients[unit])

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam on the host, once all gradients are there."""
        for arrived in self._leaving:
            arrived()
        self._leaving = []
        if self._there[ENDS].is_cuda:  # pragma: no cover - needs a GPU
            torch.cuda.synchronize()  # what arrives is waited for by the card, not by the host
        super().update(step, rate)

    def _bring(self, unit: int) -> Tensor:
        if unit not in self._there:
            weights = self._weights[unit]
            self._there[unit] = self.device.empty(weights.shape, weights.dtype)
            self._coming[unit] = self._send(weights, self._there[unit])
        return self._there[unit]

    def _send(self, tensor: Tensor, there: Tensor) -> Arrival:
        self.carried += tensor.nbytes
        return self._link.carry(tensor, there)

    def _leave(self, tensor: Tensor, there: Tensor) -> Tensor:
        arrived = self._send(tensor, there)
        if self._ahead:
            self._leaving.append(arrived)
        else:
            arrived()
        return there


class Buckets(OnDevice):
    """AxoNN: weights and gradients stay; states come for the step, a bucket at a time."""

    def __init__(
        self, units: Sequence[Tensor], device: Device, host: Memory, *, numbers: int
    ) -> None:
        super().__init__(units, device, host)
        self._numbers = numbers

    @property
    def _home(self) -> Memory:
        return self.host

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam on the device, bucket by bucket."""
        for unit, states in enumerate(self._states):
            for first in range(0, states.shape[1], self._numbers):
                part = slice(first, first + self._numbers)
                here = self.carry(states[:, part], self.device)
                gradient = self._gradients[unit][part]
                wide = self.device.empty(gradient.shape, torch.float32).copy_(gradient)
                adamw(here, wide, step, rate)
                self._weights[unit][part] = here[0]
                self.write(here, states[:, part])
                del here, wide
        self._gradients = {}


class Chunks(Placed):
    """PatrickStar: weights and states are chunks, each in whichever memory has room for it.

    A unit has two, of its weights and of its states. Weights come to the device when they are
    needed, and make room by sending away those that are needed last. States stay where there was
    room at first, and Adam runs there. A gradient takes the place of its weights.
    """

    def __init__(self, units: Sequence[Tensor], device: Device, host: Device) -> None:
        super().__init__(units, device, host)
        self._host_cap = host.cap
        blocks = range(1, len(units))
        self._order, self._now = [*blocks, *reversed(blocks)], 0
        # The ends, a block, and a gradient of either are on the device at one time.
        self._working = 2 * WEIGHT.itemsize * (len(units[ENDS]) + len(units[-1]))
        self._at: dict[int, Memory] = {}  # where a unit's weights are
        self._weights: dict[int, Tensor] = {}
        for unit, row in enumerate(units):
            self._at[unit] = self._with_room(len(row) * WEIGHT.itemsize)
            self._weights[unit] = self.weights_in(self._at[unit], unit)
        self._states_at: list[Memory] = []
        self._states = []
        for unit in range(len(units)):
            self._states_at.append(self._memory_of_states(unit))
            self._states.append(self.states_in(self._states_at[unit], unit))

    def weights(self, unit: int) -> Tensor:
        """Return the unit's weights, which come to the device if they are not there."""
        if unit != ENDS:
            self._now += 1
        if self._at[unit] is self.host:
            self._make_room(len(self.units[unit]) * WEIGHT.itemsize)
            self._move(unit, self.device)
        return self._weights[unit]

    def room(self, unit: int) -> Tensor:
        """Return room for the unit's gradient (n) on the device."""
        self._make_room(len(self.units[unit]) * WEIGHT.itemsize, keep=unit)
        return super().room(unit)

    def keep(self, unit: int, gradient: Tensor) -> None:
        """Write the unit's gradient over its weights."""
        self._weights[unit].copy_(gradient)

    def update(self, step: int, rate: float) -> None:
        """Take a step of Adam, for each unit where its states are."""
        self._now = 0
        for unit, states in enumerate(self._states):
            memory, there = self._states_at[unit], self._weights[unit]
            if self._at[unit] is memory:
                adamw(states, there, step, rate)
                there.copy_(states[0])
            else:
                adamw(states, self.carry(there, memory), step, rate)
                self.write(states[0].to(WEIGHT), there)

    def _memory_of_states(self, unit: int) -> Memory:
        """Return where the unit's states are to be: on the device, as far as there is room."""
        size = STATES * len(self.units[unit]) * torch.float32.itemsize
        memory = self._with_room(size)
        if memory is self.host and self.host.bytes + size > self._host_cap:
            memory = self.device
            self._make_room(size + self._working)
        return memory

    def _with_room(self, size: int) -> Memory:
        """Return the device, if so much fits beside what a step works with, or else the host."""
        fits = self.device.bytes + size + self._working <= self.device.cap
        return self.device if fits else self.host

    def _make_room(self, size: int, keep: int = ENDS) -> None:
        """Send weights to the host until so many bytes fit on the device, or no more can go."""
        while self.device.bytes + size > self.device.cap:
            there = [u for u, at in self._at.items() if at is self.device and u not in {ENDS, keep}]
            if not there:
                return  # what was to come is refused
            self._move(max(there, key=self._next_use), self.host)

    def _move(self, unit: int, memory: Memory) -> None:
        self._weights[unit] = self.carry(self._weights[unit], memory)
        self._at[unit] = memory

    def _next_use(self, unit: int) -> int:
        later = self._order[self._now :]
        return later.index(unit) if unit in later else len(self._order)
