"""Phases together and apart: on paper as by the serving engine, and on two ranks."""

from dataclasses import replace

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.distributed.link import Link
from casestudies.lab.distributed.ranks import RanksFailed, on_ranks
from casestudies.lab.serving.alone import answer
from casestudies.lab.serving.arrivals import Request
from casestudies.lab.serving.carrying import Cost, PricedPasses
from casestudies.lab.serving.engine import serve
from casestudies.lab.serving.policies import iteration_level
from casestudies.lab.studies.phase_splitting.claims import MIXED, SPLIT
from casestudies.lab.studies.phase_splitting.designs import (
    A100,
    H100,
    Budget,
    mixed_designs,
    split_designs,
)
from casestudies.lab.studies.phase_splitting.machines import (
    Asked,
    Machine,
    alone,
    highest_rate,
    mixed,
    split,
)
from casestudies.lab.studies.phase_splitting.phases import Work as Executed
from casestudies.lab.studies.phase_splitting.phases import serve_rounds, serve_split
from casestudies.lab.studies.phase_splitting.study import noticed
from tests.lab.declared import Rows, measured, statuses
from tests.lab.tiny import CONFIG, talkative_model, tiny_windows

COST = Cost(1.0, 0.25, 0.125, 1 / 64)
# Prompt, answer, and the time since the last request.
REQUESTS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 0.5, 3.0])),
    min_size=1,
    max_size=12,
)


def test_who_waits_notices_first_tokens_pauses_and_ends() -> None:
    # Three ask, at 0, 1 and 1.5 s; their tokens come at these moments.
    assert noticed([0, 1, 1.5], [[2, 3, 5], [4, 4.5], [3, 7]]) == {
        "time to first token": 2,  # of 2, 3 and 1.5 s
        "time per token": 1.5,  # of 1.5, 0.5 and 4 s on the mean
        "longest wait for a token": 4,
        "mean completion time": (5 + 3.5 + 5.5) / 3,
        "completion time, 99 %": 5.5,
    }


def asked(sizes: list[tuple[int, int, float]]) -> list[Asked]:
    """Return the requests, each so long after the last."""
    found, now = [], 0.0
    for prompt, tokens, gap in sizes:
        now += gap
        found.append(Asked(now, prompt, tokens))
    return found


@settings(max_examples=50)
@given(sizes=REQUESTS, slots=st.integers(1, 4))
def test_a_machine_on_paper_serves_as_the_engine_does(sizes, slots) -> None:
    requests = asked(sizes)
    mixed([Machine(COST, slots)], requests)
    whole = [
        Request(torch.zeros(one.prompt, dtype=torch.long), one.tokens, one.arrival)
        for one in requests
    ]
    served = serve(whole, slots, iteration_level, PricedPasses(*COST))
    for one, job in zip(requests, served.jobs, strict=True):
        assert one.first == pytest.approx(job.times[0])
        assert one.last == pytest.approx(job.times[-1])


@settings(max_examples=50)
@given(sizes=REQUESTS, prompts=st.integers(1, 3), tokens=st.integers(1, 3))
def test_apart_no_phase_begins_before_the_one_before_has_ended(sizes, prompts, tokens) -> None:
    requests = asked(sizes)
    pools = [Machine(COST, 1) for _ in range(prompts)], [Machine(COST, 4) for _ in range(tokens)]
    split(*pools, [Link(100.0) for _ in range(prompts)], 50, requests)
    for one in requests:
        reading = COST.fixed + COST.job + one.prompt * COST.prompt
        assert one.first >= one.arrival + reading - 1e-9
        left = one.tokens - 1
        sending = one.prompt * 50 / 100 if left else 0
        assert one.last >= one.first + sending + left * (COST.fixed + COST.job) - 1e-9
    assert all(machine.pending == 0 for machine in (*pools[0], *pools[1]))


def test_a_request_alone_waits_for_nothing_but_the_link() -> None:
    one, other = Asked(0.0, 8, 3), Asked(0.0, 8, 3)
    split([Machine(COST, 1)], [Machine(COST, 4)], [Link(100.0)], 50, [one])
    mixed([Machine(COST, 4)], [other])
    assert one.first == other.first == 2.25
    assert one.last - other.last == pytest.approx(8 * 50 / 100)
    assert alone(COST, other) == other.latencies
    assert Asked(1.0, 8, 3, first=3.0, last=7.0).latencies == (2, 2, 6)
    assert Asked(1.0, 8, 1, first=3.0, last=3.0).latencies == (2, 0, 2)


def test_budgets_pay_for_what_they_say() -> None:
    budget = Budget(8 * H100.dollars, 8 * H100.watts)
    assert [d.prompts.machines for d in mixed_designs(budget)] == [14, 8]
    for design in split_designs(budget):
        assert design.tokens
        pools = (design.prompts, design.tokens)
        dollars = sum(pool.machines * pool.kind.dollars for pool in pools)
        watts = sum(pool.machines * pool.kind.watts for pool in pools)
        assert dollars <= budget.dollars + 1e-6
        assert watts <= budget.watts + 1e-6
        # Another machine for tokens would be too much.
        kind = design.tokens.kind
        assert dollars + kind.dollars > budget.dollars or watts + kind.watts > budget.watts
    assert A100.name + A100.name in {design.name for design in split_designs(budget)}


def test_the_highest_rate_is_that_at_which_limits_begin_to_break() -> None:
    # One slot: whoever comes while another is served is late.
    sizes, own = (8, 3), alone(COST, Asked(0.0, 8, 3))

    def served(rate: float) -> list[Asked]:
        requests = [Asked(number / rate, *sizes) for number in range(40)]
        mixed([Machine(COST, 1)], requests)
        return requests

    found = highest_rate(served, [own] * 40, 1 / own[2])
    assert found == pytest.approx(1 / own[2], rel=0.02)
    assert highest_rate(served, [(0.0, 0.0, own[2] / 9)] * 40, 1.0) == 0


def test_two_machines_give_the_tokens_of_each_alone_and_send_what_can_be_counted() -> None:
    model = talkative_model()
    prompts = [text[: 4 + n] for n, text in enumerate(tiny_windows(6, 12))]
    tokens = [1, 5, 2, 6, 3, 4]
    expected = [
        answer(model, Request(prompt, count)) for prompt, count in zip(prompts, tokens, strict=True)
    ]
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    rows = [prompt.numpy() for prompt in prompts]
    moments = [0.0, 0.0, 0.5, 1.0, 1.0, 1.5]
    work = Executed(CONFIG, weights, rows, tokens, moments, 2, 1e9)
    ranks = on_ranks(2, serve_rounds, work, 2)
    for served in (rank.rounds[turn] for turn in range(2) for rank in ranks):
        assert set(served) == {MIXED, SPLIT}
    for variant in (MIXED, SPLIT):
        both = [rank.rounds[-1][variant] for rank in ranks]
        said = [[t for one in both for t in one.said.get(n, [])] for n in range(6)]
        times = [[t for one in both for t in one.times.get(n, [])] for n in range(6)]
        assert said == expected
        assert all(moments == sorted(moments) for moments in times)
    sent = [rank.rounds[-1][SPLIT].sent for rank in ranks]
    each = 2 * CONFIG.layers * CONFIG.key_value_heads * (CONFIG.width // CONFIG.heads) * 4
    # Who asks for one token needs no second machine.
    longer = [len(p) for p, count in zip(prompts, tokens, strict=True) if count > 1]
    assert sent == [each * sum(longer), 0]


def expect_more_than_is_sent(work: Executed) -> None:
    """Let the second machine wait for a request that the first does not know."""
    known = replace(work, tokens=[*work.tokens, 2]) if dist.get_rank() else work
    serve_split(known, work.model(), 0.0)


def test_a_machine_that_cannot_receive_says_why() -> None:
    model, prompt = talkative_model(), tiny_windows(1, 12)[0]
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    work = Executed(CONFIG, weights, [prompt.numpy()], [2], [0.0], 2, 1e9)
    with pytest.raises(RanksFailed, match="rank 1: IndexError"):
        on_ranks(2, expect_more_than_is_sent, work)


def rows(gain: float, budget: str) -> Rows:
    return [
        ("gain in rate", SPLIT, gain, {"budget": budget}),
        ("rate within limits", MIXED, 10.0, {"budget": budget}),
        ("rate within limits", SPLIT, 10.0 * gain, {"budget": budget}),
        *(("prediction error", variant, 9.0, {}) for variant in (MIXED, SPLIT)),
    ]


@pytest.mark.parametrize(
    ("claim", "budget", "least"),
    [
        ("patel2023splitwise-0", "20 % less cost", 1.1),
        ("patel2023splitwise-1", "equal cost and power", 1.3),
    ],
)
def test_claims_agree_from_the_rules_ratio_on_and_are_never_supported(claim, budget, least) -> None:
    study = STUDIES["phase-splitting"]
    assert statuses(study, rows(least, budget))[claim] == "direction agrees"
    assert statuses(study, rows(9.0, budget))[claim] == "direction agrees"
    assert statuses(study, rows(least - 0.01, budget))[claim] == "not reproduced"
    assert statuses(study, rows(least, budget), requests=20)[claim] == "not run"
    # On one trace there was no rate to divide by, whatever the median of all.
    nowhere: Rows = [("rate within limits", v, 5.0, {"budget": budget}) for v in (MIXED, SPLIT)]
    judgement = study.judge(measured(study, nowhere))[claim]
    assert judgement.status == "not run"
    assert "mixed machines keep the limits at no rate" in judgement.reason
