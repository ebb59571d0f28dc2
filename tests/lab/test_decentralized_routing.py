"""Chains of Petals’ clients, beside all chains there are, and servers that place themselves."""

import itertools
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from casestudies.lab.studies.decentralized import churn, routed, routing
from casestudies.lab.studies.decentralized.churn import Epoch, Fate, Session, Walk
from casestudies.lab.studies.decentralized.routing import (
    CLIENT,
    Chain,
    Costs,
    Gap,
    Held,
    Leg,
    Network,
    Swarm,
    Uncovered,
)
from casestudies.lab.studies.decentralized.swarm import speeds

COSTS = Costs(blocks=12, block=0.01, reading=0.002, passing=0.001, round_trip=0.1)
seeds = st.integers(0, 10_000)


def network_of(seconds: list[float], blocks: int = 4, hop: float = 0.1) -> Network:
    count = len(seconds)
    delay = hop * ~np.eye(count + 1, dtype=bool)
    return Network(blocks, (blocks,) * count, np.array(seconds), delay)


@settings(max_examples=300, deadline=None)
@given(seed=seeds, to_end=st.booleans())
def test_the_shortest_path_is_the_quickest_of_all_chains(seed: int, to_end: bool) -> None:
    network, swarm = routed.small(seed)
    assume(network.served(swarm).all())
    whole = Gap(range(network.blocks))
    chain = routing.shortest(network, swarm, whole, to_end=to_end)
    every = list(routing.every_chain(network, swarm, to_end=to_end))
    assert chain in every
    assert network.predicted(chain) == pytest.approx(min(map(network.predicted, every)))
    for way in routed.choices(seed).values():
        assert way(network, swarm, whole) in routing.every_chain(network, swarm, to_end=False)


def test_it_leaves_a_server_early_only_where_it_may() -> None:
    # The quick server 1 holds the second half, the slow one all.
    network = network_of([1.0, 0.1])
    swarm = {0: Held(range(4)), 1: Held(range(2, 4))}
    whole = Gap(range(4))
    assert routing.shortest(network, swarm, whole) == [Leg(0, range(4))]
    early = routing.shortest(network, swarm, whole, to_end=False)
    assert early == [Leg(0, range(2)), Leg(1, range(2, 4))]
    assert network.predicted(early) == pytest.approx(2 + 0.2 + 3 * 0.1)
    with pytest.raises(Uncovered, match="block 0"):
        routing.shortest(network, {1: swarm[1]}, whole)


def test_a_server_comes_where_least_is_served() -> None:
    assert churn.least_served(np.array([3.0, 1, 2, 1, 1]), 2) == 3
    # The least of both is alike; the next decides.
    assert churn.least_served(np.array([1.0, 4, 1, 3]), 2) == 2
    assert churn.least_served(np.array([1.0, 1, 1]), 2) == 0


def test_a_server_moves_only_if_the_swarm_gains_enough_and_none_of_its_blocks_is_left_alone() -> (
    None
):
    luck = np.random.default_rng(0)
    network = Network(2, (1, 1, 1), np.ones(3), np.zeros((4, 4)))
    crowd: Swarm = {0: Held(range(1)), 1: Held(range(1)), 2: Held(range(1))}
    # Nobody holds block 1: whoever asks goes.
    assert churn.wants_to_move(network, crowd, 0, luck) == range(1, 2)
    uneven: Swarm = {0: Held(range(1)), 1: Held(range(1)), 2: Held(range(1, 2))}
    # Two and one is as even as can be.
    assert churn.wants_to_move(network, uneven, 0, luck) is None
    assert churn.wants_to_move(network, uneven, 2, luck) is None


@settings(max_examples=30, deadline=None)
@given(seed=seeds)
def test_no_placement_serves_more_than_the_optimum_and_that_no_more_than_an_even_share(
    seed: int,
) -> None:
    network, swarm = routed.small(seed)
    moved = churn.settled(network, swarm, np.random.default_rng(seed))
    assert {n: len(held.blocks) for n, held in moved.items()} == dict(enumerate(network.room))
    best = routed.optimum(network)
    assert network.served(swarm).min() <= best * (1 + 1e-9)
    assert network.served(moved).min() <= best * (1 + 1e-9)
    assert best <= network.even_share * (1 + 1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 99), placement=st.sampled_from(churn.PLACEMENTS), life=st.floats(1, 50))
def test_servers_hold_what_they_have_room_for_and_live_alike_wherever_they_are(
    seed: int, placement: str, life: float
) -> None:
    network = routing.drawn(speeds(6, 4, seed), COSTS, seed=seed)
    fate = Fate(life, away=2, move=0.5, every=3, until=60, seed=seed)
    found = churn.epochs(network, placement, fate)
    begins = [epoch.begin for epoch in found]
    assert begins == sorted(set(begins))
    for (_, swarm), (at, then) in itertools.pairwise(found):
        for server, held in then.items():
            assert len(held.blocks) == network.room[server]
            assert 0 <= held.blocks.start <= held.blocks.stop <= network.blocks
            assert held.since <= at
            if server in swarm and swarm[server].blocks != held.blocks:
                assert held.since == at  # and what it knew is forgotten
    if placement != churn.MOVING:
        there = [(at, sorted(swarm)) for at, swarm in found]
        assert there == [
            (at, sorted(s)) for at, s in churn.epochs(network, churn.WHERE_LEAST, fate)
        ]


def walked(swarms: list[Epoch], network: Network, end: float) -> churn.Walked:
    session = Session(prompt=3, answer=5, reading=1, passing=0)
    return Walk(network, swarms, session, routing.shortest).until(end)


def test_a_client_gets_a_token_in_the_time_of_its_chain() -> None:
    network = network_of([0.1, 0.1], hop=0)
    swarm = {0: Held(range(2)), 1: Held(range(2, 4))}
    # 0.4 s a token, and a prompt of three.
    got = walked([Epoch(0, swarm)], network, 2 * (3 + 4) * 0.4 + 1e-9)
    assert (got.rate, got.lost, got.again) == (pytest.approx(10 / 5.6), 0, 0)


def test_after_a_loss_only_the_lost_blocks_are_read_again() -> None:
    network = network_of([0.1, 0.1, 0.1], hop=0)
    swarm = {0: Held(range(2)), 1: Held(range(2, 4))}
    then = {0: swarm[0], 2: Held(range(1, 4), 1.5)}
    # After 1.2 and 1.6 seconds it has two tokens, and four are known to all blocks.
    got = walked([Epoch(0, swarm), Epoch(1.5, then)], network, 2.8 + 0.2 * 4 + 1e-9)
    assert (got.lost, got.again) == (1, 4 * 2)
    assert got.rate == pytest.approx(5 / 3.6)


def test_a_server_that_was_away_has_forgotten_all() -> None:
    network = network_of([0.1], hop=0)
    swarms = [Epoch(0, {0: Held(range(4))}), Epoch(1.5, {}), Epoch(1.9, {0: Held(range(4), 1.9)})]
    got = walked(swarms, network, 5)
    assert (got.lost, got.again) == (1, 4 * 4)


def test_a_client_waits_for_blocks_that_nobody_holds() -> None:
    network = network_of([0.1], hop=0)
    assert walked([Epoch(0, {})], network, 5).rate == 0
    got = walked([Epoch(0, {}), Epoch(2.2, {0: Held(range(4), 2.2)})], network, 5.0 + 1e-9)
    assert got.rate == pytest.approx(5 / 5)


def test_a_choice_that_leaves_blocks_out_is_found_out() -> None:
    def lazy(network: Network, swarm: Swarm, gap: Gap) -> Chain:
        return [Leg(0, range(3))]

    walk = Walk(network_of([0.1]), [Epoch(0, {0: Held(range(4))})], Session(3, 5, 1, 0), lazy)
    with pytest.raises(RuntimeError, match="has not read all 0 tokens"):
        walk.until(1)


def test_clients_who_share_a_server_wait_for_each_other() -> None:
    network = network_of([0.25, 0.25], hop=0)
    halves = [Leg(0, range(2)), Leg(1, range(2, 4))]
    whole = [Leg(0, range(4))]
    assert routing.together([network], [halves], 10) == 1
    assert routing.together([network] * 2, [halves] * 2, 100) == pytest.approx(2, rel=0.01)
    assert routing.together([network] * 3, [halves] * 3, 100) == pytest.approx(2, rel=0.01)
    assert routing.together([network] * 3, [whole] * 3, 100) == 1
    assert network.even_share == 2


def test_who_knows_of_others_takes_another_server() -> None:
    network = network_of([0.1, 0.11], hop=0)
    swarm = {0: Held(range(4)), 1: Held(range(4))}
    first = routing.shortest(network, swarm, Gap(range(4)))
    second = routing.shortest(routing.crowded(network, [first]), swarm, Gap(range(4)))
    assert (first, second) == ([Leg(0, range(4))], [Leg(1, range(4))])


def test_servers_and_clients_are_drawn_by_their_seed() -> None:
    draw = partial(routing.drawn, speeds(5, 4, 0), COSTS, seed=0)
    network, other = draw(), draw(client=1)
    assert (network.room, network.seconds.tolist()) == (other.room, other.seconds.tolist())
    assert np.array_equal(network.delay[:CLIENT, :CLIENT], other.delay[:CLIENT, :CLIENT])
    assert not np.array_equal(network.delay[CLIENT], other.delay[CLIENT])
    assert network.delay.max() <= COSTS.passing + COSTS.round_trip / 2
    assert set(network.room) <= set(range(1, 7))


@settings(max_examples=20, deadline=None)
@given(seed=seeds, blocks=st.integers(2, 40))
def test_ranks_get_two_chains_that_go_by_way_of_the_client(seed: int, blocks: int) -> None:
    network, chains = routed.for_ranks(replace(COSTS, blocks=blocks), seed)
    short, far = (chains[name] for name in (routing.PATH, routing.FURTHEST))
    assert network.predicted(short) <= network.predicted(far)
    for chain in (short, far):
        assert 2 <= len(chain) <= 3
        assert [b for leg in chain for b in leg.blocks] == list(range(blocks))
        round_trips = sum(2 * network.delay[leg.server, CLIENT] for leg in chain)
        assert network.predicted(chain) == pytest.approx(blocks * COSTS.block + round_trips)
