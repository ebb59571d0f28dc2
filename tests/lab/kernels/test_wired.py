"""What studies measure of kernels on a GPU, under the interpreter."""

import torch
from torch import nn

from casestudies.lab.kernels import paged_attention
from casestudies.lab.models import paged
from casestudies.lab.studies.multi_lora.adapters import LowRank
from casestudies.lab.studies.multi_lora.claims import FROM_PAGES, SWITCH
from casestudies.lab.studies.multi_lora.timing import layer_runs
from casestudies.lab.studies.paged_kv_cache import in_place


def test_attention_over_blocks_is_held_against_float64_and_timed() -> None:
    tokens = in_place.drawn(torch.Generator().manual_seed(0))
    assert in_place.SHORTEST <= min(tokens) < max(tokens) <= in_place.LONGEST
    ways = {"gathered": paged.attend, "in place": paged_attention.attend}
    found = in_place.compared(ways, [20, 5], 16, 2, "cpu")
    for apart, taken in found.values():
        assert apart < 0.01
        assert len(taken) == 2


def test_adapters_read_from_pages_are_those_that_are_merged() -> None:
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(300, 70, bias=False).requires_grad_(False)
    x = torch.randn(5, 300, generator=generator)
    runs = layer_runs(layer, x, LowRank(3), generator, from_pages=True)
    torch.testing.assert_close(runs[FROM_PAGES](), runs[SWITCH](), rtol=1e-4, atol=1e-5)
