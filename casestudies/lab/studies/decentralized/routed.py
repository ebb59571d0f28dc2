"""Reports Petals' routing by replay, with the costs of this run."""

import itertools
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from casestudies.lab.report import Report
from casestudies.lab.studies.decentralized import churn, routing
from casestudies.lab.studies.decentralized.about import (
    AGAIN,
    BY_CLIENTS,
    LEAST_SERVED,
    MOST_STAGES,
    OF_ALL,
    OF_ONE,
)
from casestudies.lab.studies.decentralized.chain import Task
from casestudies.lab.studies.decentralized.churn import Fate, Session
from casestudies.lab.studies.decentralized.ranks import WHOLE, through_a_chain
from casestudies.lab.studies.decentralized.routing import (
    CLIENT,
    Chain,
    Choice,
    Costs,
    Gap,
    Held,
    Network,
)
from casestudies.lab.studies.decentralized.swarm import speeds

SERVERS = 24
FEW, ROUNDS = 6, 3  # servers of which ranks take the places, and times that they do
DEATHS = (0, 1, 3)  # times that a server is lost in 1,000 tokens of the shortest path
CLIENTS = (1, 4, 16, 64)
AWAY, MOVE, ASK = 100, 20, 200  # tokens of the shortest path
TOGETHER = 100  # as many, that several clients have time for
SMALL = 60  # networks in which every chain and placement is tried
EQUAL = 1e-9  # of a time, by which sums in another order may differ
STILL = Fate(float("inf"), away=1, move=1, every=1, until=1, seed=0)


@dataclass(frozen=True)
class Effort:
    """Swarms that are drawn, tokens for which a replay has time, those of a session, and speeds."""

    swarms: int
    tokens: int
    prompt: int
    answer: int
    spread: float


def choices(seed: int) -> dict[str, Choice]:
    """Return the ways to find a chain without knowing of other clients."""
    luck = np.random.default_rng(seed)
    return {
        routing.PATH: routing.shortest,
        routing.ANYWHERE: partial(routing.shortest, to_end=False),
        routing.FURTHEST: partial(routing.onwards, routing.furthest),
        routing.CHANCE: partial(routing.onwards, partial(routing.by_chance, luck)),
    }


Found = tuple[Network, dict[str, Chain]]


def for_ranks(costs: Costs, seed: int) -> Found:
    """Return servers as quick as each other, and chains of two or three of them that differ."""
    return next(found for n in itertools.count(seed) for found in by_two_ways(costs, n))


def by_two_ways(costs: Costs, seed: int) -> list[Found]:
    """Return a network with its shortest path and the furthest servers, if ranks can be both."""
    network = routing.by_way_of_client(routing.drawn((1.0,) * FEW, costs, seed=seed))
    swarm = churn.epochs(network, churn.WHERE_LEAST, replace(STILL, seed=seed))[-1].swarm
    if not network.served(swarm).all():
        return []
    ways, whole = choices(seed), Gap(range(costs.blocks))
    both = {n: ways[n](network, swarm, whole) for n in (routing.PATH, routing.FURTHEST)}
    fit = all(2 <= len(chain) <= MOST_STAGES for chain in both.values())
    return [(network, both)] if fit and both[routing.PATH] != both[routing.FURTHEST] else []


def report_ranks(task: Task, costs: Costs, seed: int, report: Report) -> None:
    """Let ranks carry out the chains, and hold the time of a token against what was predicted."""
    network, chains = for_ranks(costs, seed)
    links = replace(network, seconds=np.zeros(FEW))
    for name, chain in chains.items():
        trips = [2 * (network.delay[leg.server, CLIENT] - costs.passing) for leg in chain]
        found = through_a_chain(
            replace(
                task,
                stages=len(chain),
                cuts=tuple(leg.blocks.start for leg in chain[1:]),
                reach=tuple(float(trip) / costs.round_trip for trip in trips),
                prompts=task.prompts[:1],
            ),
            [costs.round_trip],
            ROUNDS,
        )
        (taken,) = found.chain_seconds.values()
        expected = [alone + links.predicted(chain) for alone in found.alone_seconds]
        off = statistics.median(t / e - 1 for t, e in zip(taken, expected, strict=True))
        report.measure("route off its prediction", name, 100 * abs(off))
        apart = max(a.apart(b) for a, b in zip(found.chain[WHOLE], found.alone, strict=True))
        report.measure("equality error", name, apart)


Rows = dict[tuple[str, str, str, int], list[float]]  # values by metric, variant and setting


def report_routing(costs: Costs, effort: Effort, seed: int, report: Report) -> None:
    """Report chains, placements, and clients at once, each of all swarms that are drawn.

    Raises RuntimeError where a bound is broken, or a block has missed a token.
    """
    report_small(seed, report)
    rows: Rows = defaultdict(list)
    session = Session(effort.prompt, effort.answer, costs.reading / costs.block, costs.passing)
    whole = Gap(range(costs.blocks))
    for number in range(effort.swarms):
        servers = speeds(SERVERS, effort.spread, seed + number)
        draw = partial(routing.drawn, servers, costs, seed=seed + number)
        swarm = churn.epochs(draw(), churn.WHERE_LEAST, STILL)[-1].swarm
        token = draw().predicted(routing.shortest(draw(), swarm, whole))
        still = Fate(
            life=float("inf"),
            away=AWAY * token,
            move=MOVE * token,
            every=ASK * token,
            until=effort.tokens * token,
            seed=seed + number,
        )
        fates = {n: replace(still, life=1000 * token / n) if n else still for n in DEATHS}
        replay_losses(rows, draw(), session, fates)
        replay_clients(rows, draw, swarm, token, seed + number)
    for (metric, variant, setting, at), values in rows.items():
        report.measure(metric, variant, values, **{setting: at})
        if metric == OF_ALL:
            report.point(BY_CLIENTS, variant, at, statistics.median(values))


def report_small(seed: int, report: Report) -> None:
    """Hold shortest paths against every chain, and the placement against every one, in small."""
    apart, tried, shares = 0, 0, list[float]()
    for number in range(SMALL):
        network, swarm = small(seed + number)
        best, whole = optimum(network), Gap(range(network.blocks))
        settled = churn.settled(network, swarm, np.random.default_rng(seed + number))
        served = float(network.served(settled).min())
        if not served <= best * (1 + EQUAL) <= network.even_share * (1 + EQUAL) ** 2:
            raise RuntimeError(f"{served} tokens a second are more than the bound of {best}")
        if best:
            shares.append(served / best)
        if not network.served(swarm).all():
            continue
        for to_end in (True, False):
            chain = routing.shortest(network, swarm, whole, to_end=to_end)
            every = routing.every_chain(network, swarm, to_end=to_end)
            least = min(map(network.predicted, every))
            tried += 1
            apart += abs(network.predicted(chain) - least) > EQUAL * least
    report.log(f"shortest paths held against every chain: {tried}")
    report.measure("paths that are not shortest", routing.PATH, apart)
    report.measure("share of the optimum", churn.MOVING, statistics.mean(shares))


def small(seed: int) -> tuple[Network, dict[int, Held]]:
    """Return a network of few blocks and servers, each with a range by chance."""
    luck = np.random.default_rng([seed, 2, 0])
    blocks, servers = int(luck.integers(2, 7)), int(luck.integers(2, 5))
    link = {"passing": luck.random() / 100, "round_trip": luck.random()}
    costs = Costs(blocks, block=0.1, reading=0.01, **link)
    network = routing.drawn(speeds(servers, 4, seed), costs, seed=seed)
    starts = [int(luck.integers(blocks - room + 1)) for room in network.room]
    placed = zip(starts, network.room, strict=True)
    return network, {n: Held(range(at, at + room)) for n, (at, room) in enumerate(placed)}


def optimum(network: Network) -> float:
    """Return the most that any placement serves of its least-served block."""
    places = (
        [range(n, n + room) for n in range(network.blocks - room + 1)] for room in network.room
    )
    every = (
        {n: Held(place) for n, place in enumerate(each)} for each in itertools.product(*places)
    )
    return max(float(network.served(swarm).min()) for swarm in every)


def replay_losses(rows: Rows, network: Network, session: Session, fates: dict[int, Fate]) -> None:
    """Let servers come, go and move, and a client walk through them in each way."""
    for deaths, fate in fates.items():
        for placement in churn.PLACEMENTS:
            swarms = churn.epochs(network, placement, fate)
            share = churn.mean_served(network, swarms, fate.until) / network.even_share
            rows[LEAST_SERVED, placement, "deaths", deaths].append(share)
            alike = placement == churn.WHERE_LEAST  # where ways to find a chain are compared
            ways = choices(fate.seed) if alike else {placement: routing.shortest}
            for way, choose in ways.items():
                got = churn.Walk(network, swarms, session, choose).until(fate.until)
                rows[OF_ONE, way, "deaths", deaths].append(got.rate)
                again = got.again / max(1, got.rate * fate.until)
                rows[AGAIN, way, "deaths", deaths].append(again)


def replay_clients(
    rows: Rows, draw: Callable[..., Network], swarm: dict[int, Held], token: float, seed: int
) -> None:
    """Let several clients go through servers that stay, each with the chain that it found."""
    for count in CLIENTS:
        networks = [draw(client=number) for number in range(count)]
        whole = Gap(range(networks[0].blocks))
        chains = {
            way: [choose(network, swarm, whole) for network in networks]
            for way, choose in choices(seed).items()
        }
        informed = chains[routing.INFORMED] = []
        for network in networks:
            informed.append(routing.shortest(routing.crowded(network, informed), swarm, whole))
        for way, found in chains.items():
            share = routing.together(networks, found, TOGETHER * token) / networks[0].even_share
            if share > 1 + EQUAL:
                raise RuntimeError(f"{way}: {share} of the time that all servers have")
            rows[OF_ALL, way, "clients", count].append(share)
