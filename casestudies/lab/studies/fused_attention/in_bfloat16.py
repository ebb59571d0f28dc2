"""Attention in bfloat16, the type that GPUs are made for, of the longest texts.

So many at once that they have 16,384 tokens, as FlashAttention-2 was measured (Dao, 2023, arXiv
2307.08691, section 4.1). Several calls are recorded once and repeated as one, so that none waits
for Python.
"""

import statistics
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from casestudies.lab.contract import Setup
from casestudies.lab.measure.equality import relative
from casestudies.lab.measure.rounds import alternately, captured, ratios
from casestudies.lab.models import attention
from casestudies.lab.models.attention import Attention
from casestudies.lab.report import Report
from casestudies.lab.studies.fused_attention.about import (
    ODD_LENGTH,
    ONE_KERNEL,
    FusedAttentionParameters,
)

TOKENS = 16_384
CALLS = 10  # of which a time is taken
DTYPE = torch.bfloat16
IN_BFLOAT16 = {"precision": "bfloat16"}


@torch.inference_mode()
def measure(parameters: FusedAttentionParameters, setup: Setup, report: Report) -> None:
    """Report how far each way is from float64, and of what is right its time and its shares.

    The definition is the baseline, however it rounds. Raises ImportError without Triton.
    """
    from casestudies.lab.kernels.attention import ROUNDED_TWICE, attend, floor

    p, device = parameters, setup.device
    generator = torch.Generator(device).manual_seed(setup.seed)

    def drawn(texts: int, length: int) -> Tensor:
        shape = (3, texts, p.heads, length, p.head_width)
        return torch.randn(shape, generator=generator, device=device, dtype=DTYPE)

    texts = max(1, TOKENS // p.longest)
    checked, timed = drawn(1, ODD_LENGTH), drawn(texts, p.longest)
    exact = attention.naive(*checked.double())
    ways: dict[str, Attention] = {
        "definition": attention.naive,
        "stock": attention.stock,
        ONE_KERNEL: attend,
    }
    runs: dict[str, Callable[[], object]] = {}
    for variant, way in ways.items():
        apart = relative(way(*checked), exact)
        report.measure("equality error", variant, apart, **IN_BFLOAT16)
        if variant == "definition" or apart <= ROUNDED_TWICE[DTYPE]:
            runs[variant] = captured(partial(_often, way, timed), device)
        else:
            report.log(f"{variant} is wrong in bfloat16: not timed")
    taken = alternately(runs, p.rounds, device)
    settings = {**IN_BFLOAT16, "length": p.longest}
    for variant, speed in ratios(taken, to="definition").items():
        report.measure("speed-up", variant, speed, **settings)
    least = floor(texts, p.heads, p.heads, p.longest, p.longest, p.head_width)
    for variant, times in taken.items():
        each = [seconds / CALLS for seconds in times]
        report.measure_time("attention time", variant, each, **settings)
        median = statistics.median(each)
        copying = least.share_of_copying(median, device)
        multiplying = least.share_of_multiplying(median, device)
        report.measure_share("share of copying", variant, copying, **settings)
        report.measure_share("share of bfloat16 rate", variant, multiplying, **settings)


def _often(way: Attention, inputs: Tensor) -> None:
    for _ in range(CALLS):
        way(*inputs)
