"""Chains of Petals’ clients, beside all chains there are, and servers that place themselves."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.contract import Setup
from casestudies.lab.report import Report
from casestudies.lab.studies.decentralized import routing, study
from casestudies.lab.studies.decentralized.about import IN_USE, STUDY, DecentralizedParameters
from casestudies.lab.studies.decentralized.routing import (
    CLIENT,
    Chain,
    Costs,
    Leg,
    Network,
    Swarm,
)
from casestudies.lab.studies.decentralized.swarm import speeds

COSTS = Costs(blocks=12, block=0.01, passing=0.001, round_trip=0.1)


def network_of(seconds: list[float], blocks: int = 4, hop: float = 0.1) -> Network:
    count = len(seconds)
    delay = hop * ~np.eye(count + 1, dtype=bool)
    return Network(blocks, (blocks,) * count, tuple(seconds), delay)


def every_chain(network: Network, swarm: Swarm) -> Iterator[Chain]:
    """Yield every chain that follows each server to the end of its range."""
    for count in range(1, len(swarm) + 1):
        for servers in itertools.permutations(swarm, count):
            ends = [0, *(swarm[server].stop for server in servers)]
            legs = list(itertools.starmap(range, itertools.pairwise(ends)))
            inside = all(set(leg) <= {*swarm[s]} for s, leg in zip(servers, legs, strict=True))
            if all(legs) and inside and ends[-1] == network.blocks:
                yield list(map(Leg, servers, legs))


@settings(max_examples=200)
@given(seed=st.integers(0, 10_000), blocks=st.integers(2, 8))
def test_the_shortest_path_is_the_quickest_of_all_chains(seed: int, blocks: int) -> None:
    luck = np.random.default_rng(seed)
    costs = Costs(blocks, 0.1, passing=0.01, round_trip=float(luck.random()))
    (network,) = routing.drawn(speeds(4, 4, seed), costs, 1, luck)
    swarm = {0: range(blocks)} | {
        server: range(*sorted(luck.choice(blocks + 1, 2, replace=False).tolist()))
        for server in (1, 2, 3)
    }
    every = list(every_chain(network, swarm))
    ways = {way: chain for way, (chain,) in routing.chosen([network], swarm, luck).items()}
    assert all(chain in every for chain in ways.values())
    least = min(map(network.token_seconds, every))
    assert network.token_seconds(ways[routing.PATH]) == pytest.approx(least)
    assert ways[routing.INFORMED] == ways[routing.PATH]


def test_a_path_follows_a_server_to_the_end_of_its_range() -> None:
    # The quick server 1 holds the second half, the slow one all.
    network = network_of([1.0, 0.1])
    swarm = {0: range(4), 1: range(2, 4)}
    assert routing.shortest(network, swarm) == [Leg(0, range(4))]
    assert network.token_seconds([Leg(0, range(4))]) == pytest.approx(4 + 2 * 0.1)


def test_a_server_comes_where_least_is_served() -> None:
    assert routing.least_served([3.0, 1, 2, 1, 1], 2) == 3
    # The least of both is alike; the next decides.
    assert routing.least_served([1.0, 4, 1, 3], 2) == 2
    assert routing.least_served([1.0, 1, 1], 2) == 0
    # The second to come leaves the first half to the first.
    halves = Network(4, (2, 2), (0.1, 0.1), np.zeros((3, 3)))
    swarm = routing.placed(halves, np.random.default_rng(0))
    assert sorted(swarm.values(), key=list) == [range(2), range(2, 4)]


def test_clients_who_share_a_server_wait_for_each_other() -> None:
    network = network_of([0.25, 0.25], hop=0)
    halves = [Leg(0, range(2)), Leg(1, range(2, 4))]
    whole = [Leg(0, range(4))]
    assert routing.together([network], [halves], 10) == 1
    assert routing.together([network] * 2, [halves] * 2, 100) == pytest.approx(2, rel=0.01)
    assert routing.together([network] * 3, [halves] * 3, 100) == pytest.approx(2, rel=0.01)
    assert routing.together([network] * 3, [whole] * 3, 100) == 1
    assert network.even_share == 2


def test_a_client_alone_gets_a_token_in_the_time_of_its_chain() -> None:
    network = network_of([0.1, 0.2], hop=0.05)
    chain = [Leg(0, range(3)), Leg(1, range(3, 4))]
    token = 3 * 0.1 + 0.2 + 3 * 0.05
    assert network.token_seconds(chain) == pytest.approx(token)
    assert routing.together([network], [chain], 50.98 * token) == pytest.approx(50 / 50.98 / token)


def test_who_knows_of_others_takes_another_server() -> None:
    networks = [network_of([0.1, 0.11], hop=0)] * 3
    found = routing.chosen(networks, {0: range(4), 1: range(4)}, np.random.default_rng(0))
    first, second = [Leg(0, range(4))], [Leg(1, range(4))]
    assert found[routing.PATH] == [first] * 3
    assert found[routing.INFORMED] == [first, second, first]


def test_clients_see_the_same_servers_from_other_places() -> None:
    one, other = routing.drawn(speeds(5, 4, 0), COSTS, 2, np.random.default_rng(0))
    assert (one.room, one.seconds) == (other.room, other.seconds)
    assert np.array_equal(one.delay[:CLIENT, :CLIENT], other.delay[:CLIENT, :CLIENT])
    assert not np.array_equal(one.delay[CLIENT], other.delay[CLIENT])
    assert one.delay.max() <= COSTS.passing + COSTS.round_trip / 2
    assert set(one.room) <= set(range(1, 7))


@pytest.mark.parametrize("blocks", [3, 30, 256])
def test_the_same_seed_gives_the_same_shares_and_none_is_more_than_there_is(blocks: int) -> None:
    p, setup = DecentralizedParameters(spread=64), Setup("cpu", 2**63 - 1)
    costs = Costs(blocks, block=0.001, passing=0.001, round_trip=0.01)

    def shares() -> list[float]:
        report = Report(STUDY, emit=lambda event: None)
        study.report_routing(costs, p, setup, report)
        assert {m.metric for m in report.measurements} == {IN_USE}
        return [m.value for m in report.measurements]

    found = shares()
    assert found == shares()
    assert 0 < min(found) <= max(found) <= 1
