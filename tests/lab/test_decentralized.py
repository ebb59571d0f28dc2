"""Peers that hold a model's blocks, one that dies, and swarms of them on paper."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.equations.communication import boundary_bytes, chain_token_seconds
from casestudies.lab.measure.perplexity import perplexity
from casestudies.lab.report import Report
from casestudies.lab.studies.decentralized import claims, ranks, study
from casestudies.lab.studies.decentralized.about import STUDY
from casestudies.lab.studies.decentralized.chain import HEAD_BYTES, Segment, Task
from casestudies.lab.studies.decentralized.ranks import Found
from casestudies.lab.studies.decentralized.swarm import (
    FIXED,
    REBALANCED,
    WIRED,
    WIRINGS,
    Replay,
    Swarm,
    speeds,
)
from tests.lab.declared import statuses
from tests.lab.tiny import talkative_model, tiny_windows

pytestmark = pytest.mark.xdist_group("ranks")
PROMPT, ANSWER = 5, 6


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    folder = tmp_path_factory.mktemp("weights")
    return task_in(folder, stages=2)


def task_in(folder: Path, stages: int) -> Task:
    model = talkative_model()
    prompts = tiny_windows(2, PROMPT).numpy()
    found = Task(str(folder), model.config, True, stages, 16, 1e9, "cpu", prompts, ANSWER)
    found.save(model)
    return found


@pytest.fixture(scope="module")
def found(task: Task) -> Found:
    return ranks.through_a_chain(task, [0.0, 0.02], 2)


def test_a_chain_gives_what_one_process_gives_to_the_last_bit(found: Found) -> None:
    for answer, alone in zip(found.chain[ranks.WHOLE], found.alone, strict=True):
        assert answer.tokens == alone.tokens
        assert answer.apart(alone) == 0
        assert len(set(answer.tokens)) > 1
    # By their first token only: afterwards they may read different ones.
    rounded, exact = (answers[0].logits[0] for answers in (found.chain[ranks.CODED], found.alone))
    assert 0 < abs(rounded - exact).max() < 0.2 * abs(exact).max()


def test_what_passes_is_what_the_equation_says(task: Task, found: Found) -> None:
    read = PROMPT + ANSWER - 1
    for bits, each in ((ranks.WHOLE, 4), (ranks.CODED, 1 + 4 / 16)):
        way = boundary_bytes(tokens=read, batch=1, hidden=32, number_bytes=each)
        assert found.bytes[bits] == 2 * task.stages * way + study.heads(task)
    assert study.message_bytes(task, ranks.CODED) == HEAD_BYTES + 40
    both_ways = 2 * (HEAD_BYTES + 40) / task.rate
    assert study.predicted(task, 0.01, 0.02) == pytest.approx(0.01 + 2 * (0.02 + both_ways))


def test_each_round_trip_is_waited_for(task: Task, found: Found) -> None:
    assert min(found.chain_seconds[0.02]) >= 0.02 * task.stages


@pytest.mark.parametrize("bits", [ranks.WHOLE, ranks.CODED])
def test_no_request_is_lost_with_a_peer_and_only_its_blocks_read_again(
    task: Task, found: Found, bits: int
) -> None:
    # In the second answer, when three of its tokens are chosen and the fourth is asked for.
    chosen = 3
    survived = ranks.though_one_dies(task, bits, ANSWER + chosen + 1, anew=False)
    assert survived.losses == 1
    for answer, expected in zip(survived.answers, found.chain[bits], strict=True):
        assert answer.tokens == expected.tokens
        assert answer.apart(expected) == 0
    once = len(task.prompts) * (PROMPT + ANSWER - 1) * task.config.layers
    assert survived.read - once == (PROMPT + chosen) * len(task.held[-1])


def test_who_begins_anew_reads_all_blocks_again(task: Task, found: Found) -> None:
    survived = ranks.though_one_dies(task, ranks.WHOLE, ANSWER + 3 + 1, anew=True)
    assert [a.tokens for a in survived.answers] == [a.tokens for a in found.alone]
    once = len(task.prompts) * (PROMPT + ANSWER - 1) * task.config.layers
    assert survived.read - once == (PROMPT + 3) * task.config.layers


def test_stages_of_unequal_size_give_what_the_blocks_give(tmp_path: Path) -> None:
    task = task_in(tmp_path, stages=2)
    uneven = replace(task, config=replace(task.config, layers=3))
    assert uneven.held == [range(2), range(2, 3)]
    hidden = torch.randn(4, 32)
    with torch.inference_mode():
        through = hidden
        for layers in task.held:
            through = Segment(task, layers).read(through)
        assert torch.equal(through, Segment(task, range(2)).read(hidden))


def test_a_shortened_model_is_one_of_its_first_blocks() -> None:
    model = study.shortened(talkative_model(), 1)
    assert (model.config.layers, len(model.blocks)) == (1, 1)
    assert study.shortened(talkative_model(), 99).config.layers == 2


def test_rounding_is_met_where_it_is_sent_and_gone_afterwards(task: Task) -> None:
    model, windows = talkative_model(), tiny_windows()
    exact = perplexity(model, windows)
    with study.coded(model, task):
        rounded = perplexity(model, windows)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.02)
    assert perplexity(model, windows) == exact


sizes = st.integers(1, 4)


@settings(max_examples=40)
@given(
    stages=sizes,
    peers=sizes,
    spread=st.floats(1, 10),
    life=st.sampled_from([float("inf"), 30.0, 5.0]),
    away=st.floats(0.5, 20),
    hop=st.floats(0, 3),
    seed=st.integers(0, 99),
    wiring=st.sampled_from(WIRINGS),
)
def test_every_batch_passes_every_stage_once_and_none_faster_than_the_cut(
    stages, peers, spread, life, away, hop, seed, wiring
) -> None:
    swarm = Swarm(stages, speeds(stages * peers, spread, seed), 1, hop, life, away, 2, 40, 12, seed)
    carried = Replay(swarm, wiring).carry()
    assert carried.passes == (40,) * stages
    assert carried.rate <= carried.cut * (1 + 1e-9)
    assert carried == Replay(swarm, wiring).carry()


def test_equals_that_live_and_stay_are_as_good_as_the_cut() -> None:
    swarm = Swarm(3, (1.0,) * 6, 1, 0, float("inf"), 1, 1, 100, 12, 0)
    for wiring in (FIXED, WIRED):
        carried = Replay(swarm, wiring).carry()
        # Two peers a stage; two passes go by until the last stage has its first batches.
        assert carried.rate == 100 / (100 / 2 + 2)
        assert carried.cut == 2


def test_a_batch_finds_another_peer_where_a_pipeline_waits() -> None:
    swarm = Swarm(4, speeds(32, 4, 0), 1, 0.1, 300, 100, 20, 1000, 64, 0)
    rates = {wiring: Replay(swarm, wiring).carry().rate for wiring in (FIXED, WIRED)}
    assert rates[WIRED] > 1.5 * rates[FIXED]


def test_peers_go_where_a_stage_is_slow() -> None:
    lame = Swarm(2, (1.0,) * 6 + (0.2,) * 6, 1, 0, float("inf"), 1, 5, 400, 24, 0)
    wired, rebalanced = (Replay(lame, wiring).carry().rate for wiring in (WIRED, REBALANCED))
    assert wired == pytest.approx(6 * 0.2, rel=0.05)
    assert rebalanced > 1.5 * wired


def test_the_formula_gives_what_the_rule_asks_about() -> None:
    free = chain_token_seconds(
        compute=0, peers=14, round_trip=0.1, message_bytes=15_232, link_rate=12.5e6
    )
    assert free == pytest.approx(1.4341, abs=1e-4)
    assert study.gain(float("inf")) == pytest.approx(5.5 / free)
    # As slow as a core, both wait for the weights.
    assert study.gain(8e9) == pytest.approx(22 / (22 + free))


def test_operations_outgrow_bytes_with_the_width() -> None:
    assert study.operations_a_byte(1024) == 24 * 1024 + 4 * 512
    assert study.operations_a_byte(2048) > 1.9 * study.operations_a_byte(1024)


@pytest.mark.parametrize(
    ("apart", "gain", "status"),
    [
        (30, 3, "direction agrees"),
        (30.1, 3, "not reproduced"),
        (30, 2.99, "not reproduced"),
        (0, 100, "direction agrees"),
    ],
)
def test_petals_is_judged_by_the_rule(apart: float, gain: float, status: str) -> None:
    assert statuses(STUDY, judged_rows(apart, gain)) == {"borzunov2022petals-1": status}


def test_too_few_rounds_judge_nothing() -> None:
    rows = judged_rows(0, 100)
    few = claims.LEAST_ROUNDS - 1
    assert statuses(STUDY, rows, rounds=few) == {"borzunov2022petals-1": "not run"}


def judged_rows(apart: float, gain: float) -> list[tuple[str, str, float, dict[str, Any]]]:
    return [
        ("prediction error", claims.CODED, 1, {"round_trip": 20}),
        ("prediction error", claims.CODED, apart, {"round_trip": 100}),
        (claims.GAIN, claims.CODED, gain, {"computing": claims.MEASURED}),
        (claims.GAIN, claims.CODED, 3.8, {"computing": claims.FREE}),
        ("weights passed", claims.CHAIN, 500, {}),
        ("weights passed for 3x", claims.CODED, 441, {}),
    ]


def test_a_time_is_held_against_the_formula_round_by_round(task: Task, found: Found) -> None:
    alone = [0.01, 0.05, 0.01]  # something else slowed the second round, and the chain alike
    taken = [1.1 * study.predicted(task, seconds, 0.02) for seconds in alone]
    report = Report(STUDY, emit=lambda event: None)
    timed = replace(found, alone_seconds=alone, chain_seconds={0.02: taken})
    study.report_times(timed, task, report)
    (off,) = (m.value for m in report.measurements if m.metric == "prediction error")
    assert off == pytest.approx(10)
