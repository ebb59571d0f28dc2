"""A block of OPT's kind is changed as the layer-wise method changes any, here at a toy's size."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Judgement, Setup
from casestudies.lab.quantize import opt_block
from casestudies.lab.quantize.hessian import gram
from casestudies.lab.report import Report
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.on_gpu import hours
from casestudies.lab.studies.sparsegpt import solver
from casestudies.lab.studies.sparsegpt.about import STUDY
from casestudies.lab.studies.sparsegpt.masks import Pattern
from tests.lab.declared import document

SPARSEGPT = partial(solver.prune, settings=solver.Settings(Pattern(0.6), block=16))
GPTQ = hours.by_gptq(bits=3, group=16, damping=0.01)
each_method = pytest.mark.parametrize("method", [SPARSEGPT, GPTQ], ids=["sparsegpt", "gptq"])


def changed(
    method: opt_block.Method,
) -> tuple[opt_block.OptBlock, opt_block.OptBlock, torch.Tensor, torch.Tensor]:
    """Return the block before and after the method, and the hidden states likewise."""
    generator = torch.Generator().manual_seed(0)
    shape = opt_block.OptShape(width=32, heads=4)
    block = opt_block.OptBlock.random(shape, torch.float32, generator)
    before = opt_block.OptBlock(shape, {name: w.clone() for name, w in block.weights.items()})
    hidden = torch.randn(3, 40, 32, generator=generator)
    first = hidden.clone()
    opt_block.compress(block, hidden, method)
    return before, block, first, hidden


def test_sparsegpt_leaves_every_layer_the_zeros_asked_for() -> None:
    for name, weight in changed(SPARSEGPT)[1].weights.items():
        assert (weight == 0).float().mean().item() == pytest.approx(0.6, abs=0.01), name


def test_gptq_leaves_every_group_of_a_row_no_more_values_than_its_bits_have() -> None:
    for name, weight in changed(GPTQ)[1].weights.items():
        groups = weight.unflatten(1, (-1, 16)).flatten(0, 1)
        assert max(len(group.unique()) for group in groups) == 2**3, name
        assert max(len(row.unique()) for row in weight) > 2**3, name  # which has other groups, too


@each_method
def test_every_layer_is_fitted_to_its_own_inputs(method) -> None:
    before, block, first, _ = changed(method)
    attended = [block.attended(window) for window in first]
    between = [x + y @ block.weights["out"].T for x, y in zip(first, attended, strict=True)]
    inputs: dict[opt_block.Name, list[torch.Tensor]] = {
        "query": [block.normed(window) for window in first],
        "out": attended,
        "up": [block.normed(window) for window in between],
        "down": [block.widened(window) for window in between],
    }
    for name, x in inputs.items():
        (expected,) = method([before.weights[name]], gram(x))
        torch.testing.assert_close(block.weights[name], expected, rtol=1e-4, atol=1e-5)


@each_method
def test_what_passes_through_it_is_what_a_plain_block_of_those_weights_gives(method) -> None:
    _, block, first, last = changed(method)
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


def test_gptq_is_timed_in_the_bits_of_the_run_where_a_gpu_holds_the_block(monkeypatch) -> None:
    monkeypatch.setattr(opt_block, "OptShape", partial(opt_block.OptShape, 32, 4))
    monkeypatch.setattr(opt_block, "WINDOWS", 2)
    events: list = []
    report, setup = Report(STUDIES["quantization"], events.append), Setup(device="cpu", seed=0)
    hours.report_hours(QuantizationParameters(), setup, report)
    monkeypatch.setattr(hours, "lacking_memory", lambda device, gib: "")
    hours.report_hours(QuantizationParameters(blocks=1), setup, report)
    hours.report_hours(QuantizationParameters(bits="3", group=0), setup, report)
    needs_a_gpu, some_blocks, measured, said = events
    assert needs_a_gpu.text.endswith("that needs a GPU")
    assert some_blocks.text.endswith("this run rounds only some blocks")
    assert 0 < measured.value < 1
    assert said.text.startswith("GPTQ, 3 bits: a block of OPT-175B’s shape took ")


@pytest.mark.parametrize(
    ("claim", "metric", "variant"),
    [
        ("frantar2023sparsegpt-1", "OPT-175B pruning time", "sparsegpt"),
        ("frantar2022gptq-0", "OPT-175B quantization time", "gptq"),
    ],
)
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
        (None, 1.0, "not run"),
    ],
)
def test_the_hours_count_by_the_gpu_that_they_were_measured_on(
    claim, metric, variant, gpu, hours, status
) -> None:
    assert judged(claim, metric, variant, gpu, hours).status == status


def judged(claim: str, metric: str, variant: str, gpu: str | None, hours: float) -> Judgement:
    study = next(s for s in STUDIES.values() if claim in {a.claim for a in s.answers})
    plain = document()
    measured = {
        **plain["measurements"][0],
        "metric": metric,
        "variant": variant,
        "value": hours,
        "unit": "h",
    }
    environment = {**plain["environment"], "device": "cuda" if gpu else "cpu"}
    if gpu:
        environment["gpu"] = {"name": gpu, "memory_bytes": 80 * 2**30}
    result = document(study=study.slug, environment=environment, measurements=[measured], series=[])
    return study.judge(study.read(result))[claim]


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
