"""What studies make of kernels, on tiny shapes: equality first, times only of what is right."""

import pytest
import torch

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.kernels import code_words, few_bits
from casestudies.lab.measure import rounds
from casestudies.lab.quantize.quantized import Format
from casestudies.lab.report import Report
from casestudies.lab.result import MeasuredEvent
from casestudies.lab.studies.qmoe import expert_products
from casestudies.lab.studies.qmoe import study as qmoe
from casestudies.lab.studies.quantization import gpu_kernels
from casestudies.lab.studies.quantization import study as quantization
from tests.lab.declared import measured, on_a_gpu

LAYERS = {(8, 256): 3, (5, 128): 1}


def report_on(slug: str) -> tuple[Report, list]:
    events: list = []
    return Report(STUDIES[slug], events.append), events


def metrics_of(events) -> list[str]:
    return [event.metric for event in events if isinstance(event, MeasuredEvent)]


@pytest.fixture(autouse=True)
def _little_work(monkeypatch) -> None:
    """Take few matrices, and a speed of copying that is none, for measuring it takes seconds."""
    monkeypatch.setattr(expert_products, "COPIES", 2)
    monkeypatch.setattr(expert_products, "ROUNDS", 3)
    monkeypatch.setattr(gpu_kernels, "TAKING_TURNS", 3000)
    for module in (expert_products, gpu_kernels):
        monkeypatch.setattr(module, "copied_bytes_a_second", lambda device: 1e9)


def wrong(x: torch.Tensor, weights) -> torch.Tensor:
    return few_bits.reference(x.float(), weights) * 1.01


@pytest.mark.parametrize("code", expert_products.CODES)
def test_experts_in_code_are_held_against_decoded_ones_and_then_timed(code) -> None:
    matrices = expert_products.experts(0, ((3, 300), (2, 200)))
    found = expert_products.timed(matrices, code, 1, "cpu")
    assert len(found.overheads) == expert_products.ROUNDS
    assert found.of_copying > 0
    report, events = report_on("qmoe")
    qmoe.report_overhead(report, code, 1, found)
    assert metrics_of(events) == ["equality error", "product overhead"]


def test_wrong_products_of_experts_are_told_and_not_timed(monkeypatch) -> None:
    monkeypatch.setattr(code_words, "product", wrong)
    matrices = expert_products.experts(0, ((3, 300),))
    found = expert_products.timed(matrices, "tunstall-8", 1, "cpu")
    assert found.apart > 0.004
    report, events = report_on("qmoe")
    qmoe.report_overhead(report, "tunstall-8", 1, found)
    assert metrics_of(events) == ["equality error"]


@pytest.mark.parametrize("variant", gpu_kernels.FORMS)
def test_packed_weights_are_held_against_unpacked_ones_and_then_timed(variant) -> None:
    form = gpu_kernels.FORMS[variant]
    found = gpu_kernels.timed(LAYERS, form, 1, "cpu", rounds=2)
    assert len(found.speeds) == 2
    assert found.of_copying > 0
    report, events = report_on("quantization")
    quantization.report_kernel(report, variant, found, model="OPT-175B", tokens=1)
    assert metrics_of(events) == ["equality error", "kernel speed"]


def test_wrong_products_of_packed_weights_are_told_and_not_timed(monkeypatch) -> None:
    monkeypatch.setattr(few_bits, "product", wrong)
    found = gpu_kernels.timed(LAYERS, Format(4, 128), 1, "cpu", rounds=2)
    assert found.apart > 0.004
    report, events = report_on("quantization")
    quantization.report_kernel(report, "int4 kernel", found, model="OPT-175B", tokens=1)
    assert metrics_of(events) == ["equality error"]


@pytest.mark.parametrize(("claim", "row", "statuses"), [
    ("frantar2023qmoe-2", ("product overhead", "paper", {}),
     {5.0: "direction agrees", 5.01: "not reproduced"}),
    ("frantar2022gptq-1", ("kernel speed", "int3 kernel", {"model": "OPT-175B"}),
     {1.6: "direction agrees", 1.59: "not reproduced"}),
    ("frantar2022gptq-2", ("kernel speed", "int3 kernel", {"model": "OPT-175B"}),
     {2.2: "direction agrees", 2.19: "not reproduced"}),
    ("lin2023awq-1", ("kernel speed", "int4 kernel", {"model": "Llama-2-7B"}),
     {1.85: "supported", 1.84: "direction agrees", 1.2: "direction agrees",
      1.19: "not reproduced"}),
])  # fmt: skip
def test_claims_are_decided_on_a_gpu_alone(claim, row, statuses) -> None:
    metric, variant, settings = row
    study = next(s for s in STUDIES.values() if claim in {a.claim for a in s.answers})
    for value, status in statuses.items():
        on_cpu = measured(study, [(metric, variant, value, {**settings, "tokens": 1})])
        assert study.judge(on_cpu)[claim].status == "not run"
        assert study.judge(on_a_gpu(on_cpu))[claim].status == status
    without = on_a_gpu(measured(study, []))
    assert study.judge(without)[claim].status == "not run"


def test_on_a_cpu_a_captured_run_is_the_run_and_copies_have_a_speed() -> None:
    def run() -> None: ...

    assert rounds.captured(run, "cpu") is run
    assert rounds.copied_bytes_a_second("cpu", size=2**16, rounds=2) > 0
