"""Petals' routing on paper: a client's chain of servers that each hold a range of blocks.

Borzunov et al., 2022 and 2023. A client takes the shortest path through a graph of servers and the
boundaries between blocks: an edge is a block's time at a server, or what it takes to reach another
one. Petals follows a server to the end of its range (`to_end`); else a chain may leave it before
any block. Beside it: always the server that goes furthest, and servers by chance.

Nothing runs: what a block and a link take was measured, and the rest is drawn.
"""

import heapq
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLIENT = -1  # its row and column of the delays
PATH, ANYWHERE = "shortest path", "shortest path, leaving anywhere"
FURTHEST, CHANCE, INFORMED = (
    "furthest server next",
    "servers by chance",
    "shortest path, load known",
)

Floats = NDArray[np.float64]


class Uncovered(ValueError):
    """No server holds one of the blocks; the message names it."""


class Held(NamedTuple):
    """The blocks that a server holds, and since when: what it knew before it has forgotten."""

    blocks: range
    since: float = 0.0


class Leg(NamedTuple):
    """The part of a chain that one server computes."""

    server: int
    blocks: range


Swarm = dict[int, Held]
Chain = list[Leg]


@dataclass(frozen=True)
class Network:
    """What a token takes: S servers and the client, the last, in seconds.

    A server passes a block in `seconds` (S) and has `room` (S) for so many blocks; from one to
    another it takes `delay` (S + 1, S + 1).
    """

    blocks: int
    room: tuple[int, ...]
    seconds: Floats
    delay: Floats

    def predicted(self, chain: Chain, source: int = CLIENT, target: int = CLIENT) -> float:
        """Return the seconds of a token from one through a chain to another."""
        stops = [source, *(leg.server for leg in chain), target]
        passed = sum(float(self.delay[a, b]) for a, b in itertools.pairwise(stops))
        return passed + sum(len(leg.blocks) * float(self.seconds[leg.server]) for leg in chain)

    @property
    def even_share(self) -> float:
        """Return the tokens a second if all servers were always busy: no swarm serves more."""
        return float((1 / self.seconds).sum()) / self.blocks

    def served(self, swarm: Swarm) -> Floats:
        """Return for each block (L) the tokens a second for which its servers have time.

        Each server is taken to pass every token through all of its blocks.
        """
        served, seconds = np.zeros(self.blocks), self.seconds.tolist()
        for server in sorted(swarm):
            blocks = swarm[server].blocks
            served[blocks.start : blocks.stop] += 1 / (seconds[server] * len(blocks))
        return served


class Gap(NamedTuple):
    """Blocks that a chain has to pass, and from whom to whom."""

    blocks: range
    source: int = CLIENT
    target: int = CLIENT


Choice = Callable[[Network, Swarm, Gap], Chain]  # a way to find a chain; raises Uncovered


def holders(swarm: Swarm, block: int) -> list[int]:
    """Return the servers that hold a block; raises Uncovered if there are none."""
    found = [server for server, held in sorted(swarm.items()) if block in held.blocks]
    if not found:
        raise Uncovered(f"nobody holds block {block}")
    return found


def shortest(network: Network, swarm: Swarm, gap: Gap, *, to_end: bool = True) -> Chain:
    """Return the chain of least time; raises Uncovered."""
    blocks, source, target = gap
    seconds, delay = network.seconds.tolist(), network.delay.tolist()
    best: dict[int, tuple[float, Chain]] = {}  # through the blocks so far, by the last server
    for block in blocks:
        begins = block == blocks.start
        left = {s: way for s, way in best.items() if not to_end or swarm[s].blocks.stop == block}
        found = dict[int, tuple[float, Chain]]()
        for server in holders(swarm, block):
            ways = [
                (cost + delay[before][server], [*chain, Leg(server, one(block))])
                for before, (cost, chain) in ({source: (0.0, [])} if begins else left).items()
                if begins or before != server
            ]
            if server in best:
                cost, chain = best[server]
                ways.append((cost, [*chain[:-1], grown(chain[-1])]))
            if ways:
                cost, chain = min(ways, key=itemgetter(0))
                found[server] = cost + seconds[server], chain
        best = found
    ends = ((cost + delay[server][target], chain) for server, (cost, chain) in best.items())
    return min(ends, key=itemgetter(0))[1]


def one(block: int) -> range:
    """Return the range of one block."""
    return range(block, block + 1)


def grown(leg: Leg) -> Leg:
    """Return a leg of one block more."""
    return Leg(leg.server, range(leg.blocks.start, leg.blocks.stop + 1))


def every_chain(network: Network, swarm: Swarm, *, to_end: bool = True) -> Iterator[Chain]:
    """Yield every chain through all blocks; for small networks, to hold the shortest against."""
    for servers in itertools.product(*(holders(swarm, b) for b in range(network.blocks))):
        runs = [
            (s, list(run)) for s, run in itertools.groupby(range(len(servers)), servers.__getitem__)
        ]
        chain = [Leg(server, range(run[0], run[-1] + 1)) for server, run in runs]
        if not to_end or all(
            leg.blocks.stop == swarm[leg.server].blocks.stop for leg in chain[:-1]
        ):
            yield chain


def onwards(
    pick: Callable[[list[int], Swarm], int], network: Network, swarm: Swarm, gap: Gap
) -> Chain:
    """Return a chain in which each next server is picked of those that hold the next block."""
    chain, blocks = list[Leg](), gap.blocks
    block = blocks.start
    while block < blocks.stop:
        server = pick(holders(swarm, block), swarm)
        chain.append(Leg(server, range(block, min(swarm[server].blocks.stop, blocks.stop))))
        block = chain[-1].blocks.stop
    return chain


def furthest(able: list[int], swarm: Swarm) -> int:
    """Pick the server that goes furthest."""
    return max(able, key=lambda server: swarm[server].blocks.stop)


def by_chance(luck: np.random.Generator, able: list[int], swarm: Swarm) -> int:
    """Pick a server at random, one of more blocks more often, as Petals does for batches."""
    sizes = np.array([len(swarm[server].blocks) for server in able])
    return int(luck.choice(able, p=sizes / sizes.sum()))


def together(networks: Sequence[Network], chains: Sequence[Chain], until: float) -> float:
    """Return the tokens a second that clients get who each have a chain, up to some time.

    A server does one token at a time, in the order in which they arrive. Networks differ in where
    the client is.
    """
    free = [0.0] * len(networks[0].room)
    arrivals = [(0.0, client, 0) for client in range(len(chains))]
    done = 0
    while arrivals:
        now, client, n = heapq.heappop(arrivals)
        network, chain = networks[client], chains[client]
        server, blocks = chain[n]
        now = max(now, free[server]) + len(blocks) * float(network.seconds[server])
        free[server] = now
        if n + 1 == len(chain):
            now += float(network.delay[server, CLIENT])
            done += now <= until
            server = CLIENT
        n = (n + 1) % len(chain)
        now += float(network.delay[server, chain[n].server])
        if now <= until:
            heapq.heappush(arrivals, (now, client, n))
    return done / until


def crowded(network: Network, chains: Sequence[Chain]) -> Network:
    """Return the network where servers share their time among these chains and one more."""
    guests = np.zeros(len(network.room))
    for leg in itertools.chain(*chains):
        guests[leg.server] += 1
    return replace(network, seconds=network.seconds * (1 + guests))


def by_way_of_client(network: Network) -> Network:
    """Return the network where servers reach each other through the client alone."""
    to, back = network.delay[:, CLIENT], network.delay[CLIENT]
    delay = to[:, None] + back[None]
    delay[CLIENT], delay[:, CLIENT] = back, to
    np.fill_diagonal(delay, 0)
    return replace(network, delay=delay)


@dataclass(frozen=True)
class Costs:
    """Seconds of a block for a token at speed 1, alone or read with others, and of links.

    A token's message is `passing` for so long; `round_trip` is that from corner to corner.
    """

    blocks: int
    block: float
    reading: float
    passing: float
    round_trip: float


def drawn(speeds: Sequence[float], costs: Costs, *, seed: int, client: int = 0) -> Network:
    """Return servers of these speeds, and a client, at random places of a square.

    A server has room for an eighth to half of the blocks.
    """
    luck, count = np.random.default_rng([seed, 0, 0]), len(speeds)
    room = luck.integers(max(1, costs.blocks // 8), max(1, costs.blocks // 2) + 1, count)
    own = np.random.default_rng([seed, 1, client]).random((1, 2))
    places = np.concatenate([luck.random((count, 2)), own])
    apart = np.linalg.norm(places[:, None] - places[None], axis=-1) / np.sqrt(2)
    delay = apart * costs.round_trip / 2 + costs.passing * ~np.eye(count + 1, dtype=bool)
    return Network(costs.blocks, tuple(room.tolist()), costs.block / np.array(speeds), delay)
