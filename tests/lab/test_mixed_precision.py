"""Mixed precision: what masters keep, how the scale moves, and what float32 would do."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.studies.mixed_precision.mixed import (
    RECIPES,
    LossScale,
    Training,
    lost_to_zero,
)
from casestudies.lab.train import loop
from tests.lab.tiny import tiny_windows

SCHEDULE = loop.Schedule(40, 1e-3)


def start() -> LanguageModel:
    return shapes.small(300, 32, 2, torch.Generator().manual_seed(0))


def training(recipe: str) -> Training:
    return Training(start(), RECIPES[recipe], SCHEDULE)


def test_a_bfloat16_weight_loses_small_changes_and_a_master_keeps_them() -> None:
    weight, master = torch.ones((), dtype=torch.bfloat16), torch.ones(())
    for _ in range(40):
        weight *= 1 + 1e-4
        master *= 1 + 1e-4
    assert weight == 1
    assert master.item() == pytest.approx(1.0001**40, rel=1e-5)


def test_weights_without_masters_mostly_stay_as_they_are_and_masters_move() -> None:
    kept, lost = training("bfloat16"), training("bfloat16, no masters")
    for one in (kept, lost):
        one.step(tiny_windows())
    assert 0.3 < lost.lost[0] < 1
    before = [weight.detach() for weight in start().parameters()]
    moved = [(a != b).float().mean() for a, b in zip(kept.masters, before, strict=True)]
    assert min(moved[1:]) > 0.99  # not the embedding: most of its rows are read by the head alone


@settings(max_examples=30)
@given(st.lists(st.booleans(), max_size=40), st.integers(1, 5))
def test_the_scale_moves_as_that_of_pytorch(overflows: list[bool], growth: int) -> None:
    ours = LossScale(1024.0, growth)
    theirs = torch.amp.GradScaler("cpu", 1024.0, growth_interval=growth)
    weight = nn.Parameter(torch.ones(()))
    optimizer = torch.optim.SGD([weight], 0.0)
    theirs.scale(torch.ones(()))  # makes its state
    for overflowed in overflows:
        weight.grad = torch.tensor(torch.inf if overflowed else 1.0)
        theirs.step(optimizer)
        theirs.update()
        ours.update(overflowed)
    assert ours.value == theirs.get_scale()


def test_a_gradient_that_overflows_changes_nothing_and_halves_the_scale() -> None:
    one = training("float16")
    one.scale.value = 2.0**40
    before = [master.clone() for master in one.masters]
    one.step(tiny_windows())
    assert all(a.equal(b) for a, b in zip(one.masters, before, strict=True))
    assert (one.skipped, one.scale.value) == (1, 2.0**39)


def test_a_scale_brings_back_gradients_that_float16_loses() -> None:
    exact, half = training("float32"), training("float16, no scale")
    batch = tiny_windows()
    # So large a batch that its mean makes gradients small.
    small = 2.0**-12
    gradient = exact.gradient(batch, small)
    plain = lost_to_zero(gradient, half.gradient(batch, small))
    assert plain > 0.05
    assert lost_to_zero(gradient, half.gradient(batch, 1024.0)) < plain / 10


@pytest.mark.parametrize("recipe", ["bfloat16", "float16", "bfloat16, autocast"])
def test_with_masters_the_loss_follows_that_of_float32(recipe: str) -> None:
    ends = []
    for name in ("float32", recipe):
        one = training(name)
        for _ in range(SCHEDULE.steps):
            one.step(tiny_windows())
        ends.append(one.loss(tiny_windows()).item())
    assert ends[1] == pytest.approx(ends[0], rel=0.02)
    assert ends[0] < 5  # it learned something: 5.7 is that of guessing


def test_states_take_sixteen_bytes_a_parameter_in_float32_and_in_mixed_precision() -> None:
    for recipe in ("float32", "bfloat16", "float16"):
        one, batch = training(recipe), tiny_windows()
        one.step(batch)
        assert one.state_bytes(batch) == 16 * sum(weight.numel() for weight in one.weights)
