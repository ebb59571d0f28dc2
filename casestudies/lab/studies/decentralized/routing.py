"""Petals' routing on paper: a client's chain of servers that each hold a range of blocks.

Borzunov et al., 2022 and 2023. A server that comes takes as many consecutive blocks as it has room
for, where they are served least. A client takes the shortest path through a graph of servers and
the boundaries between blocks: an edge is a block's time at a server, or what it takes to reach
another one. Who reaches a server follows it to the end of its range. Beside it: always the server
that goes furthest, servers by chance, and a path that knows how many clients use a server already.

Nothing runs: what a block and a link take was measured, and the rest is drawn.
"""

import heapq
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

CLIENT = -1  # its row and column of the delays
PATH, INFORMED = "shortest path", "shortest path, load known"
FURTHEST, CHANCE = "furthest server next", "servers by chance"

Swarm = dict[int, range]  # the blocks that each server holds; someone holds each block


class Leg(NamedTuple):
    """The part of a chain that one server computes."""

    server: int
    blocks: range


Chain = list[Leg]


@dataclass(frozen=True)
class Network:
    """What a token takes: S servers and a client, the last, in seconds.

    A server passes a block in `seconds` (S) and has `room` (S) for so many blocks; from one to
    another it takes `delay` (S + 1, S + 1).
    """

    blocks: int
    room: tuple[int, ...]
    seconds: tuple[float, ...]
    delay: NDArray[np.float64]

    def token_seconds(self, chain: Chain) -> float:
        """Return the seconds of a token through a chain and back to the client."""
        stops = [CLIENT, *(leg.server for leg in chain), CLIENT]
        passed = sum(float(self.delay[a, b]) for a, b in itertools.pairwise(stops))
        return passed + sum(len(leg.blocks) * self.seconds[leg.server] for leg in chain)

    @property
    def even_share(self) -> float:
        """Return the tokens a second if all servers were always busy: no chains serve more."""
        return sum(1 / seconds for seconds in self.seconds) / self.blocks


@dataclass(frozen=True)
class Costs:
    """Seconds of a block for a token at speed 1, and of links.

    A token's message is `passing` for so long; `round_trip` is that from corner to corner.
    """

    blocks: int
    block: float
    passing: float
    round_trip: float


def drawn(
    speeds: Sequence[float], costs: Costs, clients: int, luck: np.random.Generator
) -> list[Network]:
    """Return servers of these speeds at random places of a square, as each client sees them.

    A server has room for an eighth to half of the blocks.
    """
    count = len(speeds)
    room = luck.integers(max(1, costs.blocks // 8), max(1, costs.blocks // 2) + 1, count)
    servers, homes = luck.random((count, 2)), luck.random((clients, 1, 2))
    networks = list[Network]()
    for home in homes:
        places = np.concatenate([servers, home])
        apart = np.linalg.norm(places[:, None] - places[None], axis=-1) / np.sqrt(2)
        delay = apart * costs.round_trip / 2 + costs.passing * ~np.eye(count + 1, dtype=bool)
        seconds = tuple(costs.block / speed for speed in speeds)
        networks.append(Network(costs.blocks, tuple(room.tolist()), seconds, delay))
    return networks


def placed(network: Network, luck: np.random.Generator) -> Swarm:
    """Return the swarm when the servers have come one after another, each where it is needed most.

    A server announces the tokens a second for which it has time in all of its blocks.
    """
    swarm, served = Swarm(), [0.0] * network.blocks
    for server in luck.permutation(len(network.room)).tolist():
        room = network.room[server]
        begin = least_served(served, room)
        swarm[server] = range(begin, begin + room)
        for block in swarm[server]:
            served[block] += 1 / (network.seconds[server] * room)
    return swarm


def least_served(served: Sequence[float], room: int) -> int:
    """Return where the blocks begin that are served least: by the least of them, then the next."""
    return min(range(len(served) - room + 1), key=lambda at: sorted(served[at : at + room]))


def shortest(network: Network, swarm: Swarm) -> Chain:
    """Return the chain of least time."""
    # By the blocks that are passed: the least seconds so far and their chain, by its last server.
    ways: list[dict[int, tuple[float, Chain]]] = [{} for _ in range(network.blocks + 1)]
    ways[0][CLIENT] = 0.0, []
    for block, there in enumerate(ways[:-1]):
        for server in holders(swarm, block) if there else ():
            leg = Leg(server, range(block, swarm[server].stop))
            seconds, chain = quickest(network, there, server)
            seconds += len(leg.blocks) * network.seconds[server]
            onwards = ways[leg.blocks.stop]
            if server not in onwards or seconds < onwards[server][0]:
                onwards[server] = seconds, [*chain, leg]
    return quickest(network, ways[-1], CLIENT)[1]


def quickest(
    network: Network, ways: dict[int, tuple[float, Chain]], target: int
) -> tuple[float, Chain]:
    """Return the seconds until a token reaches the target, and by which chain."""
    reached = (
        (seconds + float(network.delay[server, target]), chain)
        for server, (seconds, chain) in ways.items()
    )
    return min(reached, key=itemgetter(0))


def holders(swarm: Swarm, block: int) -> list[int]:
    """Return the servers that hold a block."""
    return [server for server, blocks in sorted(swarm.items()) if block in blocks]


def onwards(pick: Callable[[list[int], Swarm], int], network: Network, swarm: Swarm) -> Chain:
    """Return a chain in which each next server is picked of those that hold the next block."""
    chain, block = Chain(), 0
    while block < network.blocks:
        server = pick(holders(swarm, block), swarm)
        chain.append(Leg(server, range(block, swarm[server].stop)))
        block = swarm[server].stop
    return chain


def furthest(able: list[int], swarm: Swarm) -> int:
    """Pick the server that goes furthest."""
    return max(able, key=lambda server: swarm[server].stop)


def by_chance(luck: np.random.Generator, able: list[int], swarm: Swarm) -> int:
    """Pick a server at random, one of more blocks more often, as Petals does for batches."""
    sizes = np.array([len(swarm[server]) for server in able])
    return int(luck.choice(able, p=sizes / sizes.sum()))


def crowded(network: Network, chains: Sequence[Chain]) -> Network:
    """Return the network where servers share their time among these chains and one more."""
    guests = [0] * len(network.seconds)
    for leg in itertools.chain(*chains):
        guests[leg.server] += 1
    shared = (seconds * (1 + n) for seconds, n in zip(network.seconds, guests, strict=True))
    return replace(network, seconds=tuple(shared))


def chosen(
    networks: Sequence[Network], swarm: Swarm, luck: np.random.Generator
) -> dict[str, list[Chain]]:
    """Return the chain of each client, in each way; who knows the load chooses after the others."""
    informed = list[Chain]()
    for network in networks:
        informed.append(shortest(crowded(network, informed), swarm))
    chance = partial(by_chance, luck)
    return {
        PATH: [shortest(network, swarm) for network in networks],
        FURTHEST: [onwards(furthest, network, swarm) for network in networks],
        CHANCE: [onwards(chance, network, swarm) for network in networks],
        INFORMED: informed,
    }


def together(networks: Sequence[Network], chains: Sequence[Chain], until: float) -> float:
    """Return the tokens a second that clients get who each have a chain, up to some time.

    A server does one token at a time, in the order in which they arrive.
    """
    free = [0.0] * len(networks[0].seconds)
    arrivals = [
        (float(network.delay[CLIENT, chain[0].server]), client, 0)
        for client, (network, chain) in enumerate(zip(networks, chains, strict=True))
    ]
    heapq.heapify(arrivals)
    done = 0
    while arrivals:
        now, client, n = heapq.heappop(arrivals)
        network, chain = networks[client], chains[client]
        server, blocks = chain[n]
        now = max(now, free[server]) + len(blocks) * network.seconds[server]
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
