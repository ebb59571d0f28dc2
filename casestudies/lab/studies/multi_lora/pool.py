"""A pool of memory pages that holds adapters of any kind; the others wait in the host's memory.

An adapter takes as many pages as it needs, wherever they are, so none are lost between adapters of
different sizes (S-LoRA's unified paging, Sheng et al., 2023, which keeps caches there too).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.measure.tensors import NoRoom
from casestudies.lab.studies.multi_lora.adapters import Adapter

PAGE = 256  # numbers


def pages_of(adapter: Adapter) -> int:
    """Return how many pages the adapter takes."""
    return -(-len(adapter.numbers) // PAGE)


class Pool:
    """So many pages, and where in them the adapters of which tasks are.

    Who was asked for longest ago makes room for who is asked for now. `moved_bytes` are those of
    all numbers that were brought in.
    """

    def __init__(self, adapters: Sequence[Adapter], pages: int, device: str) -> None:
        self.adapters = adapters  # by task
        self.memory = torch.empty(pages, PAGE, device=device)
        self.moved_bytes = 0
        self._free = list(range(pages))
        self._pages: dict[int, Tensor] = {}  # by task, who was asked for longest ago first

    @classmethod
    def with_room_for(cls, count: int, adapters: Sequence[Adapter], device: str) -> "Pool":
        """Return a pool that can hold so many of the adapters, whichever they are."""
        return cls(adapters, count * max(map(pages_of, adapters)), device)

    def hold(self, tasks: Sequence[int]) -> None:
        """Bring in the adapters of these tasks; raise NoRoom if they do not fit together."""
        wanted = dict.fromkeys(tasks)
        for task in wanted:
            if task in self._pages:
                self._pages[task] = self._pages.pop(task)
        for task in wanted:
            if task not in self._pages:
                self._bring(task, wanted)

    def gathered(self, tasks: Sequence[int]) -> Tensor:
        """Return the numbers of adapters that are held, all of one kind: a copy (R, numbers)."""
        pages = torch.cat([self._pages[task] for task in tasks])
        return self.memory.index_select(0, pages).view(len(tasks), -1)

    def tables(self, tasks: Sequence[int]) -> Tensor:
        """Return the pages of adapters that are held, all of one size (R, pages; int32)."""
        return torch.stack([self._pages[task] for task in tasks]).to(torch.int32)

    def _bring(self, task: int, wanted: dict[int, None]) -> None:
        numbers, needed = self.adapters[task].numbers, pages_of(self.adapters[task])
        while len(self._free) < needed:
            self._let_one_go(wanted)
        pages = torch.tensor([self._free.pop() for _ in range(needed)])
        pages = pages.to(self.memory.device)
        padded = F.pad(numbers, (0, needed * PAGE - len(numbers)))
        self.memory[pages] = padded.view(needed, PAGE).to(self.memory.device)
        self._pages[task] = pages
        self.moved_bytes += numbers.nbytes

    def _let_one_go(self, wanted: dict[int, None]) -> None:
        oldest = next((task for task in self._pages if task not in wanted), None)
        if oldest is None:
            raise NoRoom(
                f"the adapters of {len(wanted)} tasks do not fit in {len(self.memory)} pages"
            )
        self._free.extend(self._pages.pop(oldest).tolist())
