"""A cascade of two models: exact ends, costs that rise with the threshold, thresholds that hold."""

from collections.abc import Sequence
from typing import cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from casestudies.lab.models import attention
from casestudies.lab.models.language_model import Block
from casestudies.lab.report import Report
from casestudies.lab.studies.cascade.about import SHORTEST, STUDY
from casestudies.lab.studies.cascade.bench import Bench
from casestudies.lab.studies.cascade.cascade import Mixing, Queries, Thresholds, paired
from casestudies.lab.studies.cascade.claims import (
    EARLY_EXIT,
    NOT_LESS_ACCURATE,
    SAME_COST,
    SMALL_TO_LARGE,
)
from casestudies.lab.studies.cascade.steps import (
    answered,
    ask,
    operations_of_blocks,
    operations_of_head,
    train_small,
)
from tests.lab.declared import statuses
from tests.lab.tiny import CONFIG, tiny_model, tiny_windows

# Few values, so that several queries are as sure as each other, and 1 among them.
one_query = st.tuples(
    st.sampled_from([0.125, 0.25, 0.5, 1.0]), st.booleans(), st.booleans(), st.integers(1, 9)
)
several = st.lists(one_query, min_size=1, max_size=12)
thresholds = st.sampled_from([0.0, 0.125, 0.25, 0.3, 0.5, 0.9, 1.0])


def queries(rows: list[tuple[float, bool, bool, int]]) -> Queries:
    confidence, first, last, cost = map(torch.tensor, zip(*rows, strict=True))
    return Queries(confidence, first, last, torch.ones(len(rows)), cost.double())


@given(several)
def test_the_ends_are_the_first_step_and_the_last_alone(rows) -> None:
    asked = queries(rows)
    assert asked.right(0.0).equal(asked.first)
    assert asked.costs(0.0).equal(asked.first_cost.double())
    assert asked.right(1.0).equal(asked.last)
    assert asked.costs(1.0).equal(asked.first_cost + asked.last_cost)


@given(several, thresholds, thresholds)
def test_no_query_costs_less_at_a_higher_threshold(rows, one, other) -> None:
    asked = queries(rows)
    low, high = sorted((one, other))
    assert (asked.costs(low) <= asked.costs(high)).all()


@given(several, st.integers(0, 100).map(lambda percent: percent / 100))
def test_the_cheapest_threshold_is_that_of_trying_all(rows, wanted) -> None:
    asked, found = queries(rows), Thresholds.of(queries(rows))

    def tried(threshold: float) -> tuple[float, float]:
        accuracy = asked.right(threshold).double().mean().item()
        return accuracy, asked.costs(threshold).mean().item()

    for threshold, accuracy, cost in zip(
        found.threshold.tolist(), found.accuracy.tolist(), found.cost.tolist(), strict=True
    ):
        assert (accuracy, cost) == pytest.approx(tried(threshold))
    every = [tried(t) for t in {0.0, 1.0, *asked.confidence.tolist()}]
    enough = [cost for accuracy, cost in every if accuracy >= wanted - 1e-9]
    accuracy, cost = tried(found.cheapest(wanted))
    assert cost == pytest.approx(min(enough, default=tried(1.0)[1]))
    cheap = [accuracy for accuracy, cost in every if cost <= 4]
    best = tried(found.most_accurate(4.0))
    assert best[0] == pytest.approx(max(cheap, default=tried(0.0)[0]))


@given(several)
def test_no_threshold_is_more_accurate_than_a_perfect_choice(rows) -> None:
    asked = queries(rows)
    accuracy, cost = asked.perfect()
    assert accuracy >= Thresholds.of(asked).accuracy.max().item() - 1e-12
    assert cost <= asked.costs(1.0).mean().item()


def test_mixing_at_random_is_the_line_between_both_models() -> None:
    mixing = Mixing((1.0, 0.2), (5.0, 0.6))
    assert [mixing.accuracy(cost) for cost in (1.0, 3.0, 5.0)] == pytest.approx([0.2, 0.4, 0.6])
    assert mixing.accuracy(7.0) == pytest.approx(0.6)  # more is paid for nothing


def test_queries_of_one_piece_of_text_count_as_one_observation() -> None:
    ours, theirs = torch.tensor([1, 1, 0, 0, 1, 1, 0, 0]), torch.zeros(8)
    mean, error = paired(ours.bool(), theirs.bool(), 4)
    assert (mean, error) == (0.5, pytest.approx((1 / 3) ** 0.5 / 2))


def bench() -> Bench:
    windows = tiny_windows(4, 48)
    generator = torch.Generator().manual_seed(2)
    small = train_small(windows, (300, 32, 1), 2, generator, lambda step, loss: None)
    return Bench(tiny_model(), small, 1, windows)


def test_both_cascades_at_both_ends_say_what_the_models_alone_say_to_the_last_bit() -> None:
    made, text = bench(), tiny_windows(1, 40)
    last = text.shape[1] - 1
    large = ask(made.large, text, last)
    for steps in made.steps.values():
        first, _ = steps.ask_first(text, last)
        for threshold, alone, kept in ((0.0, first, True), (1.0, large, False)):
            found, by_first = answered(steps, text, threshold)
            assert by_first is kept
            assert found.token.equal(alone.token)
            assert found.confidence.equal(alone.confidence)


def test_what_is_asked_in_windows_is_what_is_asked_one_by_one() -> None:
    made = bench()
    with Report(STUDY, lambda event: None).stage("asking", 1) as stage:
        asked = made.asked(tiny_windows(3, 48), stage)
    assert asked.lengths.tolist() == 3 * list(range(SHORTEST, 48))
    for query in (0, 17, 47):
        text = asked.text(query)
        found, _ = answered(made.steps[SMALL_TO_LARGE], text, 1.0)
        assert found.token.item() == asked.last.token[query].item()
        early, _ = answered(made.steps[EARLY_EXIT], text, 0.0)
        assert early.token.item() == asked.first[EARLY_EXIT].token[query].item()
        assert asked.truth[query] == tiny_windows(3, 48)[query // 16, SHORTEST + query % 16]


def test_the_exit_of_all_but_the_last_block_comes_near_to_the_whole_model() -> None:
    # A last block that adds nothing: what is left is the norm's scale, which a matrix can learn.
    large = tiny_model()
    last = cast(Block, large.blocks[1])
    for linear in (last.output, last.down):
        linear.weight.zero_()
    made = Bench(large, bench().small, 1, tiny_windows(8, 48))
    text = tiny_windows(1, 40)
    exit_says, _ = made.steps[EARLY_EXIT].ask_first(text, 0)
    assert (exit_says.token == ask(large, text, 0).token).double().mean() > 0.9


@pytest.mark.parametrize("tokens", [1, 7, 20])
def test_operations_are_those_that_are_carried_out(tokens: int) -> None:
    model = tiny_model()
    for block in cast(Sequence[Block], model.blocks):
        block.attention = attention.naive
    with FlopCounterMode(display=False) as counter:
        model.logits(model.hidden(tiny_windows(1, tokens))[:, -1:])
    counted = operations_of_blocks(model, CONFIG.layers, torch.tensor([tokens]))
    assert counter.get_total_flops() == counted.item() + operations_of_head(model)


@pytest.mark.parametrize("cascade", [SMALL_TO_LARGE, EARLY_EXIT])
def test_each_step_of_a_cascade_costs_the_operations_that_it_carries_out(cascade: str) -> None:
    made, text = bench(), tiny_windows(1, 20)
    for model in (made.large, made.small.model):
        for block in cast(Sequence[Block], model.blocks):
            block.attention = attention.naive
    steps, last = made.steps[cascade], text.shape[1] - 1
    with FlopCounterMode(display=False) as first:
        _, begun = steps.ask_first(text, last)
    with FlopCounterMode(display=False) as second:
        steps.ask_last(text, last, begun)
    expected = [each.item() for each in made.operations(cascade, torch.tensor([20]))]
    assert [first.get_total_flops(), second.get_total_flops()] == expected


def judged(
    saved: float = 30,
    gain: float = 0,
    error: float = 0.1,
    latency: float = 20,
    tail: float = 1.2,
    **parameters: int,
) -> dict[str, str]:
    """How the claims stand where every aim and the greatest accuracy came to the same."""
    values = {
        "operations saved": saved,
        "accuracy gain": gain,
        "standard error": error,
        "latency saved": latency,
        "tail latency ratio": tail,
    }
    aims = (*NOT_LESS_ACCURATE, SAME_COST)
    rows = [(metric, SMALL_TO_LARGE, values[metric], {"aim": a}) for metric in values for a in aims]
    return statuses(STUDY, rows, **parameters)


@pytest.mark.parametrize(
    ("claim", "holds", "fails"),
    [
        ("chen2023frugalgpt-0", {}, {"saved": 29.9}),
        ("chen2023frugalgpt-0", {}, {"gain": -0.01}),
        ("chen2023frugalgpt-1", {"gain": 0.21}, {"gain": 0.2}),
        ("chen2023frugalgpt-1", {"gain": 0.21, "saved": 0}, {"gain": 0.21, "saved": -0.1}),
        ("wang2023tabi-0", {}, {"latency": 19.9}),
        ("wang2023tabi-0", {}, {"tail": 1.21}),
        ("wang2023tabi-0", {}, {"gain": -0.01}),
        ("wang2023tabi-1", {"latency": 10}, {"latency": 9.9}),
    ],
)
def test_claims_are_judged_by_their_rules(
    claim: str, holds: dict[str, float], fails: dict[str, float]
) -> None:
    assert judged(**holds)[claim] == "direction agrees"  # type: ignore[arg-type]
    assert judged(**fails)[claim] == "not reproduced"  # type: ignore[arg-type]


def test_too_little_training_and_too_few_queries_say_nothing() -> None:
    assert set(judged(steps=99).values()) == {"not run"}
    assert judged(timed=99)["wang2023tabi-0"] == judged(timed=99)["wang2023tabi-1"] == "not run"
