"""Mixtures of experts: one expert is dense, places are counted, and even routing costs 1."""

from collections import Counter
from collections.abc import Sequence
from typing import cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from casestudies.lab.equations.experts import expert_capacity
from casestudies.lab.models import attention
from casestudies.lab.models.language_model import Block
from casestudies.lab.studies.mixture_of_experts import model as models
from casestudies.lab.studies.mixture_of_experts.about import STUDY
from casestudies.lab.studies.mixture_of_experts.claims import (
    ALL_DENSE,
    FOUR_TIMES,
    PYRAMID,
    SHALLOWER,
    SWITCH,
    TWICE,
)
from casestudies.lab.studies.mixture_of_experts.mixture import (
    Mixture,
    Routing,
    balance,
    gated,
    places,
    taken,
)
from casestudies.lab.studies.mixture_of_experts.model import Shape
from casestudies.lab.studies.mixture_of_experts.training import apart
from casestudies.lab.train import loop
from tests.lab.declared import statuses

WIDTH, HIDDEN = 32, 96

some_experts = st.integers(1, 6)
choices = st.integers(1, 5).flatmap(
    lambda experts: st.tuples(
        st.just(experts), st.lists(st.integers(0, experts - 1), min_size=1, max_size=30)
    )
)


def mixture(experts: int, *, residual: bool = False) -> Mixture:
    made = Mixture(WIDTH, HIDDEN, experts, residual=residual)
    generator = torch.Generator().manual_seed(experts)
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
    return made


def tokens(count: int) -> Tensor:
    return torch.randn(1, count, WIDTH, generator=torch.Generator().manual_seed(9))


def model(*experts: int, wider: int = 1, residual: bool = False):
    shape = Shape(300, WIDTH, experts, wider=wider, residual=residual)
    return models.made(shape, torch.Generator().manual_seed(0))


def windows(count: int = 3, length: int = 20) -> Tensor:
    return torch.randint(300, (count, length), generator=torch.Generator().manual_seed(1))


def test_one_expert_is_the_dense_model_to_the_last_bit_forward_and_backward() -> None:
    dense = model(0, 0)
    single = models.with_one_expert(dense)
    assert single(windows()).equal(dense(windows()))
    assert models.unevenness(single).item() == 1
    for each in (dense, single):
        loop.next_token_loss(each, windows()).backward()
    ours = cast(models.MixtureBlock, single.blocks[0]).mixture.up.grad
    theirs = cast(Block, dense.blocks[0]).up.weight.grad
    assert ours is not None
    assert theirs is not None
    torch.testing.assert_close(ours[0], theirs)


@settings(max_examples=25)
@given(some_experts, st.integers(1, 20), st.booleans())
def test_each_token_goes_through_its_expert_alone(experts, count, residual) -> None:
    made, x = mixture(experts, residual=residual), tokens(count)
    output = made(x)[0]
    for token, expert, gate, found in zip(
        x[0], made.seen.expert, made.seen.gate, output, strict=True
    ):
        own = (made.gate[expert], made.up[expert], made.down[expert])
        expected = gate * gated(token[None], *own)[0]
        if residual:
            expected = expected + gated(token[None], *made.shared)[0]
        torch.testing.assert_close(found, expected)
    assert made.dropped == 0


@given(choices, st.integers(0, 12))
def test_an_expert_takes_the_first_tokens_that_it_has_places_for(chosen, capacity) -> None:
    experts, to = chosen
    kept = taken(torch.tensor(to), experts, capacity).tolist()
    assert kept == [to[:place].count(expert) < capacity for place, expert in enumerate(to)]
    dropped = sum(max(0, wanted - capacity) for wanted in Counter(to).values())
    assert kept.count(False) == dropped


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(1, 40), st.sampled_from([0.25, 0.5, 1.0, 1.25, 2.0]))
def test_what_is_dropped_is_what_exceeds_the_capacity_and_gets_nothing(
    experts, count, factor
) -> None:
    made, x = mixture(experts), tokens(count)
    whole = made(x)[0]
    made.capacity_factor = factor
    limited = made(x)[0]
    capacity = places(factor, count, experts)
    assert capacity <= expert_capacity(
        capacity_factor=factor, chosen=1, routed_tokens=count, experts=experts
    )
    counts = made.seen.expert.bincount(minlength=experts)
    assert made.dropped == (counts - capacity).clamp(min=0).sum()
    kept = taken(made.seen.expert, experts, capacity)
    assert limited[~kept].count_nonzero() == 0
    torch.testing.assert_close(limited[kept], whole[kept])


@given(some_experts, st.integers(1, 8))
def test_balance_costs_1_when_even_and_as_many_as_experts_when_one_gets_all(experts, each) -> None:
    even = torch.arange(experts).repeat(each)
    sure = torch.nn.functional.one_hot(even, experts).float()
    flat = torch.full((experts * each, experts), 1 / experts)
    for probabilities in (sure, flat):
        found = balance(Routing(even, probabilities.max(-1).values, probabilities))
        assert found.item() == pytest.approx(1)
    one = torch.zeros_like(even)
    all_to_one = torch.nn.functional.one_hot(one, experts).float()
    found = balance(Routing(one, torch.ones(len(one)), all_to_one))
    assert found.item() == pytest.approx(experts)


def test_experts_add_parameters_and_hardly_any_operations() -> None:
    dense, switch = model(0, 0), model(8, 8)
    expert, router = 3 * WIDTH * HIDDEN, 8 * WIDTH
    assert models.parameters(switch) - models.parameters(dense) == 2 * (7 * expert + router)
    assert models.active_parameters(switch) - models.active_parameters(dense) == 2 * router
    assert models.operations(switch, 20) - models.operations(dense, 20) == 2 * 2 * router


@pytest.mark.parametrize(
    "made", [model(0, 0), model(0, wider=4), model(4, 4), model(2, 4, residual=True)]
)
def test_operations_are_those_that_are_carried_out(made) -> None:
    for block in cast(Sequence[Block], made.blocks):
        block.attention = attention.naive
    with FlopCounterMode(display=False) as counter:
        made(windows(3, 20))
    assert counter.get_total_flops() == 60 * models.operations(made, 20)


def test_a_teacher_who_says_the_same_costs_nothing() -> None:
    said = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(0))
    assert apart(said, said).item() == pytest.approx(0, abs=1e-6)
    assert apart(said, said.flip(-1)).item() > 0.1


def judged(
    loss: dict[str, float], speed: dict[str, float], size: float = 2, **parameters: int
) -> list[str]:
    """How both claims stand; a loss that is not given is 4, a speed 1."""
    variants = (*ALL_DENSE, SWITCH, PYRAMID, SHALLOWER)
    rows: list[tuple[str, str, float, dict[str, str]]]
    rows = [("loss", name, loss.get(name, 4.0), {}) for name in variants]
    rows += [("tokens per second", name, speed.get(name, 1.0), {}) for name in variants]
    rows += [("trainable parameters", SWITCH, size, {}), ("trainable parameters", PYRAMID, 1, {})]
    found = statuses(STUDY, rows, **parameters)
    return [found[f"rajbhandari2022deepspeedmoe-{n}"] for n in (1, 2)]


AGREES, DOES_NOT = "direction agrees", "not reproduced"


@pytest.mark.parametrize(
    ("loss", "speed", "size", "expected"),
    [
        ({SWITCH: 3.9}, {SWITCH: 1.3}, 2, [AGREES, DOES_NOT]),
        ({SWITCH: 3.9}, {SWITCH: 1.29}, 2, [DOES_NOT, DOES_NOT]),
        ({SWITCH: 3.9, PYRAMID: 3.919}, {}, 2, [DOES_NOT, AGREES]),
        ({SWITCH: 3.9, PYRAMID: 3.921}, {}, 2, [DOES_NOT, DOES_NOT]),
        ({SWITCH: 3.9, PYRAMID: 3.9}, {}, 1.99, [DOES_NOT, DOES_NOT]),
        # A wider dense model that is better is not what the mixture is as good as.
        ({SWITCH: 3.9, TWICE: 3.8}, {SWITCH: 1.3, FOUR_TIMES: 0.1}, 2, [AGREES, DOES_NOT]),
        ({SWITCH: 3.9, TWICE: 3.8}, {SWITCH: 1.2, FOUR_TIMES: 0.1}, 2, [DOES_NOT, DOES_NOT]),
        # A mixture that is no better than what it costs says nothing of smaller ones.
        ({SWITCH: 4.1, PYRAMID: 3.0}, {SWITCH: 9}, 9, [DOES_NOT, "not run"]),
    ],
)
def test_claims_are_judged_by_their_rules(
    loss: dict[str, float], speed: dict[str, float], size: float, expected: list[str]
) -> None:
    assert judged(loss, speed, size) == expected


def test_little_training_and_a_pyramid_of_one_step_say_nothing() -> None:
    loss = {SWITCH: 3.9, PYRAMID: 3.9}
    assert judged(loss, {}, steps=199) == ["not run", "not run"]
    assert judged(loss, {SWITCH: 2}, layers=2) == [AGREES, "not run"]
