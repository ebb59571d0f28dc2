"""What collectives carry, counted from the tensors that are handed to them.

Every collective of PyTorch passes its dispatcher, also those that DDP and FSDP start by themselves,
so nothing has to be wrapped and nothing is missed.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.utils._python_dispatch import TorchDispatchMode

Collective = Literal[
    "all-reduce", "all-gather", "reduce-scatter", "broadcast", "all-to-all", "send"
]
# By the dispatcher's names, of `torch.distributed` and of its functional form.
OPERATIONS: Mapping[str, Collective] = {
    "allreduce_": "all-reduce",
    "allreduce_coalesced_": "all-reduce",
    "all_reduce": "all-reduce",
    "all_reduce_": "all-reduce",
    "allgather_": "all-gather",
    "_allgather_base_": "all-gather",
    "allgather_into_tensor_coalesced_": "all-gather",
    "all_gather_into_tensor": "all-gather",
    "reduce_scatter_": "reduce-scatter",
    "_reduce_scatter_base_": "reduce-scatter",
    "reduce_scatter_tensor_coalesced_": "reduce-scatter",
    "reduce_scatter_tensor": "reduce-scatter",
    "broadcast_": "broadcast",
    "broadcast": "broadcast",
    "alltoall_": "all-to-all",
    "alltoall_base_": "all-to-all",
    "all_to_all_single": "all-to-all",
    "send": "send",
}
CARRY_NOTHING = {
    "barrier",
    "monitored_barrier_",
    "recv_",
    "recv_any_source_",
    "wait_tensor",
    "_wrap_tensor_autograd",
}
# A ring of N ranks sends (N - 1) / N of the whole tensor once to gather, scatter or pass it on, and
# twice to reduce it for all: that scatters sums and gathers them.
PASSES: Mapping[Collective, int] = {"all-reduce": 2}


class Traffic(TorchDispatchMode):
    """A context that counts the collectives which this rank starts.

    They are those of the group, or without one all, which must be of the default group. `calls` has
    their number by kind. `elements` are those of the whole tensors that were reduced, gathered,
    scattered or sent, twice where they were reduced for all: the measure in which ZeRO (section 7)
    counts volume. `bytes_sent` are what this rank sends when the ranks form a ring.
    """

    def __init__(self, group: ProcessGroup | None = None) -> None:
        super().__init__()
        self._group = group
        self.calls: Counter[Collective] = Counter()
        self.elements = 0
        self.bytes_sent = 0.0

    def __torch_dispatch__(
        self,
        function: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Carry out the operation and count it, if it is a collective.

        Raises KeyError for a collective that is not known, which nobody could count.
        """
        kind = _kind(function)
        if kind and self._group and not _is_of(self._group, function, args):
            kind = None
        if kind == "send":  # its receiver waits for nobody else
            self.count(kind, args)
        found = function(*args, **(kwargs or {}))
        if kind and kind != "send":
            self.count(kind, [*args, found])
        return found

    def count(self, kind: Collective, involved: Iterable[Any]) -> None:
        """Count a collective; of the tensors involved, the largest argument is the whole."""
        whole = max((list(_tensors(one)) for one in involved), key=_elements)
        passes, elements = PASSES.get(kind, 1), _elements(whole)
        world = dist.get_world_size(self._group)
        share = 1.0 if kind == "send" else (world - 1) / world
        self.calls[kind] += 1
        self.elements += passes * elements
        self.bytes_sent += passes * share * sum(t.nbytes for t in whole)


def _kind(function: Any) -> Collective | None:
    operation = function.overloadpacket.__name__
    if function.namespace not in ("c10d", "_c10d_functional") or operation in CARRY_NOTHING:
        return None
    return OPERATIONS[operation]


def _is_of(group: ProcessGroup, function: Any, arguments: Iterable[Any]) -> bool:
    """Return whether the collective is of the group, which its arguments hold or name."""
    for declared, given in zip(function._schema.arguments, arguments, strict=False):
        if declared.name == "process_group":
            return bool(ProcessGroup.unbox(given).group_name == group.group_name)
        if declared.name == "group_name":
            return bool(given == group.group_name)
    return False


def _tensors(given: Any) -> Iterable[Tensor]:
    if isinstance(given, Tensor):
        yield given
    elif isinstance(given, list | tuple):
        for part in given:
            yield from _tensors(part)


def _elements(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() for tensor in tensors)
