"""Half a model's blocks, the loss by which they learn from it, and how claims are judged."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from casestudies.lab.models import bert
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.shapes import small
from casestudies.lab.studies.distillation import distilling
from casestudies.lab.studies.distillation.about import BERT, LONGER, SMOLLM2, STUDY
from casestudies.lab.studies.distillation.study import Quality, lead_over, step_operations
from casestudies.lab.train import loop
from tests.lab.declared import statuses


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def teacher(layers: int = 6) -> LanguageModel:
    return small(60, 32, layers, generator()).requires_grad_(False)


def windows(count: int = 3) -> Tensor:
    return torch.randint(60, (count, 13), generator=generator(1))


def test_half_of_twelve_blocks_are_those_that_distilbert_begins_from() -> None:
    assert distilling.kept_blocks(12, 6) == [0, 2, 4, 7, 9, 11]


@given(half=st.integers(2, 40))
def test_blocks_are_kept_from_the_first_to_the_last_and_at_most_two_neighbours_are_lost(
    half: int,
) -> None:
    kept = distilling.kept_blocks(2 * half, half)
    steps = [after - before for before, after in itertools.pairwise(kept)]
    assert (kept[0], kept[-1], len(kept)) == (0, 2 * half - 1, half)
    assert set(steps) <= {2, 3}


def test_a_student_begins_as_its_teacher_with_the_other_blocks_silent() -> None:
    whole = teacher()
    student = distilling.student_of(whole)
    assert len(student.blocks) == student.config.layers == 3
    found = student(windows()[:, :-1])
    assert found.equal(distilling.with_blocks_silenced(whole)(windows()[:, :-1]))
    assert not found.allclose(whole(windows()[:, :-1]), atol=1e-2)


def test_nothing_is_left_to_learn_where_the_student_is_the_teacher() -> None:
    whole = teacher()
    twin = teacher().requires_grad_(True)
    objective = distilling.Objective(hard=0.0)
    loss = distilling.distillation_loss(twin, whole, windows(), objective)
    total = loss.of_tokens + loss.penalty
    assert abs(total.item()) < 1e-6
    total.backward()
    assert max(w.grad.abs().max().item() for w in twin.parameters() if w.grad is not None) < 1e-6
    other = distilling.distillation_loss(distilling.student_of(whole), whole, windows(), objective)
    assert other.of_tokens + other.penalty > 1e-3


def test_with_the_texts_own_loss_alone_it_is_training_without_a_teacher() -> None:
    student, batch = distilling.student_of(teacher()), windows()
    objective = distilling.Objective(soft=0.0, hard=3.0, hidden=0.0)
    loss = distilling.distillation_loss(student, teacher(), batch, objective)
    expected = loop.next_token_loss(student, batch)
    assert (loss.of_tokens + loss.penalty).item() == pytest.approx(expected.item(), abs=1e-6)


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), tokens=st.integers(2, 50), size=st.floats(0.1, 10))
def test_the_soft_gradient_goes_to_matching_logits_as_one_over_the_temperature(
    seed: int, tokens: int, size: float
) -> None:
    logits, aims = size * torch.randn(2, 4, tokens, generator=generator(seed)).double()
    largest = max(logits.abs().max().item(), aims.abs().max().item())
    temperature = 16 * largest
    once, twice = (distilling.from_matching(logits, aims, t * temperature) for t in (1, 2))
    assert once < 4 * largest / temperature
    assert twice < 0.6 * once


def test_published_encoders_have_the_parameters_of_the_published_weights() -> None:
    assert bert.parameters(bert.BertShape()) == 109_482_240
    assert bert.parameters(bert.BertShape(layers=6, whole=False)) == 66_362_880


def test_an_encoder_reads_in_both_directions_and_pools_only_where_it_is_whole() -> None:
    shape = bert.BertShape(2, 32, 4, 50, 16)
    model = bert.with_random_weights(shape)
    tokens = torch.arange(6)[None]
    changed = tokens.clone()
    changed[0, -1] = 40
    assert not model(tokens)[0][0, 0].allclose(model(changed)[0][0, 0])
    assert model(tokens)[1].shape == (1, 32)
    half = bert.with_random_weights(bert.BertShape(1, 32, 4, 50, 16, whole=False))
    assert half(tokens)[1] is None
    # As BERT begins: matrices of deviation 0.02, norms that change nothing, biases of zero.
    for name, weight in model.named_parameters():
        assert not weight.requires_grad
        if weight.dim() == 2:
            assert weight.std().item() == pytest.approx(0.02, rel=0.3)
        else:
            assert (weight == (0 if name.endswith("bias") else 1)).all()


def test_operations_of_a_step_are_three_passes_of_the_student_and_one_of_the_teacher() -> None:
    whole, batch = teacher(4), windows()
    tokens, length = 3 * 12, 12

    def forward(layers: int) -> int:
        block = sum(linear.weight.numel() for linear in whole.linears().values()) // 4
        scores = 2 * 32 * length
        return 2 * tokens * (layers * (block + scores) + 60 * 32)

    found = step_operations(whole, distilling.Objective(), batch)
    assert found["alone"] == 3 * forward(2)
    assert found["distilled"] == found["alone"] + forward(4)


def test_a_lead_is_as_sure_as_its_windows_and_students_agree() -> None:
    def quality(*hits: float) -> Quality:
        return Quality(0.0, torch.tensor(hits))

    one = lead_over([quality(0.5, 0.7)], [quality(0.4, 0.4)])
    assert one.points == pytest.approx(20)
    assert one.error == pytest.approx(10)
    ours = [quality(0.5, 0.7), quality(0.5, 0.7)]
    assert lead_over(ours, [quality(0.4, 0.4)] * 2).error == pytest.approx(10)
    apart = lead_over(ours, [quality(0.4, 0.4), quality(0.6, 0.6)])
    assert apart.points == pytest.approx(10)
    assert apart.error == pytest.approx(200**0.5)


def judged(claim: str, rows: list[tuple[str, str, float, str]], **parameters: int) -> str:
    """Return how a claim stands beside a run that measured metric, variant, value and shape."""
    given = [(*row[:3], {"shape": row[3]} if row[3] else {}) for row in rows]
    return statuses(STUDY, given, **parameters)[f"sanh2019distilbert-{claim}"]


@pytest.mark.parametrize(
    ("fewer", "status"),
    [
        (38.9, "direction agrees"),
        (39, "supported"),
        (41, "supported"),
        (41.1, "direction agrees"),
        (29.9, "not reproduced"),
        (50.1, "not reproduced"),
    ],
)
def test_size_is_judged_by_the_rule(fewer: float, status: str) -> None:
    rows = [
        ("fewer parameters", "distilled", value, shape)
        for value, shape in ((fewer, BERT), (39.5, SMOLLM2))
    ]
    assert judged("0", rows) == status


@pytest.mark.parametrize(
    ("kept", "lead", "status"),
    [(90, 0.3, "direction agrees"), (90, 0.2, "not reproduced"), (89.9, 0.3, "not reproduced")],
)
def test_what_is_retained_is_judged_by_the_rule(kept: float, lead: float, status: str) -> None:
    rows = [
        ("accuracy kept", "distilled", kept, ""),
        ("accuracy kept", "alone", 80, ""),
        ("accuracy kept", LONGER, 95, ""),
        ("lead of distillation", "alone", lead, ""),
        ("standard error of the lead", "alone", 0.1, ""),
    ]
    assert judged("1", rows) == status
    assert judged("1", rows, repeats=1) == "not run"
    assert judged("1", rows, teacher_steps=299) == "not run"


@pytest.mark.parametrize(
    ("half", "status"),
    [
        (62.5, "supported"),
        (62.6, "direction agrees"),
        (76.9, "direction agrees"),
        (77, "not reproduced"),
    ],
)
def test_speed_is_judged_by_the_rule(half: float, status: str) -> None:
    rows = [("forward time", "teacher", 100, BERT), ("forward time", "distilled", half, BERT)]
    assert judged("2", rows) == status
    assert judged("2", rows, timed_blocks=8) == "not run"
