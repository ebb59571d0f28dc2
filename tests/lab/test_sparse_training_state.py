"""State that is stored for kept weights only: the same steps, the bytes, what ranks reduce."""

import pytest
import torch
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from casestudies.lab.distributed.ranks import on_ranks
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.models.shapes import small
from casestudies.lab.studies.sparse_training_state.about import (
    COMPRESSED,
    DENSE,
    LINKED,
    MASKED,
    STUDY,
)
from casestudies.lab.studies.sparse_training_state.ranks import Task, train
from casestudies.lab.studies.sparse_training_state.states import Training, largest_difference
from tests.lab.declared import statuses


def model() -> LanguageModel:
    return small(60, 32, 2, torch.Generator().manual_seed(0))


def begun(variant: str, sparsity: float) -> Training:
    return Training(model(), variant, sparsity, torch.Generator().manual_seed(1))


def batch(seed: int = 0) -> torch.Tensor:
    return torch.randint(60, (4, 13), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=12)
@given(sparsity=st.floats(0, 0.95))
def test_a_step_is_that_of_dense_state_with_zeros(sparsity: float) -> None:
    ours, masked = begun(COMPRESSED, sparsity), begun(MASKED, sparsity)
    for step in range(3):
        assert ours.step(batch(step), 1e-2) == masked.step(batch(step), 1e-2)
    pairs = [list(one.model.parameters()) for one in (ours, masked)]
    assert largest_difference(*pairs) == 0
    assert largest_difference(pairs[0], list(begun(COMPRESSED, sparsity).model.parameters())) > 0


def test_what_is_pruned_stays_zero_and_norms_are_whole() -> None:
    training = begun(COMPRESSED, 0.75)
    for step in range(3):
        training.step(batch(step), 1e-2)
    for weight in training.model.parameters():
        if weight.dim() == 1:
            assert weight.ne(0).all()
        else:
            assert (weight == 0).float().mean().item() == pytest.approx(0.75, abs=0.01)


@settings(max_examples=20)
@given(sparsity=st.floats(0, 0.95))
def test_bytes_are_two_for_each_weight_and_eighteen_for_each_that_is_kept(
    sparsity: float,
) -> None:
    sizes = [weight.numel() for weight in model().parameters() if weight.dim() == 2]
    norms = sum(weight.numel() for weight in model().parameters() if weight.dim() == 1)
    kept = sum(round((1 - sparsity) * size) for size in sizes)
    held = begun(COMPRESSED, sparsity).bytes(batch())
    assert sum(held.values()) == 2 * sum(sizes) + 18 * kept + 16 * norms
    assert held["index"] == 4 * kept
    whole = begun(DENSE, sparsity).bytes(batch())
    assert sum(whole.values()) == 16 * (sum(sizes) + norms)
    assert "index" not in whole


def test_no_dense_gradient_is_left_behind() -> None:
    training = begun(COMPRESSED, 0.9)
    training.backward(batch())
    assert all(weight.grad is None for weight in training.model.parameters())
    for kept in training.weights:  # a view would hold all of it
        assert kept.gradient is not None
        own = kept.gradient.numel() * kept.gradient.element_size()
        assert kept.gradient.untyped_storage().nbytes() == own


def reduced_as_one_process_does(variant: str) -> bool:
    """Whether the gradients that this rank reduces are the means that it computes alone."""
    training = begun(variant, 0.9)

    def gradients() -> torch.Tensor:
        return torch.cat([one.gradient for one in training.weights if one.gradient is not None])

    alone = []
    for rank in range(dist.get_world_size()):
        training.backward(batch(rank))
        alone.append(gradients())
    training.backward(batch(dist.get_rank()))
    training.all_reduce()
    return torch.equal(gradients(), torch.stack(alone).mean(0))


@pytest.mark.parametrize("variant", [DENSE, COMPRESSED])
def test_each_rank_has_the_mean_of_all_gradients(variant: str) -> None:
    assert on_ranks(2, reduced_as_one_process_does, variant, seconds=60) == [True, True]


def test_ranks_send_as_much_less_as_they_keep() -> None:
    batches = torch.stack([batch(n) for n in range(2)]).numpy()
    task = Task(60, 32, 2, 0.9, 0, 1000.0, batches)
    found = on_ranks(2, train, task, seconds=60)
    whole = sum(weight.numel() for weight in model().parameters())
    for one in found:
        # Of two ranks a ring sends half of the tensor twice, of two bytes a number.
        assert one[DENSE].bytes == 2 * whole
        assert one[COMPRESSED].bytes == pytest.approx(0.1 * 2 * whole, rel=0.1)
        assert len(one[DENSE].reducing) == len(one[DENSE].steps) == 1


def judged(claim: str, values: dict[str, float], **parameters: float) -> str:
    """Return how a claim stands beside a run that measured these."""
    rows = [
        (
            metric,
            COMPRESSED,
            value,
            {"sparsity": 0.9} if metric == "state saved" else {"link": LINKED},
        )
        for metric, value in values.items()
    ]
    return statuses(STUDY, rows, **parameters)[f"singh2023samo-{claim}"]


@pytest.mark.parametrize(
    ("saved", "status"),
    [
        (74, "supported"),
        (73.9, "direction agrees"),
        (60, "direction agrees"),
        (59.9, "not reproduced"),
    ],
)
def test_memory_is_judged_by_the_rule(saved: float, status: str) -> None:
    assert judged("0", {"state saved": saved}) == status


@pytest.mark.parametrize(
    ("fewer", "faster", "status"),
    [(85, 40, "direction agrees"), (84, 40, "not reproduced"), (85, 39, "not reproduced")],
)
def test_communication_is_judged_by_the_rule(fewer: float, faster: float, status: str) -> None:
    measured = {"bytes saved": fewer, "time saved": faster}
    assert judged("1", measured) == status
    assert judged("1", measured, ranks=2) == "not run"
