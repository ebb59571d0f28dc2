"""Attention of a new token of each of many texts, over blocks gathered first or read in place.

One layer of the shape of Llama's 8B model in bfloat16; lengths have a heavy tail, as the study's.
On a GPU launches are recorded once and repeated, so that neither way waits for Python.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from casestudies.lab.measure.equality import relative
from casestudies.lab.measure.rounds import alternately, captured
from casestudies.lab.models import paged
from casestudies.lab.models.shapes import SHAPES
from casestudies.lab.serving.arrivals import lengths
from casestudies.lab.studies.paged_kv_cache.about import IN_PLACE
from casestudies.lab.studies.paged_kv_cache.claims import PAGED

MODEL, TEXTS, SHORTEST, LONGEST = "llama-8b", 64, 128, 4096
WRONG = 0.02  # this far from float64, as a share of the largest, no bfloat16 rounding is
# Returns (R, H, D), as `models.paged.attend` has it.
Attention = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


def drawn(texts: int, generator: torch.Generator) -> list[int]:
    """Return the tokens of each text."""
    return lengths(texts, SHORTEST, LONGEST, "heavy tail", generator)


@torch.inference_mode()
def compared(
    in_place: Attention,
    tokens: Sequence[int],
    size: int,
    rounds: int,
    device: str,
) -> dict[str, tuple[float, list[float]]]:
    """Return by variant how far each way is from float64, and the seconds that it takes by round.

    Texts of so many tokens lie in blocks of `size`, in any order. What is wrong takes none.
    """
    config, most = SHAPES[MODEL], -(-max(tokens) // size)
    shared, width = config.key_value_heads, config.width // config.heads
    generator = torch.Generator(device).manual_seed(0)
    draw = partial(torch.randn, generator=generator, device=device, dtype=torch.bfloat16)
    query = draw(len(tokens), config.heads, width)
    places = draw(len(tokens) * most * size, 2, shared, width)
    order = torch.randperm(len(tokens) * most, generator=generator, device=device)
    tables = order.view(len(tokens), most).to(torch.int32)
    held = torch.tensor(tokens, dtype=torch.int32)
    texts = zip(query, tables, held, strict=True)
    exact = torch.cat([_exactly(*text, places, size) for text in texts])
    runs = {
        # Its shapes hang on lengths, which it would wait for were they on the device.
        PAGED: partial(paged.attend, query, places, tables, held, size),
        IN_PLACE: partial(in_place, query, places, tables, held.to(device), size),
    }
    apart = {name: relative(run(), exact) for name, run in runs.items()}
    right = {name: captured(run, device) for name, run in runs.items() if apart[name] <= WRONG}
    taken = alternately(right, rounds, device, again=True)
    return {name: (apart[name], taken.get(name, [])) for name in runs}


def _exactly(query: Tensor, table: Tensor, length: Tensor, places: Tensor, size: int) -> Tensor:
    """Return attention of one text in float64, for which all places would be too many."""
    own = places.unflatten(0, (-1, size))[table.long()].flatten(0, 1).double()
    order = torch.arange(len(table), device=table.device)
    return paged.attend(query[None].double(), own, order[None], length[None], size).cpu()


def share_of_copying(tokens: Sequence[int], seconds: float, device: str) -> float:
    """Return the time in which the device copies what must be moved, as a share of the seconds."""
    from casestudies.lab.kernels.paged_attention import floor

    config = SHAPES[MODEL]
    width = config.width // config.heads
    least = floor(list(tokens), config.heads, config.key_value_heads, width)
    return least.share_of_copying(seconds, device)
