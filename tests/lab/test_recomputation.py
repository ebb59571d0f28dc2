"""Recomputed activations: the same numbers bit for bit, and the bytes that table 2 gives."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from casestudies.lab.contract import InvalidParameter, Judgement
from casestudies.lab.equations import activations, operations
from casestudies.lab.measure.saved import SavedBytes
from casestudies.lab.models.gpt import Dropout, Gpt, selective
from casestudies.lab.result import Result
from casestudies.lab.studies.recomputation.about import STUDY
from casestudies.lab.studies.recomputation.recomputed import WAYS
from casestudies.lab.train import loop
from tests.lab.declared import document

VOCABULARY = 64


def model(width: int = 32, layers: int = 2, heads: int = 4) -> Gpt:
    return Gpt(VOCABULARY, width, layers, heads, torch.Generator().manual_seed(0))


def gradients(way: str, share: float = 0.25) -> list[torch.Tensor]:
    """Return the loss and all gradients of a batch, dropout the same each time."""
    with torch.random.fork_rng():
        windows = torch.randint(VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(1))
        gpt, dropout = model(), Dropout(share, torch.default_generator.manual_seed(2))
        loss = loop.token_loss(gpt(windows[:, :-1], WAYS[way], dropout), windows)
        return [loss, *torch.autograd.grad(loss, list(gpt.parameters()))]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(a.equal(b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("way", ["selective", "full", "full, PyTorch"])
def test_loss_and_gradients_are_the_same_bit_for_bit_with_dropout(way: str) -> None:
    assert equal(gradients(way), gradients("none"))


def test_without_the_random_state_only_the_loss_stays() -> None:
    loss, *found = gradients("full, other dropout")
    kept_loss, *kept = gradients("none")
    assert loss.equal(kept_loss)
    assert not equal(found, kept)
    # It is the dropout alone that makes the difference.
    assert equal(gradients("full, other dropout", 0), gradients("none", 0))


def test_later_draws_are_those_that_would_have_come_without_recomputing() -> None:
    generator = torch.Generator().manual_seed(3)
    gpt, tokens = model(), torch.zeros(1, 8, dtype=torch.long)
    logits = gpt(tokens, selective, Dropout(0.25, generator))
    before = generator.get_state()
    logits.sum().backward()
    assert generator.get_state().equal(before)


@pytest.mark.parametrize(
    ("way", "kept"), [("none", 3_540_992), ("selective", 2_230_272), ("full", 131_072)]
)
def test_a_layer_keeps_the_bytes_of_the_formula_and_the_statistics_of_its_norms(
    way: str, kept: int
) -> None:
    s, b, h, a = 128, 2, 256, 8
    shape = {"tokens": s, "batch": b, "hidden": h}
    formula = {
        "none": activations.layer_activation_bytes(**shape, heads=a),
        "selective": activations.selective_activation_bytes(**shape, tensor_ranks=1),
        "full": activations.full_recompute_activation_bytes(**shape),
    }
    statistics = {"none": 2048, "selective": 2048, "full": 0}
    gpt, saved = model(h, 2, a), SavedBytes()
    weights = gpt.rounded()
    saved.leave_out(weight for layer in weights for weight in layer)
    x = torch.zeros(b, s, h, dtype=torch.bfloat16, requires_grad=True)
    with saved.counting():
        output = gpt.through(x, weights, WAYS[way], Dropout(0.1, torch.Generator()))
    assert saved.bytes == 2 * kept
    assert kept == formula[way] + statistics[way]
    del output


def test_operations_are_those_of_the_equations_and_selective_repeats_attention_once() -> None:
    s, h, layers = 16, 32, 2
    shape = {"batch": 1, "layers": layers, "tokens": s, "hidden": h, "vocabulary": VOCABULARY}

    def counted(way: str) -> int:
        windows = torch.zeros(1, s + 1, dtype=torch.long)
        with torch.random.fork_rng(), FlopCounterMode(display=False) as counter:
            dropout = Dropout(0.1, torch.default_generator)
            loop.token_loss(model()(windows[:, :-1], WAYS[way], dropout), windows).backward()
        return counter.get_total_flops()

    assert counted("none") == operations.step_operations(**shape)
    assert counted("full") == operations.step_operations_full(**shape)
    # A third of what equation 8 adds.
    assert counted("selective") - counted("none") == 4 * layers * s**2 * h


def judged(selective_adds: float, full_adds: float, wide: int = 1024) -> Judgement:
    rows = [("selective", selective_adds), ("full", full_adds)]
    measurements = [
        {
            "metric": "added time",
            "variant": variant,
            "settings": {"length": 128, "width": wide},
            "value": value,
            "unit": "%",
            "n": 3,
            "spread": 0.0,
        }
        for variant, value in rows
    ]
    parameters = STUDY.check("claims", {"wide": wide}).model_dump()
    found = document(study="recomputation", parameters=parameters, measurements=measurements)
    return STUDY.judge(Result.model_validate(found))["korthikanti2022reducing-1"]


def test_the_overhead_is_judged_by_its_rule() -> None:
    assert judged(5, 20).status == "direction agrees"
    assert judged(-1, 20).status == "direction agrees"
    assert judged(6, 20).status == "not reproduced"
    assert judged(1, 14).status == "not reproduced"
    assert judged(1, 20, wide=512).status == "not run"


def test_the_second_model_is_of_another_width() -> None:
    with pytest.raises(InvalidParameter, match=r"^wide: 256 is the first model's width"):
        STUDY.check("quick", {"width": "256", "wide": "256"})
