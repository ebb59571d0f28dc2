"""Bytes that autograd keeps from a forward pass for the backward one."""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from torch import Tensor, UntypedStorage
from torch.autograd.graph import saved_tensors_hooks

from casestudies.lab.measure.tensors import Held


class SavedBytes(Held):
    """Counts the bytes that autograd keeps, each storage once, now and at most.

    The count falls as soon as a tensor is let go, so it says what was held and not what should be.
    What a checkpointed part keeps while it is computed again is not seen.
    """

    def __init__(self) -> None:
        super().__init__()
        self._weights: set[int] = set()

    def leave_out(self, weights: Iterable[Tensor]) -> None:
        """Count none of these, such as weights, which are there without any backward."""
        self._weights |= {_storage(weight).data_ptr() for weight in weights}

    def counting(self) -> AbstractContextManager[None]:
        """Return a context in which what is saved is counted."""
        return saved_tensors_hooks(self._pack, lambda kept: kept.tensor)

    def _pack(self, tensor: Tensor) -> "_Kept":
        storage, kept = _storage(tensor), _Kept(tensor)
        if storage.data_ptr() not in self._weights:
            self.hold(storage.data_ptr(), storage.nbytes(), kept)
        return kept


@dataclass(eq=False)
class _Kept:
    """A tensor that autograd keeps."""

    tensor: Tensor


def _storage(tensor: Tensor) -> UntypedStorage:
    """Return where a tensor lies, or a distributed one's part on this rank."""
    to_local = getattr(tensor, "to_local", None)  # without loading all of DTensor
    local: Tensor = to_local() if to_local else tensor
    return local.untyped_storage()
