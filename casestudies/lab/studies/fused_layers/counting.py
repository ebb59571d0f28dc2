"""Operators that a piece of work launches, and the bytes that they read and write."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

FUSED_KERNEL = "_fused_"  # in the names that PyTorch's compiler gives
GRADIENTS = "grads"  # which a fused optimizer may write, with a loss scale only
aten: Any = torch.ops.aten
WRITES_NOTHING = {aten.empty, aten.empty_like, aten.empty_strided, aten.new_empty}
READS_NOTHING_OF_IT = {aten.copy_, aten.fill_, aten.zero_}  # of what they write


@dataclass(frozen=True)
class Count:
    """Launches, and bytes read and written; of compiled kernels `bytes` has none."""

    operators: int
    bytes: int


class _Launches(TorchDispatchMode):
    """Counts ATen operators below autograd, but for views."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = self.bytes = 0

    @classmethod
    def ignore_compile_internals(cls) -> bool:
        """Return that compiled code runs compiled; what it calls is seen, its kernels are not."""
        return True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        if func.overloadpacket in WRITES_NOTHING:
            return found
        read = {_place(one) for one in _tensors((args, kwargs))}
        written = [one for one in _tensors(found) if _place(one) not in read]
        written += _changed(func, args, kwargs)
        if written:  # else it is a view
            self.operators += 1
            only_written = [kwargs[one.name] for one in func._schema.arguments if one.is_out]
            if func.overloadpacket in READS_NOTHING_OF_IT:
                only_written.append(args[0])
            places = set(map(id, _tensors(only_written)))
            inputs = [one for one in _tensors((args, kwargs)) if id(one) not in places]
            self.bytes += sum(map(_bytes, inputs)) + sum(map(_bytes, written))
        return found


def counted(run: Callable[[], object]) -> Count:
    """Return what the call launches; a GPU's kernels too are launched, and seen, on the CPU."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled, _Launches() as launches:
        run()
    names = (event.name for event in profiled.events())
    compiled = sum(FUSED_KERNEL in name and not name.startswith("aten::") for name in names)
    return Count(launches.operators + compiled, launches.bytes)


def _place(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _bytes(tensor: Tensor) -> int:
    """Return the bytes of a tensor's numbers; along a dimension that is repeated they are one."""
    numbers = 1
    for size, stride in zip(tensor.shape, tensor.stride(), strict=True):
        numbers *= size if stride else 1
    return numbers * tensor.itemsize


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _tensors(one)


def _changed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
    """Return the arguments that the operator's schema says it writes."""
    written: list[Tensor] = []
    for place, argument in enumerate(func._schema.arguments):
        alias = argument.alias_info
        if alias and alias.is_write and argument.name != GRADIENTS:
            own = args[place] if place < len(args) else kwargs.get(argument.name)
            written += _tensors(own)
    return written
