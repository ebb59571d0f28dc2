"""Watches what a rank does, pass by pass, and what it holds meanwhile."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch.distributed.pipelining import PipelineStage

from casestudies.lab.measure.rounds import own_seconds
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.replay.schedules import Slot


@dataclass
class Log:
    """What a rank does, slot by slot, and the most passes and bytes that it holds for backwards."""

    device: str
    slots: list[tuple[Slot, float]] = field(default_factory=list)
    stages: list[PipelineStage] = field(default_factory=list)
    saved: SavedBytes = field(default_factory=SavedBytes)
    stashed: int = 0

    def clear(self) -> None:
        """Forget what was done and how much was held."""
        self.slots, self.stashed, self.saved.peak = [], 0, self.saved.bytes

    def time(self, slot: Slot, work: Callable[[], Any]) -> Any:
        """Carry the work out as a slot and return what it returns."""
        found, taken = timed(work, self.device)
        self.slots.append((slot, taken))
        self.stashed = max(self.stashed, sum(len(stage.fwd_cache) for stage in self.stages))
        return found

    def lengthen(self, work: Callable[[], Any]) -> Any:
        """Carry the work out as a part of the last slot and return what it returns."""
        found, taken = timed(work, self.device)
        slot, before = self.slots.pop()
        self.slots.append((slot, before + taken))
        return found


def timed(work: Callable[[], Any], device: str) -> tuple[Any, float]:
    """Return what the work returns and the seconds that it takes a processor of its own."""
    found: list[Any] = []
    taken = own_seconds(lambda: found.append(work()), device)
    return found[0], taken
