"""The keys and values of tokens that a model has read, so that none is computed twice.

Shapes in comments: L layers, B sequences, K key-value heads, T tokens, D head width.
"""

import copy
from typing import Self

import torch
from torch import Tensor

from casestudies.lab.models.language_model import Config


class KeyValueCache:
    """Room for so many tokens of each sequence, in one piece of memory (2, L, B, K, T, D)."""

    def __init__(
        self,
        config: Config,
        sequences: int,
        capacity: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        head_width = config.width // config.heads
        shape = (2, config.layers, sequences, config.key_value_heads, capacity, head_width)
        self._held = torch.empty(shape, device=device, dtype=dtype)
        self.capacity = capacity
        self.length = 0  # tokens that every layer holds

    @property
    def bytes(self) -> int:
        """Return the bytes that the tokens held so far take."""
        return self.held.nbytes

    @property
    def held(self) -> Tensor:
        """Return the keys and values of the tokens held so far (2, L, B, K, T, D)."""
        return self._held[..., : self.length, :]

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Keep a layer's new keys and values (B, K, new, D) and return all of it (B, K, T, D).

        Raises ValueError if there is no room for them, or if they are of more or fewer sequences.
        """
        if len(key) != (sequences := self._held.shape[2]):  # one would be taken for all of them
            raise ValueError(f"the cache is of {sequences} sequences, not {len(key)}")
        end = self.length + key.shape[-2]
        if end > self.capacity:
            raise ValueError(f"the cache has room for {self.capacity} tokens, not {end}")
        keys, values = self._held[:, layer, ..., :end, :].unbind()
        keys[..., self.length :, :], values[..., self.length :, :] = key, value
        return keys, values

    def advance(self, tokens: int) -> None:
        """Count the tokens that every layer has been extended by."""
        self.length += tokens

    def resized(self, capacity: int, device: str) -> Self:
        """Return a copy on a device, with room for so many tokens, no fewer than it holds."""
        found = copy.copy(self)
        shape = (*self._held.shape[:-2], capacity, self._held.shape[-1])
        found._held = torch.empty(shape, device=device, dtype=self._held.dtype)
        found._held[..., : self.length, :] = self._held[..., : self.length, :]
        found.capacity = capacity
        return found

    def rewind(self, length: int) -> None:
        """Forget the tokens after the first `length`. Raises ValueError if it holds fewer."""
        if not 0 <= length <= self.length:
            raise ValueError(f"the cache holds {self.length} tokens, not {length}")
        self.length = length

    def keep(self, first: int, chosen: list[int]) -> None:
        """Forget the tokens from `first` on but the chosen ones, which then follow each other.

        They are numbered from `first`; raises ValueError if it does not hold them.
        """
        if chosen and not 0 <= min(chosen) <= max(chosen) < self.length - first:
            raise ValueError(f"the cache holds {self.length - first} tokens from {first} on")
        end = first + len(chosen)
        # Indexing by a list copies, so what is read is not overwritten meanwhile.
        self._held[..., first:end, :] = self._held[..., [first + one for one in chosen], :]
        self.length = end
