"""A cache in blocks, which a text takes as it grows and shares with its copies: PagedAttention.

Kwon et al., 2023. Shapes in comments: L layers, N blocks of S tokens, K key-value heads, T tokens,
D head width.
"""

import torch
from torch import Tensor

from casestudies.lab.models import attention
from casestudies.lab.models.language_model import Config


class Blocks:
    """Memory of N blocks, each for S tokens in every layer, and how many users each of them has."""

    def __init__(
        self,
        config: Config,
        count: int,
        size: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        head_width = config.width // config.heads
        shape = (config.layers, count * size, 2, config.key_value_heads, head_width)
        # What a place holds lies together: the key and the value of a token in a layer.
        self.places = torch.empty(shape, device=device, dtype=dtype)  # L, N x S, 2, K, D
        self.count, self.size = count, size
        self.copied_bytes = 0  # of blocks that were copied because they were shared
        self._users = [0] * count
        self._free = list(reversed(range(count)))

    @property
    def bytes(self) -> int:
        """Return the bytes of all blocks, used or not."""
        return self.places.nbytes

    @property
    def free(self) -> int:
        """Return how many blocks nobody uses."""
        return len(self._free)

    @property
    def used(self) -> int:
        """Return how many blocks are in use, each counted once however many share it."""
        return self.count - self.free

    def users(self, block: int) -> int:
        """Return how many use the block."""
        return self._users[block]

    def take(self) -> int:
        """Return a block that nobody used; raise MemoryError if there is none."""
        if not self._free:
            raise MemoryError(f"all {self.count} blocks are in use")
        block = self._free.pop()
        self._users[block] = 1
        return block

    def share(self, block: int) -> None:
        """Count one more user of the block."""
        self._users[block] += 1

    def give_back(self, block: int) -> None:
        """Count one user less; who gives back last makes the block free."""
        self._users[block] -= 1
        if not self._users[block]:
            self._free.append(block)

    def own(self, block: int) -> int:
        """Return a block with the same content and no other user: itself, or a copy in its place.

        This is the copy on write of section 4.4. Raises MemoryError if there is no free block.
        """
        if self._users[block] == 1:
            return block
        copy = self.take()
        each = self.places.unflatten(1, (self.count, self.size))  # L, N, S, 2, K, D
        each[:, copy] = each[:, block]
        self.copied_bytes += each[:, copy].nbytes
        self.give_back(block)
        return copy


class PagedCache:
    """The keys and values of one text, in those blocks that its table names, in their order.

    It takes the place of a `KeyValueCache` of one sequence, and takes a block when one is full.
    """

    def __init__(self, blocks: Blocks, shared: tuple[int, ...] = ()) -> None:
        """Begin with full blocks that others hold, or with none."""
        self._blocks = blocks
        self.table = list(shared)
        for block in shared:
            blocks.share(block)
        self.length = len(shared) * blocks.size  # tokens that every layer holds
        self._at = torch.empty(0, dtype=torch.long)  # T, the places of its tokens

    @property
    def bytes(self) -> int:
        """Return the bytes that the tokens held so far take."""
        return self.length * self._blocks.places[:, 0].nbytes

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's new keys and values (1, K, new, D) and return all of it (1, K, T, D).

        The first layer takes the blocks that all layers need: raises MemoryError if too few are
        free.
        """
        if layer == 0:
            self._take(self.length + key.shape[-2])
        places = self._blocks.places[layer]  # N x S, 2, K, D
        new = torch.cat((key, value)).permute(2, 0, 1, 3)  # new, 2, K, D
        places.index_copy_(0, self._at[self.length :], new)
        held = places.index_select(0, self._at).permute(1, 2, 0, 3)  # 2, K, T, D
        return held[:1], held[1:]

    def advance(self, tokens: int) -> None:
        """Count the tokens that every layer has been extended by."""
        self.length += tokens

    def fork(self) -> "PagedCache":
        """Return another that holds the same, in the same blocks: nothing is copied yet."""
        found = PagedCache(self._blocks)
        found.table = self.table[: -(-self.length // self._blocks.size)]
        for block in found.table:
            self._blocks.share(block)
        found.length = self.length
        return found

    def release(self) -> None:
        """Give all blocks back, and hold nothing."""
        for block in self.table:
            self._blocks.give_back(block)
        self.table, self.length = [], 0

    def moved_out(self) -> Tensor:
        """Return what it holds (L, T, 2, K, D) in the host's memory, and give all blocks back."""
        self._take(self.length)
        held = self._blocks.places[:, self._at].cpu()
        self.release()
        return held

    def moved_in(self, held: Tensor) -> None:
        """Take blocks for what was moved out, and hold it; raise MemoryError if too few are free.

        It must be empty.
        """
        self._take(held.shape[1])
        self._blocks.places[:, self._at] = held.to(self._blocks.places.device)
        self.length = held.shape[1]

    def reserve(self, end: int) -> None:
        """Take blocks for the tokens up to `end`; raise MemoryError if too few are free."""
        while len(self.table) * self._blocks.size < end:
            self.table.append(self._blocks.take())

    def _take(self, end: int) -> None:
        """Have blocks of its own to write the tokens up to `end`, and know their places."""
        size, table = self._blocks.size, self.table
        writes = self.length // size
        if end > self.length and writes < len(table):
            table[writes] = self._blocks.own(table[writes])
        self.reserve(end)
        device = self._blocks.places.device
        at = torch.arange(end, device=device)
        self._at = (
            torch.tensor(table, dtype=torch.long, device=device)[at // size] * size + at % size
        )


def attend(query: Tensor, places: Tensor, tables: Tensor, lengths: Tensor, size: int) -> Tensor:
    """Return what attention mixes (R, H, D) for the last token of R texts, each gathered first.

    Queries are (R, H, D), a layer's places (N x S, 2, K, D). Text r's token t lies in place t % S
    of block tables[r, t // S], for all t below lengths[r]; `size` is S.
    """
    found = []
    for q, table, length in zip(query, tables, lengths.tolist(), strict=True):
        at = torch.arange(length, device=query.device)
        held = places.index_select(0, table.long()[at // size] * size + at % size)
        key, value = held.permute(1, 2, 0, 3)[:, None]  # 1, K, T, D
        found.append(attention.stock(q[None, :, None], key, value)[0, :, 0])
    return torch.stack(found)
