"""One linear layer for a token of each of several tasks, in the three ways to apply adapters."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from casestudies.lab.studies.multi_lora.adapters import Kind, Size, by_layer, drawn
from casestudies.lab.studies.multi_lora.claims import GATHERED, LOOP, SWITCH
from casestudies.lab.studies.multi_lora.pool import Pool


def layer_runs(
    layer: nn.Linear, x: Tensor, kind: Kind, generator: torch.Generator
) -> dict[str, Callable[[], Tensor]]:
    """Return what computes the layer's outputs (R, d) for x (R, k), each row with its own adapter.

    What is gathered or merged is so each time.
    """
    sizes, tasks = [Size(*layer.weight.shape)], range(len(x))
    adapters = [drawn(kind, sizes, generator) for _ in tasks]
    pool = Pool.with_room_for(len(x), adapters, x.device.type)
    pool.hold(tasks)
    parts = [by_layer(kind, sizes, pool.gathered([task]))[0] for task in tasks]
    working = copy.deepcopy(layer)

    @torch.inference_mode()
    def gathered() -> Tensor:
        y = layer(x)
        kind.add(y[:, None], x[:, None], by_layer(kind, sizes, pool.gathered(tasks))[0])
        return y

    @torch.inference_mode()
    def one_by_one() -> Tensor:
        y = layer(x)
        for own_y, own_x, own in zip(y[:, None, None], x[:, None, None], parts, strict=True):
            kind.add(own_y, own_x, own)
        return y

    @torch.no_grad()
    def switched() -> Tensor:
        found = []
        for own_x, own in zip(x, parts, strict=True):
            kind.merge(layer.weight, tuple(part[0] for part in own), working.weight)
            found.append(working(own_x))
        return torch.stack(found)

    return {SWITCH: switched, LOOP: one_by_one, GATHERED: gathered}
