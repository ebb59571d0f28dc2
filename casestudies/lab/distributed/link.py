"""An emulated link between ranks: so many bytes a second, and a delay.

No network is changed and no rights are needed: a rank waits before it sends, as long as such a link
would take. A result of a study that uses it says so with `EMULATED` beside its numbers.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

from torch.distributed import ProcessGroup

from casestudies.lab.distributed.traffic import Collective, Traffic

EMULATED = "emulated link"


class Link:
    """A token bucket: it fills at `rate` bytes a second up to `burst` bytes, which leave at once.

    What does not find its bytes in the bucket waits until they have come, and all arrives `delay`
    seconds after it left. Times are in seconds by a clock of the caller, who alone waits.
    """

    def __init__(self, rate: float, delay: float = 0.0, burst: float = 0.0) -> None:
        self.rate, self.delay, self.burst = rate, delay, burst
        self._paid = float("-inf")  # when all that was sent would have left without a burst

    def arrival(self, size: float, now: float) -> float:
        """Return when so many bytes arrive that are sent now, after all that was sent before."""
        self._paid = max(self._paid, now - self.burst / self.rate) + size / self.rate
        return max(now, self._paid) + self.delay

    def __str__(self) -> str:
        return f"{EMULATED}, {self.rate / 1e6:g} MB/s, {1000 * self.delay:g} ms"


class SlowTraffic(Traffic):
    """A context in which what this rank sends by collectives takes as long as by the link.

    It counts like `Traffic`, of a group or of all. The rank waits itself, so it computes nothing
    while the link carries.
    """

    def __init__(
        self,
        link: Link,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
        group: ProcessGroup | None = None,
    ) -> None:
        super().__init__(group)
        self._link, self._clock, self._wait = link, clock, wait

    def count(self, kind: Collective, involved: Iterable[Any]) -> None:
        """Count a collective, and wait until the link has carried it."""
        before = self.bytes_sent
        super().count(kind, involved)
        now = self._clock()
        self._wait(self._link.arrival(self.bytes_sent - before, now) - now)
