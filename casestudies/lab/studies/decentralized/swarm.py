"""SWARM on paper: batches pass through stages of peers that differ in speed, and fail.

Ryabinin et al., 2023. Stochastic wiring: at each stage a batch goes to that living peer which has
been given least to do so far, by the time that its work takes; a batch whose peer fails is sent to
another of the stage. Rebalancing: from time to time a peer goes from the stage with the shortest
queue for what it can do to the one with the longest. Beside it, fixed pipelines: as many as a stage
has peers, the fastest of each stage in one, the second fastest in the next. There a batch waits
until its peer is back.

A batch's way forward stands for both ways of training. What each pass costs was measured.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

FIXED, WIRED, REBALANCED = "fixed pipelines", "SWARM’s wiring", "SWARM, rebalanced"
WIRINGS = (FIXED, WIRED, REBALANCED)


@dataclass(frozen=True)
class Swarm:
    """Peers by their speeds, those of each stage one after another, and what happens to them.

    A pass takes `cost` seconds at speed 1, passing on takes `hop`. A peer lives for `life` seconds
    on average, and is back after `away`; to change its stage takes `move`. `batches` of which
    `in_flight` are under way at one time have to pass all stages. Seconds are of the replay.
    """

    stages: int
    speeds: tuple[float, ...]
    cost: float
    hop: float
    life: float
    away: float
    move: float
    batches: int
    in_flight: int
    seed: int

    @property
    def of_a_stage(self) -> int:
        """Return how many peers each stage begins with."""
        return len(self.speeds) // self.stages


@dataclass
class _Peer:
    number: int
    stage: int
    seconds: float  # of a pass
    luck: np.random.Generator
    queue: deque[int] = field(default_factory=deque)
    busy: int | None = None
    there: bool = True
    time: int = 0  # how often its plans have changed, so that what was planned before is void
    given: float = 0.0  # seconds of work since the beginning
    since: float = 0.0  # when it came to its stage


@dataclass(frozen=True)
class Carried:
    """Passes that ended well by stage, batches a second, and the most that any stage bears.

    `cut` is what the peers of the narrowest stage, while they lived, had time for.
    """

    passes: tuple[int, ...]
    rate: float
    cut: float


class Replay:
    """Carries out the batches of a swarm on paper."""

    def __init__(self, swarm: Swarm, wiring: str) -> None:
        self._swarm, self._wiring = swarm, wiring
        self._now, self._order = 0.0, 0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._room, self._passes = [0.0] * swarm.stages, [0] * swarm.stages
        self._begun = self._done = 0
        self._waiting: list[list[int]] = [[] for _ in range(swarm.stages)]
        self._pipeline: dict[int, int] = {}  # of a batch
        self._peers = [
            _Peer(
                n, n // swarm.of_a_stage, swarm.cost / speed, np.random.default_rng([swarm.seed, n])
            )
            for n, speed in enumerate(swarm.speeds)
        ]
        ranked = sorted(self._peers, key=lambda peer: (peer.stage, peer.seconds, peer.number))
        self._pipelines = [ranked[n :: swarm.of_a_stage] for n in range(swarm.of_a_stage)]

    def carry(self) -> Carried:
        """Return how all batches were carried."""
        swarm = self._swarm
        for peer in self._peers:
            self._live(peer)
        for n in range(min(swarm.in_flight, swarm.batches)):
            self._begin(n % swarm.of_a_stage)
        if self._wiring == REBALANCED:
            self._at(swarm.move, self._rebalance)
        while self._done < swarm.batches:
            self._now, _, event = heapq.heappop(self._events)
            event()
        for peer in self._peers:
            self._count_room(peer)
        rate = swarm.batches / self._now
        return Carried(tuple(self._passes), rate, min(self._room) / self._now)

    def _count_room(self, peer: _Peer) -> None:
        """Count the passes that a peer has had time for at its stage since it came there."""
        if peer.there:
            self._room[peer.stage] += (self._now - peer.since) / peer.seconds

    def _at(self, seconds: float, event: Callable[[], None]) -> None:
        """Let something happen so many seconds from now."""
        self._order += 1
        heapq.heappush(self._events, (self._now + seconds, self._order, event))

    def _begin(self, pipeline: int) -> None:
        if self._begun < self._swarm.batches:
            self._pipeline[self._begun] = pipeline
            self._at(self._swarm.hop, partial(self._arrive, self._begun, 0))
            self._begun += 1

    def _arrive(self, batch: int, stage: int) -> None:
        """Give a batch to a peer of a stage."""
        if self._wiring == FIXED:
            peer = self._pipelines[self._pipeline[batch]][stage]
        else:
            living = [peer for peer in self._peers if peer.stage == stage and peer.there]
            if not living:
                self._waiting[stage].append(batch)
                return
            peer = min(living, key=lambda one: (one.given + one.seconds, one.number))
            peer.given += peer.seconds
        peer.queue.append(batch)
        self._work(peer)

    def _work(self, peer: _Peer) -> None:
        if peer.there and peer.busy is None and peer.queue:
            peer.busy = peer.queue.popleft()
            self._at(peer.seconds, partial(self._pass, peer, peer.time))

    def _pass(self, peer: _Peer, planned: int) -> None:
        """End a pass, unless the peer's plans have changed since it began."""
        if planned != peer.time or peer.busy is None:
            return
        batch, peer.busy = peer.busy, None
        self._passes[peer.stage] += 1
        if peer.stage + 1 < self._swarm.stages:
            self._at(self._swarm.hop, partial(self._arrive, batch, peer.stage + 1))
        else:
            self._done += 1
            self._begin(self._pipeline.pop(batch))
        self._work(peer)

    def _live(self, peer: _Peer) -> None:
        if self._swarm.life < float("inf"):
            self._at(peer.luck.exponential(self._swarm.life), partial(self._fail, peer))

    def _fail(self, peer: _Peer) -> None:
        self._leave(peer, self._swarm.away, peer.stage)
        self._at(self._swarm.away, partial(self._live, peer))

    def _leave(self, peer: _Peer, seconds: float, stage: int) -> None:
        """Let a peer be away for so long, and come back at a stage; others do its work."""
        held = [*([] if peer.busy is None else [peer.busy]), *peer.queue]
        self._count_room(peer)
        left, peer.busy, peer.there = peer.stage, None, False
        peer.time += 1
        peer.queue.clear()
        peer.stage = stage
        if self._wiring == FIXED:
            peer.queue.extend(held)
        else:
            for batch in held:
                self._at(self._swarm.hop, partial(self._arrive, batch, left))
        self._at(seconds, partial(self._return, peer, peer.time))

    def _return(self, peer: _Peer, planned: int) -> None:
        if planned != peer.time:
            return
        others = [p.given for p in self._peers if p.stage == peer.stage and p.there]
        peer.there, peer.since, peer.given = True, self._now, min(others, default=0.0)
        waiting, self._waiting[peer.stage] = self._waiting[peer.stage], []
        for batch in waiting:
            self._arrive(batch, peer.stage)
        self._work(peer)

    def _rebalance(self) -> None:
        """Send the slowest peer of the stage with least to do, for what it can, to the busiest."""
        able: list[list[_Peer]] = [[] for _ in range(self._swarm.stages)]
        for peer in self._peers:
            if peer.there:
                able[peer.stage].append(peer)
        load = [self._load(stage, peers) for stage, peers in enumerate(able)]
        idlest, busiest = load.index(min(load)), load.index(max(load))
        if len(able[idlest]) > 1 and load[busiest] > 2 * load[idlest] + self._swarm.cost:
            peer = max(able[idlest], key=lambda one: (one.seconds, one.number))
            self._leave(peer, self._swarm.move, busiest)
        self._at(self._swarm.move, self._rebalance)

    def _load(self, stage: int, peers: list[_Peer]) -> float:
        """Return the seconds in which the peers of a stage would do what waits there."""
        batches = len(self._waiting[stage]) + sum(
            len(peer.queue) + (peer.busy is not None) for peer in peers
        )
        speed = sum(1 / peer.seconds for peer in peers)
        return batches / speed if speed else float("inf")


def speeds(peers: int, spread: float, seed: int) -> tuple[float, ...]:
    """Return speeds from 1 down to 1 / spread, drawn evenly on a logarithmic scale."""
    drawn = np.random.default_rng(seed).random(peers)
    return tuple((spread**-drawn).tolist())
