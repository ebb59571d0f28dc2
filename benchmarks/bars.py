"""Numbers that must lie between bounds, and what is said where there is no peer to hold them to."""

import math
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    """A number that must lie between two others."""

    name: str
    found: float
    least: float = -math.inf
    most: float = math.inf

    @property
    def reached(self) -> bool:
        """Return whether the number lies where it must."""
        return self.least <= self.found <= self.most

    def __str__(self) -> str:
        bounds = [f"at least {self.least:.3g}"] * (self.least > -math.inf)
        bounds += [f"at most {self.most:.3g}"] * (self.most < math.inf)
        verdict = "ok" if self.reached else "MISSED"
        return f"{self.name:62} {self.found:10.4g}  {', '.join(bounds):28} {verdict}"


def all_reached(bars: Iterable[Bar]) -> bool:
    """Print each bar as soon as it is known, and return whether none is missed."""
    missed = 0
    for bar in bars:
        print(bar, flush=True)
        missed += not bar.reached
    return missed == 0


def without_peers() -> int:
    """Say what is to be installed, and return the exit status of a benchmark that lacks it."""
    print("This needs pip install -r benchmarks/requirements-peers.txt", file=sys.stderr)
    return 2
