"""What studies launch in types and sizes that no equality has: to be compiled, and not computed."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import torch
from torch import nn

from casestudies.lab.kernels import attention, columns
from casestudies.lab.kernels.paged_attention import attend
from casestudies.lab.quantize.grid import Grid
from casestudies.lab.studies.multi_lora.adapters import LowRank
from casestudies.lab.studies.multi_lora.claims import FROM_PAGES
from casestudies.lab.studies.multi_lora.timing import layer_runs
from casestudies.lab.studies.paged_kv_cache import in_place
from casestudies.lab.studies.qmoe import expert_products
from casestudies.lab.studies.quantization import gpu_kernels

WIDTHS = (64, 128, 256)  # of a head: one for each tiling
RANKS = (2, 64)  # that of the presets, and the most that a reader may ask for
COLUMNS, ROWS = 128, 576


def launches() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what each launch is and the launch."""
    one = expert_products.experts(0, expert_products.SMALL[:1])
    for code, tokens in product(expert_products.CODES, expert_products.TOKENS):
        yield f"{code}, {tokens} tokens", partial(expert_products.timed, one, code, tokens, "cpu")
    layer = {(512, 384): 1}
    for (name, form), tokens in product(gpu_kernels.FORMS.items(), gpu_kernels.TOKENS):
        said = f"{name}, {tokens} tokens"
        yield said, partial(gpu_kernels.timed, layer, form, tokens, "cpu", 1)
    for width in WIDTHS:
        said = f"attention, heads {width} wide, float32"
        yield said, partial(attention.attend, *torch.empty(3, 1, 4, 512, width))
    q, k, v = torch.empty(3, 1, 4, 512, 64, dtype=torch.bfloat16)
    yield "attention, heads 64 wide, bfloat16", partial(attention.attend, q, k, v)
    yield "blocks read in place", partial(in_place.compared, attend, [200, 100], 16, 1, "cpu")
    for rank in RANKS:
        yield f"adapters of rank {rank}", partial(from_pages, rank)
    # Of groups what is rounded holds more: 2:4 is an equality, and 4:8 takes the longest.
    for group, rounded in ((None, False), (None, True), (8, True)):
        said = f"columns, groups: {group}, rounded: {rounded}"
        yield said, partial(pruned, group, rounded=rounded)


def from_pages(rank: int) -> None:
    """Launch what a layer with adapters of this rank does."""
    layer, x = nn.Linear(128, 256, bias=False), torch.empty(16, 128)
    runs = layer_runs(layer, x, LowRank(rank), torch.Generator(), from_pages=True)
    runs[FROM_PAGES]()


def pruned(group: int | None, *, rounded: bool) -> None:
    """Launch what a block of columns does that is pruned by a mask, or by groups."""
    w, keep = torch.empty(2, COLUMNS, ROWS)
    grid = Grid(torch.empty(ROWS), torch.empty(ROWS), 15) if rounded else None
    if group:
        columns.prune(w, torch.eye(COLUMNS), None, group // 2, group, grid)
    else:
        columns.prune(w, torch.eye(COLUMNS), keep, 0, 1, grid)
