"""What studies measure of kernels on a GPU, under the interpreter."""

import pytest
import torch
from torch import nn

from casestudies.lab.contract import Setup
from casestudies.lab.kernels import attention, paged_attention
from casestudies.lab.models import paged
from casestudies.lab.report import Report
from casestudies.lab.studies.fused_attention import about as fused_attention
from casestudies.lab.studies.fused_attention.study import WRONG, AttentionBench
from casestudies.lab.studies.multi_lora.adapters import LowRank
from casestudies.lab.studies.multi_lora.claims import FROM_PAGES, SWITCH
from casestudies.lab.studies.multi_lora.timing import layer_runs
from casestudies.lab.studies.paged_kv_cache import in_place


def test_attention_over_blocks_is_held_against_float64_and_timed() -> None:
    tokens = in_place.drawn(torch.Generator().manual_seed(0))
    assert in_place.SHORTEST <= min(tokens) < max(tokens) <= in_place.LONGEST

    def wrong(*given) -> torch.Tensor:
        return 1.1 * paged.attend(*given)

    ways = {"gathered": paged.attend, "in place": paged_attention.attend, "wrong": wrong}
    found = in_place.compared(ways, [20, 5], 16, 2, "cpu")
    assert found.pop("wrong")[1] == []
    for apart, taken in found.values():
        assert apart < 0.01
        assert len(taken) == 2


def test_bytes_that_must_be_moved_are_held_against_copying(monkeypatch) -> None:
    monkeypatch.setattr(in_place, "copied_bytes_a_second", lambda device: 1e9)
    moved = 2 * 2 * 128 * (8 * 30 + 32 * 2)
    assert in_place.share_of_copying([20, 10], 1e-3, "cpu") == pytest.approx(moved / 1e6)


def test_attention_in_one_kernel_is_held_against_float64_first() -> None:
    events: list = []
    report = Report(fused_attention.STUDY, events.append)
    parameters = fused_attention.FusedAttentionParameters(heads=1)
    ways = {fused_attention.ONE_KERNEL: attention.attend}
    found = AttentionBench(parameters, Setup(device="cpu", seed=0), report, ways).compare()
    assert 0 < found[fused_attention.ONE_KERNEL] < WRONG
    assert [event.metric for event in events] == ["equality error"]


def test_adapters_read_from_pages_are_those_that_are_merged() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(300, 70, bias=False).requires_grad_(False)
    x = torch.randn(5, 300, generator=generator)
    runs = layer_runs(layer, x, LowRank(3), generator, from_pages=True)
    torch.testing.assert_close(runs[FROM_PAGES](), runs[SWITCH](), rtol=1e-4, atol=1e-5)
