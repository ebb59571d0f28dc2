"""Which peers a client of Petals goes through, on paper: the way that takes least time.

Servers hold overlapping ranges of blocks. The client asks one after another, each for as many of
its blocks as are useful; Borzunov et al., 2022, section 3.2, look for the way whose time is least.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Server(NamedTuple):
    """Blocks from `first` to before `last`, seconds of each, and those of a round trip."""

    first: int
    last: int
    seconds: float
    round_trip: float

    def takes(self, blocks: int) -> float:
        """Return the seconds of a round trip through so many of the blocks."""
        return self.round_trip + self.seconds * blocks


class Leg(NamedTuple):
    """Blocks from `first` to before `last` at a server."""

    server: Server
    first: int
    last: int


def duration(way: Sequence[Leg]) -> float:
    """Return the seconds of a way."""
    return sum(leg.server.takes(leg.last - leg.first) for leg in way)


def shortest(servers: Sequence[Server], blocks: int) -> list[Leg]:
    """Return the way through all blocks that takes least time, block by block from the last on.

    Raises ValueError if a block has no server.
    """
    best: list[tuple[float, list[Leg]] | None] = [None] * blocks + [(0.0, [])]
    for first in reversed(range(blocks)):
        for server in servers:
            if not server.first <= first < server.last:
                continue
            for last in range(first + 1, min(server.last, blocks) + 1):
                rest, known = best[last], best[first]
                if rest is None:
                    continue
                seconds = server.takes(last - first) + rest[0]
                if known is None or seconds < known[0]:
                    best[first] = seconds, [Leg(server, first, last), *rest[1]]
    if best[0] is None:
        raise ValueError("a block has no server")
    return best[0][1]


def fewest(servers: Sequence[Server], blocks: int) -> list[Leg]:
    """Return the way through fewest servers: each time the one whose blocks reach farthest."""
    way, first = list[Leg](), 0
    while first < blocks:
        able = [server for server in servers if server.first <= first < server.last]
        if not able:
            raise ValueError("a block has no server")
        server = max(able, key=lambda one: one.last)
        way.append(Leg(server, first, min(server.last, blocks)))
        first = way[-1].last
    return way


def exhaustive(servers: Sequence[Server], blocks: int, first: int = 0) -> float:
    """Return the seconds of the best of all ways, each of which is tried; infinity without one."""
    if first == blocks:
        return 0.0
    return min(
        (
            server.takes(last - first) + exhaustive(servers, blocks, last)
            for server in servers
            if server.first <= first < server.last
            for last in range(first + 1, min(server.last, blocks) + 1)
        ),
        default=float("inf"),
    )


def drawn(servers: int, blocks: int, seconds: float, luck: np.random.Generator) -> list[Server]:
    """Return servers whose ranges, speeds (to a quarter) and round trips (10 to 200 ms) differ.

    The first few hold all blocks between them, so that there is a way.
    """
    found, first = list[Server](), 0
    while first < blocks or len(found) < servers:
        length = int(luck.integers(max(1, blocks // 6), max(1, blocks // 2) + 1))
        start = first if first < blocks else int(luck.integers(blocks))
        first = start + length if first < blocks else first
        own = seconds * 4 ** luck.random()
        last = min(blocks, start + length)
        found.append(Server(start, last, own, 0.01 * 20 ** luck.random()))
    return found
