"""Petals' servers on paper: which blocks they serve, and a client whose servers come and go.

Borzunov et al., 2022 and 2023. A server holds as many consecutive blocks as it has room for, where
blocks are served least. From time to time it asks how well the swarm would serve if it and then all
others went to their best places; it goes if now it serves less than a share of that. When a server
of a chain is lost, the shortest path between its neighbours takes its place, and reads again what
the lost one had read.
"""

import heapq
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

import numpy as np

from casestudies.lab.studies.decentralized.routing import (
    CLIENT,
    Choice,
    Floats,
    Gap,
    Held,
    Leg,
    Network,
    Swarm,
    Uncovered,
)

AT_RANDOM, WHERE_LEAST = "servers at random", "servers where least served"
MOVING = "servers that move"
PLACEMENTS = (AT_RANDOM, WHERE_LEAST, MOVING)
ENOUGH = 0.75  # of what the swarm could serve: a server moves where it serves less


def least_served(served: Floats, room: int) -> int:
    """Return where the blocks begin that are served least: by the least of them, then the next."""
    starts = np.arange(len(served) - room + 1)
    windows = np.sort(served[starts[:, None] + np.arange(room)], axis=1)
    return int(np.lexsort(windows.T[::-1])[0])


def best_place(network: Network, swarm: Swarm, server: int) -> range:
    """Return the blocks where a server is needed most: those it holds, if none are needed more."""
    served = network.served({s: held for s, held in swarm.items() if s != server})
    room = network.room[server]
    start = least_served(served, room)
    if server in swarm:
        own = swarm[server].blocks
        here, there = (np.sort(served[b : b + room]) for b in (own.start, start))
        if np.array_equal(here, there):
            return own
    return range(start, start + room)


def settled(network: Network, swarm: Swarm, luck: np.random.Generator) -> Swarm:
    """Return the swarm when each server in turn has gone to its best place, till none wants to."""
    swarm, stays = dict(swarm), False
    for _ in range(len(swarm)):  # rounding may keep equals going
        stays = True
        for server in luck.permutation(list(swarm)).tolist():
            place = best_place(network, swarm, server)
            stays = stays and place == swarm[server].blocks
            swarm[server] = Held(place)
        if stays:
            break
    return swarm


def wants_to_move(
    network: Network, swarm: Swarm, server: int, luck: np.random.Generator
) -> range | None:
    """Return where a server goes, or None if it stays."""
    place = best_place(network, swarm, server)
    others = {s: held for s, held in swarm.items() if s != server}
    now = network.served(swarm).min()
    if place == swarm[server].blocks or (now > 0 and network.served(others).min() == 0):
        return None
    then = network.served(settled(network, {**swarm, server: Held(place)}, luck)).min()
    return place if now < ENOUGH * then else None


@dataclass(frozen=True)
class Fate:
    """How long servers live on average, are away, and take to move, and when each asks whether to.

    In seconds; all ends at `until`.
    """

    life: float
    away: float
    move: float
    every: float
    until: float
    seed: int


class Epoch(NamedTuple):
    """A swarm as it is from a time on."""

    begin: float
    swarm: Swarm


def epochs(network: Network, placement: str, fate: Fate) -> list[Epoch]:
    """Return how a swarm changes; servers live as long in each placement."""
    changing, found = _Changing(network, placement, fate), list[Epoch]()
    events = _planned(len(network.room), fate)
    heapq.heapify(events)
    while events:
        now, _, what, server = heapq.heappop(events)
        arrival = changing.happens(now, what, server)
        if arrival:
            heapq.heappush(events, (arrival, server, ARRIVE, server))
        if found and found[-1].begin == now:
            found.pop()
        found.append(Epoch(now, dict(changing.swarm)))
    return found


COME, DIE, ASK, ARRIVE = range(4)


def _planned(servers: int, fate: Fate) -> list[tuple[float, int, int, int]]:
    """Return when servers come, in random order at first, die, and ask whether to move."""
    order = np.random.default_rng(fate.seed).permutation(servers).tolist()
    events = [(0.0, place, COME, server) for place, server in enumerate(order)]
    for server in range(servers):
        lives, now = np.random.default_rng([fate.seed, server]), 0.0
        while fate.life < float("inf") and (now := now + lives.exponential(fate.life)) < fate.until:
            events += [(now, server, DIE, server), (now + fate.away, server, COME, server)]
            now += fate.away
        asks = np.arange(fate.every * (1 + server / servers), fate.until, fate.every)
        events += [(now, server, ASK, server) for now in asks.tolist()]
    return [event for event in events if event[0] < fate.until]


class _Changing:
    """A swarm to which events happen; `_going` are servers that move, and to where."""

    def __init__(self, network: Network, placement: str, fate: Fate) -> None:
        self._network, self._placement, self._fate = network, placement, fate
        self._luck = np.random.default_rng(fate.seed)
        self.swarm: Swarm = {}
        self._going: Swarm = {}

    def happens(self, now: float, what: int, server: int) -> float | None:
        """Let an event happen; return when the server arrives that moves now."""
        if what == COME:
            self.swarm[server] = Held(self._place(server), now)
        elif what == DIE:
            self.swarm.pop(server, None)
            self._going.pop(server, None)
        elif what == ARRIVE and server in self._going and self._going[server].since == now:
            self.swarm[server] = self._going.pop(server)
        elif what == ASK and self._placement == MOVING and server in self.swarm:
            place = wants_to_move(self._network, self._known, server, self._luck)
            if place:
                del self.swarm[server]
                self._going[server] = Held(place, now + self._fate.move)
                return now + self._fate.move
        return None

    @property
    def _known(self) -> Swarm:
        return self.swarm | self._going

    def _place(self, server: int) -> range:
        """Return the blocks of a server that comes."""
        if self._placement != AT_RANDOM:
            return best_place(self._network, self._known, server)
        room = self._network.room[server]
        start = int(self._luck.integers(self._network.blocks - room + 1))
        return range(start, start + room)


def mean_served(network: Network, swarms: Sequence[Epoch], until: float) -> float:
    """Return the tokens a second of the least-served block, on average over the time."""
    ends = [*(epoch.begin for epoch in swarms[1:]), until]
    lasted = (end - epoch.begin for epoch, end in zip(swarms, ends, strict=True))
    least = (float(network.served(epoch.swarm).min()) for epoch in swarms)
    return sum(map(mul, lasted, least)) / until


class Part(NamedTuple):
    """A leg, and since when its server holds the blocks: afterwards it is another part."""

    leg: Leg
    since: float


@dataclass(frozen=True)
class Session:
    """What a client asks for, again and again, and what reading costs.

    A token that is read with others takes `reading` of a block's time for one alone, and `passing`
    seconds on each link.
    """

    prompt: int
    answer: int
    reading: float
    passing: float


@dataclass(frozen=True)
class Walked:
    """What a client got until the end: tokens a second, and what its losses cost.

    `lost` are legs that were replaced, `again` the tokens that a block read once more.
    """

    rate: float
    lost: int
    again: int


class Walk:
    """A client who goes through a swarm that changes, one session after another."""

    def __init__(
        self, network: Network, swarms: Sequence[Epoch], session: Session, choose: Choice
    ) -> None:
        self._network, self._session, self._choose = network, session, choose
        self._swarms, self._at, self._now = swarms, 0, 0.0
        self._parts: list[Part] = []
        self._known: dict[Part, int] = {}  # the tokens that each has read
        self._lost = self._again = 0

    def until(self, end: float) -> Walked:
        """Return what the client has got by then; raises RuntimeError if a block missed a token."""
        tokens = 0
        while self._now < end:
            self._parts, self._known, so_far = [], {}, 0
            for new in (self._session.prompt, *[1] * (self._session.answer - 1)):
                if not self._ready(so_far, end):
                    break
                covered = [b for part in self._parts for b in part.leg.blocks]
                if covered != [*range(self._network.blocks)] or any(
                    self._known[part] != so_far for part in self._parts
                ):
                    raise RuntimeError(f"a block has not read all {so_far} tokens")
                self._known = dict.fromkeys(self._parts, so_far + new)
                self._now += self._seconds(self._parts, new)
                so_far += new
                tokens += self._now <= end
        return Walked(tokens / end, self._lost, self._again)

    def _ready(self, so_far: int, end: float) -> bool:
        """Have a chain that is there, and wait for blocks that nobody holds; False at the end."""
        while self._now < end:
            ahead = self._swarms[self._at + 1 : self._at + 2]
            if ahead and ahead[0].begin <= self._now:
                self._at += 1
                continue
            try:
                self._mend(self._swarms[self._at].swarm, so_far)
            except Uncovered:
                self._now = ahead[0].begin if ahead else end
            else:
                return True
        return False

    def _mend(self, swarm: Swarm, so_far: int) -> None:
        """Find a chain, or what takes the place of parts that are lost; raises Uncovered."""

        def kept(part: Part) -> bool:
            return part.leg.server in swarm and swarm[part.leg.server].since == part.since

        def found(gap: Gap) -> list[Part]:
            chain = self._choose(self._network, swarm, gap)
            return [Part(leg, swarm[leg.server].since) for leg in chain]

        if not self._parts:
            self._parts = found(Gap(range(self._network.blocks)))
            self._known = dict.fromkeys(self._parts, 0)
            return
        if all(map(kept, self._parts)):
            return
        runs = [(stays, list(run)) for stays, run in itertools.groupby(self._parts, kept)]
        ends = [CLIENT, *(run[-1].leg.server for _, run in runs)]
        begins = [*(run[0].leg.server for _, run in runs[1:]), CLIENT]
        mended, new = list[Part](), list[Part]()
        for n, (stays, run) in enumerate(runs):
            gap = range(run[0].leg.blocks.start, run[-1].leg.blocks.stop)
            fresh = [] if stays else found(Gap(gap, ends[n], begins[n]))
            mended += run if stays else fresh
            new += fresh
        self._lost += sum(not kept(part) for part in self._parts)
        self._again += so_far * sum(len(part.leg.blocks) for part in new)
        self._now += self._seconds(new, so_far)
        self._parts, self._known = mended, self._known | dict.fromkeys(new, so_far)

    def _seconds(self, parts: Sequence[Part], tokens: int) -> float:
        """Return what these take to read so many tokens at once."""
        chain = [part.leg for part in parts]
        work = sum(len(leg.blocks) * float(self._network.seconds[leg.server]) for leg in chain)
        more = work * self._session.reading + (len(chain) + 1) * self._session.passing
        return self._network.predicted(chain) + (tokens - 1) * more
