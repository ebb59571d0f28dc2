"""What a rank holds of weights, gradients and optimizer state, read from the tensors themselves."""

from collections.abc import Iterable

from torch import Tensor

PARTS = ("weights", "gradients", "optimizer state")


class Held:
    """The most bytes of each part, and of all parts at one time, of all times it was asked to look.

    Memory that several tensors share counts once.
    """

    def __init__(self) -> None:
        self.most = 0
        self.parts = dict.fromkeys(PARTS, 0)

    def look(
        self, weights: Iterable[Tensor], gradients: Iterable[Tensor], optimizer: Iterable[Tensor]
    ) -> None:
        """Count what is held now."""
        now = dict(zip(PARTS, map(_bytes, (weights, gradients, optimizer)), strict=True))
        self.most = max(self.most, sum(now.values()))
        self.parts = {part: max(held, now[part]) for part, held in self.parts.items()}


def _bytes(tensors: Iterable[Tensor]) -> int:
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())
