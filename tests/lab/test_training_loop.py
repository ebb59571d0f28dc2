"""The training loop that studies share: its rates, and what it tells of each step."""

import itertools

import pytest
import torch
from torch import nn

from casestudies.lab.train import loop
from casestudies.lab.train.adamw import BETAS, DECAY, EPSILON, adamw


def test_the_rate_goes_up_in_a_line_and_then_down_a_cosine_to_a_tenth() -> None:
    rate = loop.Schedule(100).rate
    rising = [rate(step) for step in range(11)]
    assert rising == pytest.approx([(step + 1) / 11 for step in range(11)])
    # The cosine is half down halfway, and three quarters down at two thirds of its time.
    assert [rate(55), rate(70), rate(100)] == pytest.approx([0.55, 0.325, 0.1])


def test_each_step_is_told_by_its_number_with_the_loss_of_tokens_alone() -> None:
    weight = nn.Parameter(torch.tensor([3.0]))
    told: list[tuple[int, float]] = []

    def loss_of(batch: torch.Tensor) -> loop.Loss:
        return loop.Loss((weight * batch).sum(), penalty=100 * weight.square().sum())

    batches = itertools.repeat(torch.ones(1))
    loop.train([weight], loss_of, batches, loop.Schedule(4, 0.5), lambda *one: told.append(one))
    assert [step for step, _ in told] == [1, 2, 3, 4]
    losses = [loss for _, loss in told]
    assert losses[0] == 3
    assert losses == sorted(losses, reverse=True)  # by the penalty, too


def test_rates_that_are_tried_lie_around_the_middle_one() -> None:
    assert loop.rates_around(0.9, 3) == pytest.approx([0.3, 0.9, 2.7])
    assert loop.rates_around(0.9, 4) == pytest.approx([0.1, 0.3, 0.9, 2.7])


def test_adamw_by_hand_takes_the_steps_of_pytorchs() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = torch.randn(50, generator=generator)
    theirs = nn.Parameter(weights.clone())
    optimizer = torch.optim.AdamW([theirs], 0.1, betas=BETAS, eps=EPSILON, weight_decay=DECAY)
    states = weights, torch.zeros(50), torch.zeros(50)
    for step in range(1, 6):
        theirs.grad = torch.randn(50, generator=generator)
        adamw(states, theirs.grad, step, 0.1)
        optimizer.step()
        torch.testing.assert_close(weights, theirs.detach())
