"""What is timed apart from serving: one layer, and one pass that adds a token to each text."""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from casestudies.lab.models.cache import KeyValueCache
from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.serving.selective import Piece, read
from casestudies.lab.studies.multi_lora.adapters import Adapter, LowRank, Size, by_layer, drawn
from casestudies.lab.studies.multi_lora.claims import BACKBONE, FROM_PAGES, GATHERED, LOOP, SWITCH
from casestudies.lab.studies.multi_lora.gathered import ManyTasks, Segment
from casestudies.lab.studies.multi_lora.pool import Pool


def layer_runs(
    layer: nn.Linear,
    x: Tensor,
    kind: LowRank,
    generator: torch.Generator,
    *,
    from_pages: bool = False,
) -> dict[str, Callable[[], Tensor]]:
    """Return what computes the layer's outputs (R, d) for x (R, k), each row with its own adapter.

    What is gathered or merged is so each time, one by one as well, and so are tables of pages: with
    `from_pages` a kernel reads adapters where they lie.
    """
    sizes, tasks = [Size(*layer.weight.shape)], range(len(x))
    adapters = [drawn(kind, sizes, generator) for _ in tasks]
    pool = Pool.with_room_for(len(x), adapters, x.device.type)
    pool.hold(tasks)
    numbers = [adapter.numbers.to(x.device) for adapter in adapters]
    working = copy.deepcopy(layer)

    @torch.inference_mode()
    def gathered() -> Tensor:
        y = layer(x)
        kind.add(y[:, None], x[:, None], by_layer(kind, sizes, pool.gathered(tasks))[0])
        return y

    @torch.inference_mode()
    def one_by_one() -> Tensor:
        y = layer(x)
        for task in tasks:
            own = slice(task, task + 1)
            kind.add(y[own, None], x[own, None], by_layer(kind, sizes, pool.gathered([task]))[0])
        return y

    @torch.no_grad()
    def switched() -> Tensor:
        found = []
        for own_x, held in zip(x, numbers, strict=True):
            kind.merge(layer.weight, by_layer(kind, sizes, held)[0], working.weight)
            found.append(working(own_x))
        return torch.stack(found)

    runs = {SWITCH: switched, LOOP: one_by_one, GATHERED: gathered}
    if from_pages:

        @torch.inference_mode()
        def read() -> Tensor:
            from casestudies.lab.kernels import gathered_lora

            y = layer(x)
            pages = gathered_lora.Pages(pool.memory, pool.tables(tasks))
            own = gathered_lora.tiles([(task, 1) for task in tasks], x.device.type)
            gathered_lora.add(y, x, pages, own, 0, kind.rank)
            return y

        runs[FROM_PAGES] = read
    return runs


def token_runs(
    model: LanguageModel, texts: Sequence[Tensor], adapters: Sequence[Adapter]
) -> dict[str, Callable[[], object]]:
    """Return what adds a token to each of the texts (T), each with its own adapter or without.

    What is gathered once, unmeasured, is kept: these texts stay together.
    """
    device = model.embedding.weight.device.type
    caches = [KeyValueCache(model.config, 1, len(text), device) for text in texts]
    read(model, [Piece(text[:-1], cache) for text, cache in zip(texts, caches, strict=True)])
    last = [Piece(text[-1:], cache) for text, cache in zip(texts, caches, strict=True)]
    row = [Segment(task, 1) for task in range(len(texts))]

    def adding(by: LanguageModel) -> None:
        read(by, last)
        for text, cache in zip(texts, caches, strict=True):
            cache.rewind(len(text) - 1)

    def with_adapters(*, one_by_one: bool) -> Callable[[], None]:
        pool = Pool.with_room_for(len(texts), adapters, device)
        many = ManyTasks(model, pool, one_by_one=one_by_one)

        def run() -> None:
            many.turn_to(row)
            adding(many.model)

        return run

    return {
        BACKBONE: lambda: adding(model),
        LOOP: with_adapters(one_by_one=True),
        GATHERED: with_adapters(one_by_one=False),
    }
