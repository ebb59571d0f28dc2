"""LOMO: the same step as SGD's, and never more gradients than it says."""

import copy
import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.result import Result
from casestudies.lab.studies.lomo import about
from casestudies.lab.studies.lomo.fused import Lomo, Sgd
from casestudies.lab.studies.lomo.methods import METHODS, Training
from casestudies.lab.studies.lomo.step import held_at_llama
from casestudies.lab.studies.lomo.tuning import apart
from tests.lab.declared import measured
from tests.lab.tiny import tiny_model, tiny_windows

RATE = 0.1
WITHIN = [(name, method.same) for name, method in METHODS.items() if method.same]


def stepped(start: LanguageModel, method: str) -> LanguageModel:
    training = Training(start, method)
    for _ in range(4):
        training.step(tiny_windows(), RATE)
    return training.model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("fused", "after"), WITHIN)
def test_a_step_within_the_backward_pass_is_the_one_after_it(
    fused: str, after: str, tied: bool
) -> None:
    start = tiny_model(tied=tied)
    found = stepped(start, fused)
    assert apart(found, stepped(start, after)) == 0
    # Something was learned, or the above says nothing.
    assert apart(found, start) > 1e-4


def test_clipping_changes_a_step_whose_gradient_is_long() -> None:
    start = tiny_model()
    with torch.no_grad():
        start.embedding.weight.mul_(3)
    assert apart(stepped(start, "lomo, clipped"), stepped(start, "lomo")) > 1e-4


@settings(max_examples=30)
@given(widths=st.lists(st.integers(1, 12), min_size=2, max_size=5), seed=st.integers(0, 999))
def test_any_chain_of_layers_is_trained_alike(widths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sizes = [torch.randn(n, m, generator=generator) for m, n in itertools.pairwise(widths)]
    x = torch.randn(3, widths[0], generator=generator)
    ends = []
    for optimizer in (Lomo, Sgd):
        weights = [nn.Parameter(size.clone()) for size in sizes]
        chosen = optimizer(weights, clipped=True)
        for _ in range(3):
            chosen.step(partial(through, weights, x), RATE)
        assert all(weight.grad is None for weight in weights)
        ends.append(weights)
    assert all(one.equal(other) for one, other in zip(*ends, strict=True))


def through(weights: list[nn.Parameter], x: Tensor) -> Tensor:
    for weight in weights:
        x = torch.tanh(x @ weight.T)
    return x.square().sum()


def counted(start: LanguageModel, method: str) -> tuple[int, int]:
    training = Training(start, method)
    with training.counting_gradients() as gradients:
        training.step(tiny_windows(), RATE)
    assert gradients.bytes == 0  # none outlives the step
    return gradients.most, gradients.peak


def test_one_gradient_is_held_at_a_time_and_by_sgd_all_of_them() -> None:
    start = tiny_model(tied=False)
    sizes = [weight.nbytes for weight in start.parameters()]
    assert counted(start, "lomo") == (1, max(sizes))
    assert counted(start, "adam, fused") == (1, max(sizes))
    assert counted(start, "sgd") == (len(sizes), sum(sizes))


def test_an_embedding_that_is_also_the_head_has_two_gradients() -> None:
    start = tiny_model(tied=True)
    assert counted(start, "lomo") == (2, 2 * start.embedding.weight.nbytes)


@pytest.mark.parametrize("method", ["sgd", "lomo", "lomo, 16 bits", "adam, 16 bits"])
def test_tensors_without_data_are_counted_as_those_with_them(method: str) -> None:
    start = tiny_model(tied=False)
    training = Training(copy.deepcopy(start).to("meta"), method)
    with training.counting_gradients() as gradients:
        training.step(tiny_windows().to("meta"), RATE)
    assert (gradients.most, gradients.peak) == counted(start, method)


def test_two_layers_of_llama_65b_have_the_states_of_the_arithmetic() -> None:
    held = held_at_llama(2, 16)
    lomo, adam = held["lomo, 16 bits"], held["adam, 16 bits"]
    assert dict(adam.parts()) == {"weights": 2, "gradients": 2, "optimizer": 12}
    assert (lomo.optimizer, lomo.at_once) == (0, 1)
    assert lomo.gradients == 2 * 32_000 * 8_192


def result(lomo: float, adam: float, blocks: int = 80) -> Result:
    """Return a run that measured these bytes a parameter, all of them weights."""
    of = {"lomo, 16 bits": lomo, "adam, 16 bits": adam}
    rows = [
        (
            "bytes per parameter",
            variant,
            of[variant] if part == "weights" else 0.0,
            {"shape": shape, "part": part},
        )
        for variant in of
        for shape in (about.SMOLLM2, about.LLAMA_65B)
        for part in ("weights", "gradients", "optimizer")
    ]
    return measured(about.STUDY, rows, claimed_blocks=blocks)


@pytest.mark.parametrize(
    ("lomo", "adam", "status"),
    [
        (2.46, 16.0, "supported"),
        (2.47, 16.0, "direction agrees"),
        (2.0, 8.6, "direction agrees"),
        (2.47, 9.8, "not reproduced"),
    ],
)
def test_two_gpus_are_judged_by_the_rule(lomo: float, adam: float, status: str) -> None:
    assert about.STUDY.judge(result(lomo, adam))["lv2023collie-0"].status == status
    assert about.STUDY.judge(result(lomo, adam, 79))["lv2023collie-0"].status == "not run"
