"""The link between host and device, over which tensors go while the device computes.

On a GPU it is the card's own: copies from pinned memory in a stream of their own. On a CPU host and
device are both the machine's memory, and the link is emulated: a thread copies, and waits as long
as a link of so many bytes a second would take.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import torch
from torch import Tensor

from casestudies.lab.distributed.link import Link

# Returns once what was sent has arrived.
Arrival = Callable[[], object]


class Carrier(Protocol):
    """Carries one tensor after another, in the order in which it was asked; counts their bytes."""

    bytes: int

    def carry(self, source: Tensor, target: Tensor) -> Arrival:
        """Begin to copy the numbers of a tensor into another of its shape.

        Once it has arrived, the link holds neither.
        """
        ...

    def close(self) -> None:
        """Wait until all has arrived, and end."""
        ...


class EmulatedLink:
    """A thread that copies, and says so once a link of `rate` bytes a second would have."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self.bytes = 0
        self._link, self._clock, self._wait = Link(rate), clock, wait
        self._thread = ThreadPoolExecutor(1)

    def carry(self, source: Tensor, target: Tensor) -> Arrival:
        """See `Carrier`."""
        size = source.nbytes
        self.bytes += size
        # The pool holds its arguments a moment longer than its result: here a list, empty then.
        return self._thread.submit(self._copy, [source, target]).result

    def close(self) -> None:
        """See `Carrier`."""
        self._thread.shutdown()

    def _copy(self, pair: list[Tensor]) -> None:
        target, source = pair.pop(), pair.pop()
        arrival = self._link.arrival(source.nbytes, self._clock())
        target.copy_(source)
        self._wait(max(0.0, arrival - self._clock()))


class CardLink:  # pragma: no cover - needs a GPU
    """Copies by the card's own engine, beside what it computes."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stream = torch.cuda.Stream()

    def carry(self, source: Tensor, target: Tensor) -> Arrival:
        """See `Carrier`; what the card was asked before is done first."""
        self.bytes += source.nbytes
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for tensor in (source, target):
                if tensor.is_cuda:  # whose memory is not given to another before it is copied
                    tensor.record_stream(self._stream)
            target.copy_(source, non_blocking=True)
        arrived = self._stream.record_event()
        return lambda: torch.cuda.current_stream().wait_event(arrived)

    def close(self) -> None:
        """See `Carrier`."""
        self._stream.synchronize()


def link_of(device: str, rate: float) -> Carrier:
    """Return the card's own link, or on a CPU an emulated one of so many bytes a second."""
    return CardLink() if device == "cuda" else EmulatedLink(rate)
