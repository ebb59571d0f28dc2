"""Memory that nothing was written to is not a number, and each kernel keeps to its own.

bfloat16 is as on a GPU.
"""

from collections.abc import Iterator

import numpy as np
import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _poisoned_memory() -> Iterator[None]:
    """Fill what `torch.empty` and its like return with NaN, or the largest integer."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(autouse=True, scope="module")
def _memory_ends() -> Iterator[None]:
    """Let a kernel fail that reads or writes outside of the tensors which it was given.

    What lies there is no part of what it computes, mostly, so that no number would tell.
    """
    from triton.runtime.interpreter import GridExecutor, InterpreterBuilder

    given, load, store = (
        GridExecutor._init_args_hst,
        InterpreterBuilder.create_masked_load,
        InterpreterBuilder.create_masked_store,
    )
    spans: list[tuple[int, int]] = []  # of each tensor its first and its last number's address

    def noting(self, args, named):
        found = given(self, args, named)
        tensors = [part for part in found[0] if isinstance(part, torch.Tensor) and part.numel()]
        spans[:] = [
            (t.data_ptr(), t[(-1,) * t.dim()].data_ptr()) for t in map(torch.Tensor.detach, tensors)
        ]
        return found

    def check(places, mask) -> None:
        at = places.data[np.broadcast_to(mask.data, places.data.shape).astype(bool)]
        inside = [(first <= at) & (at <= last) for first, last in spans]
        if at.size and not np.any(inside, axis=0).all():
            raise IndexError("it is outside of all tensors that the kernel was given")

    def load_inside(self, places, mask, *others):
        check(places, mask)
        return load(self, places, mask, *others)

    def store_inside(self, places, value, mask, *others):
        check(places, mask)
        return store(self, places, value, mask, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GridExecutor, "_init_args_hst", noting)
        patch.setattr(InterpreterBuilder, "create_masked_load", load_inside)
        patch.setattr(InterpreterBuilder, "create_masked_store", store_inside)
        yield


@pytest.fixture(autouse=True, scope="module")
def _bfloat16() -> Iterator[None]:
    """Let the interpreter round to the nearest bfloat16, and multiply numbers.

    It cuts off digits, and its `tl.dot` takes the bits for whole numbers (triton issue 11584).
    """
    from triton import language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    cast, dot = InterpreterBuilder.cast_impl, InterpreterBuilder.create_dot

    def cast_to_nearest(self, source, dtype):
        if (source.dtype.scalar, dtype.scalar) != (tl.float32, tl.bfloat16):
            return cast(self, source, dtype)
        found = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16()
        return TensorHandle(found.view(torch.uint16).numpy(), tl.bfloat16)

    def dot_of_numbers(self, a, b, *others):
        if a.dtype.scalar == tl.bfloat16:
            a, b = (cast(self, factor, tl.float32) for factor in (a, b))
        return dot(self, a, b, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InterpreterBuilder, "cast_impl", cast_to_nearest)
        patch.setattr(InterpreterBuilder, "create_fp_trunc", cast_to_nearest)
        patch.setattr(InterpreterBuilder, "create_dot", dot_of_numbers)
        yield
