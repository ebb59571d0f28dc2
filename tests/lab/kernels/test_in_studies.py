"""What studies make of kernels, on tiny shapes: equality first, times only of what is right."""

import pytest
import torch
from torch import nn

from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import Setup
from casestudies.lab.kernels import (
    attempting,
    attention,
    code_words,
    few_bits,
    floor,
    reordered,
)
from casestudies.lab.kernels.paged_attention import attend
from casestudies.lab.measure import rounds
from casestudies.lab.models import paged
from casestudies.lab.quantize.quantized import Format
from casestudies.lab.report import Report
from casestudies.lab.result import Log, MeasuredEvent
from casestudies.lab.studies.fused_attention import in_bfloat16
from casestudies.lab.studies.fused_attention.about import ONE_KERNEL, FusedAttentionParameters
from casestudies.lab.studies.fused_attention.study import AttentionBench
from casestudies.lab.studies.multi_lora.adapters import LowRank
from casestudies.lab.studies.multi_lora.claims import FROM_PAGES, SWITCH
from casestudies.lab.studies.multi_lora.timing import layer_runs
from casestudies.lab.studies.paged_kv_cache import in_place
from casestudies.lab.studies.paged_kv_cache import study as paged_kv_cache
from casestudies.lab.studies.paged_kv_cache.about import IN_PLACE
from casestudies.lab.studies.paged_kv_cache.claims import PAGED
from casestudies.lab.studies.qmoe import expert_products
from casestudies.lab.studies.qmoe import study as qmoe
from casestudies.lab.studies.quantization import gpu_kernels
from casestudies.lab.studies.quantization import study as quantization
from casestudies.lab.studies.quantization.about import QuantizationParameters
from casestudies.lab.studies.quantization.claims import GATHERED, LOOKED_UP
from casestudies.lab.studies.quantization.on_gpu import reordering
from tests.lab.declared import measured, on_a_gpu

LAYERS = {(8, 256): 3, (5, 128): 1}


def report_on(slug: str) -> tuple[Report, list]:
    events: list = []
    return Report(STUDIES[slug], events.append), events


def metrics_of(events) -> list[str]:
    return [event.metric for event in events if isinstance(event, MeasuredEvent)]


@pytest.fixture(autouse=True)
def _little_work(monkeypatch) -> None:
    """Take few matrices, and made-up speeds of the device, for measuring them takes seconds."""
    monkeypatch.setattr(expert_products, "COPIES", 2)
    monkeypatch.setattr(expert_products, "ROUNDS", 3)
    monkeypatch.setattr(rounds, "BEYOND_CACHES", 3000)
    monkeypatch.setattr(floor, "copied_bytes_a_second", lambda device: 1e9)
    monkeypatch.setattr(floor, "bfloat16_operations_a_second", lambda device: 1e9)


def wrong(x: torch.Tensor, weights) -> torch.Tensor:
    return few_bits.reference(x.float(), weights) * 1.01


def not_a_number(x: torch.Tensor, weights) -> torch.Tensor:
    return few_bits.reference(x.float(), weights) * torch.nan


@pytest.mark.parametrize("code", ["paper", "tunstall-8"])
def test_experts_in_code_are_held_against_decoded_ones_and_then_timed(code) -> None:
    matrices = expert_products.experts(0, ((3, 300), (2, 200)))
    found = expert_products.timed(matrices, code, 1, "cpu")
    assert len(found.overheads) == expert_products.ROUNDS
    assert found.of_copying > 0
    report, events = report_on("qmoe")
    qmoe.report_overhead(report, code, 1, found)
    assert metrics_of(events) == ["equality error", "product overhead", "share of copying"]
    assert events[-1].value == 100 * found.of_copying


def test_wrong_products_of_experts_are_told_and_not_timed(monkeypatch) -> None:
    monkeypatch.setattr(code_words, "product", wrong)
    matrices = expert_products.experts(0, ((3, 300),))
    found = expert_products.timed(matrices, "tunstall-8", 1, "cpu")
    assert found.apart > 0.004
    report, events = report_on("qmoe")
    qmoe.report_overhead(report, "tunstall-8", 1, found)
    assert metrics_of(events) == ["equality error"]


@pytest.mark.parametrize("variant", ["int8 kernel", "int3 kernel"])
def test_packed_weights_are_held_against_unpacked_ones_and_then_timed(variant) -> None:
    form = gpu_kernels.FORMS[variant]
    found = gpu_kernels.timed(LAYERS, form, 1, "cpu", rounds=2)
    assert len(found.speeds) == 2
    assert found.of_copying > 0
    report, events = report_on("quantization")
    quantization.report_kernel(report, variant, found, model="OPT-175B", tokens=1)
    assert metrics_of(events) == ["equality error", "kernel speed", "share of copying"]


def test_wrong_products_of_packed_weights_are_told_and_not_timed(monkeypatch) -> None:
    monkeypatch.setattr(few_bits, "product", not_a_number)
    assert not gpu_kernels.timed(LAYERS, Format(4, 128), 1, "cpu", rounds=2).speeds
    monkeypatch.setattr(few_bits, "product", wrong)
    found = gpu_kernels.timed(LAYERS, Format(4, 128), 1, "cpu", rounds=2)
    assert found.apart > 0.004
    report, events = report_on("quantization")
    quantization.report_kernel(report, "int4 kernel", found, model="OPT-175B", tokens=1)
    assert metrics_of(events) == ["equality error"]


def as_on_a_gpu(monkeypatch, module) -> Setup:
    """Let a study's part on the GPU run where there is none, under the interpreter."""
    monkeypatch.setattr(module, "why_not", lambda device: "")
    return Setup(device="cpu", seed=0)


@pytest.mark.parametrize("right", [True, False])
def test_reordered_columns_are_held_against_float64_and_then_timed(right, monkeypatch) -> None:
    if not right:
        multiply = reordered.product
        monkeypatch.setattr(
            reordered, "product", lambda x, weights, groups: multiply(x, weights, groups.flip(0))
        )
    monkeypatch.setattr(reordering, "SMALL", {"small layers": LAYERS})
    setup = as_on_a_gpu(monkeypatch, reordering)
    report, events = report_on("quantization")
    reordering.report_reordering(QuantizationParameters(blocks=1, rounds=2), setup, report)
    assert metrics_of(events) == ["equality error", *(["reordering cost"] * 2 if right else [])]
    if right:
        assert [event.variant for event in events[1:]] == [LOOKED_UP, GATHERED]
        assert all(event.value > 0 and event.n == 2 for event in events[1:])


def test_the_cost_of_reordering_is_the_mean_of_how_much_longer_it_takes(monkeypatch) -> None:
    """A block has three layers that take 4 times as long, and one that takes twice as long."""
    taken = {
        shape: {"int4 kernel": [1.0, 2.0], LOOKED_UP: [factor, 2 * factor], GATHERED: [1.0, 2.0]}
        for shape, factor in zip(LAYERS, (4.0, 2.0), strict=True)
    }
    each = iter(taken.values())
    monkeypatch.setattr(reordering, "alternately", lambda *given: next(each))
    found = reordering.timed(LAYERS, "cpu", rounds=2)
    assert found.costs == {LOOKED_UP: [3.5, 3.5], GATHERED: [1.0, 1.0]}


def test_attention_over_blocks_is_held_against_float64_and_timed() -> None:
    tokens = in_place.drawn(9, torch.Generator().manual_seed(0))
    assert len(tokens) == 9
    assert in_place.SHORTEST <= min(tokens) < max(tokens) <= in_place.LONGEST
    found = in_place.compared(attend, [20, 5], 16, 2, "cpu")
    assert found.keys() == {PAGED, IN_PLACE}
    for apart, taken in found.values():
        assert apart < 0.01
        assert len(taken) == 2
    report, events = report_on("paged-kv-cache")
    paged_kv_cache.report_attention(found, [20, 5], "cpu", report)
    assert metrics_of(events) == 2 * ["equality error", "attention time", "share of copying"]

    def wrong(*given) -> torch.Tensor:
        return 1.1 * paged.attend(*given)

    found = in_place.compared(wrong, [20, 5], 16, 2, "cpu")
    assert found[IN_PLACE][0] > in_place.WRONG
    report, events = report_on("paged-kv-cache")
    paged_kv_cache.report_attention({IN_PLACE: found[IN_PLACE]}, [20, 5], "cpu", report)
    assert metrics_of(events) == ["equality error"]


def test_bytes_that_must_be_moved_are_held_against_copying() -> None:
    moved = 2 * 2 * 128 * (8 * 30 + 32 * 2)
    assert in_place.share_of_copying([20, 10], 1e-3, "cpu") == pytest.approx(moved / 1e6)


@pytest.mark.parametrize("factor", [1, 1.01])
def test_attention_in_one_kernel_is_measured_if_it_is_right(factor) -> None:
    report, events = report_on("fused-attention")
    parameters, setup = FusedAttentionParameters(heads=1), Setup(device="cpu", seed=0)
    bench = AttentionBench(parameters, setup, report, {})
    bench.take(ONE_KERNEL, lambda q, k, v: factor * attention.attend(q, k, v))
    assert metrics_of(events) == ["equality error"]
    assert (ONE_KERNEL in bench.ways) == (factor == 1)


@pytest.mark.parametrize("factor", [1, 1.1])
def test_attention_in_bfloat16_is_held_against_float64_and_then_timed(factor, monkeypatch) -> None:
    monkeypatch.setattr(in_bfloat16, "TOKENS", 512)
    monkeypatch.setattr(in_bfloat16, "CALLS", 2)
    attend = attention.attend
    monkeypatch.setattr(attention, "attend", lambda *given: factor * attend(*given))
    report, events = report_on("fused-attention")
    parameters = FusedAttentionParameters(heads=1, head_width=16, longest=256, rounds=2)
    in_bfloat16.measure(parameters, Setup(device="cpu", seed=0), report)
    rows = {(e.metric, e.variant): e for e in events if isinstance(e, MeasuredEvent)}
    assert all(row.settings["precision"] == "bfloat16" for row in rows.values())
    ways = ("definition", "stock", ONE_KERNEL)
    right = ways if factor == 1 else ways[:2]
    assert {v for m, v in rows if m == "equality error"} == set(ways)
    assert (rows["equality error", ONE_KERNEL].value < 0.008) == (factor == 1)
    assert {v for m, v in rows if m == "speed-up"} == set(right[1:])
    # Two texts of 256 tokens: 16 numbers of queries, keys, values and outputs, each 2 bytes; and
    # the products of a query with 16 numbers of a key and a value, for each key that it sees.
    moved, computed = 2 * 256 * 16 * 4 * 2, 2 * (256 * 257 // 2) * 16 * 2 * 2
    for way in right:
        row = rows["attention time", way]
        assert row.n == 2
        assert row.settings["length"] == 256
        share = {m: rows[f"share of {m}", way].value for m in ("copying", "bfloat16 rate")}
        assert share["copying"] == pytest.approx(100 * moved / 1e9 / (row.value / 1000))
        assert share["bfloat16 rate"] == pytest.approx(100 * computed / 1e9 / (row.value / 1000))
    assert ("attention time", ONE_KERNEL) not in rows or factor == 1


def test_adapters_read_from_pages_are_those_that_are_merged() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(300, 70, bias=False).requires_grad_(False)
    x = torch.randn(5, 300, generator=generator)
    runs = layer_runs(layer, x, LowRank(3), generator, from_pages=True)
    torch.testing.assert_close(runs[FROM_PAGES](), runs[SWITCH](), rtol=1e-4, atol=1e-5)


def test_a_kernel_that_fails_costs_a_run_nothing_else() -> None:
    report, events = report_on("quantization")

    def fail() -> None:
        raise MemoryError("none left")

    with attempting("int3 kernel", report.log):
        fail()
    assert events == [Log(text="int3 kernel: MemoryError: none left: not run")]


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


@pytest.mark.parametrize(("cost", "status"), [
    (1.45, "supported"), (1.44, "direction agrees"), (1.1, "direction agrees"),
    (1.09, "not reproduced"),
])  # fmt: skip
def test_looking_groups_up_decides_what_reordering_costs(cost, status) -> None:
    study, claim = STUDIES["quantization"], "lin2023awq-0"
    where = {"model": "Llama-2-7B", "tokens": 1}
    on_cpu = measured(study, [
        ("reordering cost", LOOKED_UP, cost, where), ("reordering cost", GATHERED, 9.0, where),
    ])  # fmt: skip
    assert study.judge(on_cpu)[claim].reason == "needs a GPU"
    assert study.judge(on_a_gpu(on_cpu))[claim].status == status


def test_experts_smaller_than_the_publications_decide_nothing() -> None:
    study = STUDIES["qmoe"]
    rows = [("product overhead", "paper", 1.0, {"tokens": 1})]
    small = on_a_gpu(measured(study, rows, speed_size=48))
    assert "smaller" in study.judge(small)["frantar2023qmoe-2"].reason


def test_on_a_cpu_a_captured_run_is_the_run() -> None:
    def run() -> None: ...

    assert rounds.captured(run, "cpu") is run
