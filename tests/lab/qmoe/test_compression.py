"""The model, rounding its experts, and the study's own arithmetic."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from casestudies.lab.data.text import Document
from casestudies.lab.data.tokenizers import byte_pairs
from casestudies.lab.measure.cost import Measured
from casestudies.lab.studies.qmoe import compression, gptq, study, training
from casestudies.lab.studies.qmoe.codes.container import CODES
from casestudies.lab.studies.qmoe.grid import TernaryGrid, round_to_nearest
from casestudies.lab.studies.qmoe.model import SwitchConfig, SwitchModel, losses
from casestudies.lab.studies.qmoe.study import RoundedModel, RoundingTrial

CONFIG = SwitchConfig(vocabulary=300, width=64, layers=2, experts=4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny() -> SwitchModel:
    return SwitchModel(CONFIG, generator())


def windows(count: int = 32, length: int = 24) -> Tensor:
    return torch.randint(300, (count, length), generator=generator(1))


def problem(experts: int, rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Weights of each expert and the Gram matrices of their correlated inputs, in double."""
    random, double = generator(2), torch.float64
    mixing = torch.randn(experts, columns, columns, generator=random, dtype=double)
    x = torch.randn(experts, 4 * columns, columns, generator=random, dtype=double) @ mixing
    return torch.randn(experts, rows, columns, generator=random, dtype=double), x.mT @ x


def fitted(weights: Tensor, grams: Tensor, damping: float = 0.1) -> gptq.Quantized:
    return gptq.quantize(weights, grams, torch.full((len(weights),), 1000), 1.0, damping)


def brute_force(weights: Tensor, gram: Tensor, damping: float) -> Tensor:
    """GPTQ for one expert with a fresh inverse for every column."""
    w, columns = weights.clone(), len(gram)
    grid = TernaryGrid.of(weights, 1.0)
    damped = gram + damping * gram.diagonal().mean() * torch.eye(columns, dtype=gram.dtype)
    for i in range(columns):
        inverse = torch.linalg.inv(damped[i:, i:])
        error = w[:, i] - grid.nearest(w[:, i])
        w[:, i:] -= torch.outer(error / inverse[0, 0], inverse[0])
    return w


@pytest.mark.parametrize("columns", [8, 150])
def test_gptq_of_a_stack_is_that_of_each_expert_by_brute_force(columns) -> None:
    weights, grams = problem(3, 5, columns)
    found = fitted(weights, grams)
    assert found.fallen_back == []
    for w, gram, ours in zip(weights, grams, found.weights, strict=True):
        torch.testing.assert_close(ours, brute_force(w, gram, 0.1), rtol=1e-6, atol=1e-9)


def test_gptq_changes_the_outputs_less_than_rounding() -> None:
    weights, grams = problem(4, 64, 96)
    rounded, _ = round_to_nearest(weights, 1.0)

    def change(new: Tensor) -> Tensor:
        return torch.einsum("eri,eij,erj->e", weights - new, grams, weights - new)

    assert (change(fitted(weights, grams).weights) < 0.7 * change(rounded)).all()


def test_experts_without_tokens_or_a_sound_hessian_are_rounded_and_named() -> None:
    weights, grams = problem(5, 6, 16)
    grams[1] = 0
    grams[2, 3, 3] = math.nan
    grams[3] = torch.diag(torch.tensor([1.0] * 15 + [-0.2]))
    tokens = torch.tensor([1000, 0, 1000, 1000, 1])
    found = gptq.quantize(weights, grams, tokens, 1.0, 0.1)
    assert found.fallen_back == [1, 2, 4]
    rounded, _ = round_to_nearest(weights, 1.0)
    for expert in found.fallen_back:
        assert torch.equal(found.weights[expert], rounded[expert])
    # Not positive definite as it is, but with ten times the damping.
    assert torch.equal(found.weights[3], rounded[3])
    assert not torch.equal(found.weights[0], rounded[0])


@pytest.mark.parametrize("clip", [0.7, 1.0, 1.4])
def test_rounding_takes_the_nearest_of_each_rows_three_values(clip) -> None:
    weights = torch.randn(2, 9, 33, generator=generator())
    rounded, ternary = round_to_nearest(weights, clip)
    values = torch.stack([weights.amin(2) * clip, torch.zeros(2, 9), weights.amax(2) * clip], 2)
    nearest = (weights[..., None] - values.bfloat16().float()[:, :, None]).abs().min(3).values
    torch.testing.assert_close((weights - rounded).abs(), nearest)
    np.testing.assert_array_equal(ternary.values(), rounded.flatten(0, 1).numpy())
    wider, _ = round_to_nearest(weights, 1.2 * clip)
    assert (wider == 0).sum() > (rounded == 0).sum()


def test_rows_of_one_sign_and_of_zeros_keep_their_zeros() -> None:
    weights = torch.tensor([[0.1, 0.9, 1.0], [0.0, 0.0, 0.0], [-1.0, -0.1, -0.2]])
    rounded, ternary = round_to_nearest(weights, 1.0)
    assert ternary.trits.tolist() == [[0, 2, 2], [0, 0, 0], [1, 0, 0]]
    assert rounded[0, 0] == 0


def test_a_token_changes_no_prediction_before_it() -> None:
    model, tokens = tiny(), windows(1)
    changed = tokens.clone()
    changed[0, 10] = (changed[0, 10] + 1) % 300
    before, after = model(tokens)[0][0], model(changed)[0][0]
    torch.testing.assert_close(before[:10], after[:10])
    assert not torch.allclose(before[10:], after[10:])


def test_each_token_passes_through_its_likeliest_expert_only() -> None:
    experts = tiny().experts()[0]
    x = torch.randn(50, 64, generator=generator())
    output, unevenness = experts(x)
    chosen, probabilities = experts.route(x)
    for token, expert, share, found in zip(x, chosen, probabilities, output, strict=True):
        assert expert == share.argmax()
        hidden = (experts.up[expert] @ token).relu()
        torch.testing.assert_close(found, share.max() * (experts.down[expert] @ hidden))
    assert unevenness > 1
    with torch.no_grad():
        experts.router.zero_()
    assert experts(x)[1].item() == pytest.approx(1)


def test_training_learns_what_always_follows() -> None:
    model = tiny()
    text = torch.arange(24).repeat(40, 1)
    before = losses(model, text).mean()
    training.train(model, text, 15, generator(), lambda step, loss: None)
    assert losses(model, text).mean() < 0.5 * before


def test_a_tokenizer_of_the_texts_own_words_says_them_shorter() -> None:
    documents = [Document("a", "matrix product of a matrix " * 50)]
    tokenizer = byte_pairs(documents, 280)
    assert len(tokenizer.encode("matrix product").ids) <= 3
    assert tokenizer.decode(tokenizer.encode("naïve → 猫").ids) == "naïve → 猫"


@pytest.mark.parametrize("method", ["rtn", "gptq"])
def test_the_compressed_model_holds_exactly_what_is_stored(method) -> None:
    model = tiny()
    if method == "rtn":
        found = compression.by_rounding(model, 1.0)
    else:
        blocks: list[int] = []
        found = compression.by_gptq(model, windows(), 1.0, 0.1, blocks.append)
        assert blocks == [0, 1]
        assert found.fallen_back == 0
    stacks = [weights for experts in model.experts() for weights in (experts.up, experts.down)]
    for weights, ternary in zip(stacks, found.matrices, strict=True):
        stored = ternary.values().reshape(weights.shape)
        np.testing.assert_array_equal(stored, weights.detach().numpy())
    sizes = {code: study.size(found, code) for code in CODES}
    assert all(size.payload < size.total for size in sizes.values())
    assert sizes["tunstall-16"].payload < sizes["paper"].payload


def test_experts_that_see_no_token_are_rounded() -> None:
    model = tiny()
    with torch.no_grad():
        for experts in model.experts():
            experts.router.zero_()  # then every token goes to the first expert
    found = compression.by_gptq(model, windows(), 1.0, 0.1, lambda block: None)
    assert found.fallen_back == 2 * 2 * 3


def outcome(entropy: float, loss_increase: float) -> RoundedModel:
    cost = Measured("cpu")
    return RoundedModel(loss_increase, 0.0, 0.9, entropy, {}, {}, 0, cost)


def test_methods_are_compared_where_their_entropy_is_the_same() -> None:
    outcomes = {
        RoundingTrial("gptq", 0.8): outcome(1.0, 0.01),
        RoundingTrial("gptq", 1.2): outcome(0.6, 0.04),
        RoundingTrial("rtn", 1.0): outcome(0.8, 0.1),
        RoundingTrial("rtn", 1.4): outcome(0.5, 0.9),
    }
    assert study.matched_ratios(outcomes) == pytest.approx([0.02 / 0.1])
    assert study.matched_ratios({RoundingTrial("rtn", 1.0): outcome(0.8, 0.1)}) == []
