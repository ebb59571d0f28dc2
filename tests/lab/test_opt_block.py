"""A block of OPT's kind is pruned as the layer-wise method prunes any, here at a toy's size."""

import pytest
import torch
import torch.nn.functional as F

from casestudies.lab.contract import Judgement
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.studies.sparsegpt import opt_block, solver
from casestudies.lab.studies.sparsegpt.about import STUDY, hours_for_175b
from casestudies.lab.studies.sparsegpt.masks import Pattern
from tests.lab.declared import document

SETTINGS = solver.Settings(Pattern(0.6), block=16)


def pruned() -> tuple[opt_block.OptBlock, opt_block.OptBlock, torch.Tensor, torch.Tensor]:
    """Return the block before and after pruning, and the hidden states likewise."""
    generator = torch.Generator().manual_seed(0)
    shape = opt_block.OptShape(width=32, heads=4)
    block = opt_block.OptBlock.random(shape, torch.float32, generator)
    before = opt_block.OptBlock(shape, {name: w.clone() for name, w in block.weights.items()})
    hidden = torch.randn(3, 40, 32, generator=generator)
    first = hidden.clone()
    opt_block.prune(block, hidden, SETTINGS)
    return before, block, first, hidden


def test_every_layer_has_the_zeros_asked_for_and_is_fitted_to_its_own_inputs() -> None:
    before, block, first, _ = pruned()
    for name, weight in block.weights.items():
        assert (weight == 0).float().mean().item() == pytest.approx(0.6, abs=0.01), name
    inputs: dict[opt_block.Name, list[torch.Tensor]] = {
        "query": [block.normed(window) for window in first],
        "out": [block.attended(window) for window in first],
    }
    for name, x in inputs.items():
        (expected,) = solver.prune([before.weights[name]], gram(x), SETTINGS)
        torch.testing.assert_close(block.weights[name], expected, rtol=1e-4, atol=1e-5)


def test_what_passes_through_it_is_what_a_plain_block_of_those_weights_gives() -> None:
    _, block, first, last = pruned()
    w = block.weights
    for x, found in zip(first, last, strict=True):
        normed = F.layer_norm(x, (32,))
        heads = []
        for at in range(0, 32, 8):
            q, k, v = (normed @ w[n][at : at + 8].T for n in ("query", "key", "value"))
            scores = (q @ k.T / 8**0.5).masked_fill(torch.ones(40, 40).triu(1).bool(), -torch.inf)
            heads.append(scores.softmax(-1) @ v)
        y = x + torch.cat(heads, -1) @ w["out"].T
        y = y + (F.layer_norm(y, (32,)) @ w["up"].T).relu() @ w["down"].T
        torch.testing.assert_close(found, y, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("gpu", "hours", "status"),
    [
        ("NVIDIA A100-SXM4-80GB", 4.5, "supported"),
        ("NVIDIA A100-SXM4-80GB", 4.51, "direction agrees"),
        ("NVIDIA A100-SXM4-80GB", 12.01, "not reproduced"),
        ("NVIDIA L4", 4.5, "supported"),
        ("NVIDIA L40S", 4.5, "direction agrees"),
        ("NVIDIA H100 80GB HBM3", 4.5, "direction agrees"),
        ("NVIDIA H100 80GB HBM3", 4.51, "not reproduced"),
    ],
)
def test_the_hours_count_by_the_gpu_that_they_were_measured_on(gpu, hours, status) -> None:
    assert judged(gpu, hours).status == status


def test_without_a_gpu_the_hours_are_not_run() -> None:
    assert judged(None, 1.0).reason == "needs a GPU"


def judged(gpu: str | None, hours: float) -> Judgement:
    plain = document()
    measured = {
        **plain["measurements"][0],
        "metric": "OPT-175B pruning time",
        "variant": "sparsegpt",
        "value": hours,
        "unit": "h",
    }
    environment = {**plain["environment"], "device": "cuda" if gpu else "cpu"}
    if gpu:
        environment["gpu"] = {"name": gpu, "memory_bytes": 80 * 2**30}
    result = document(
        study="sparsegpt", environment=environment, measurements=[measured], series=[]
    )
    return hours_for_175b(STUDY.read(result))


def test_weights_left_out_are_counted_at_the_shape_of_opt_175b() -> None:
    plain = document()
    found = {"metric": "sparsity", "variant": "sparsegpt", "value": 0.6, "unit": "fraction"}
    result = document(
        study="sparsegpt",
        parameters=STUDY.check("quick", {"sparsity": 0.6}).model_dump(mode="json"),
        measurements=[{**plain["measurements"][0], **found}],
        series=[],
    )
    outcome = STUDY.judge(STUDY.read(result))["frantar2023sparsegpt-2"]
    assert outcome.numbers[0].value == pytest.approx(0.6 * 175, rel=0.01)  # all but embeddings
    assert outcome.status == "supported"
