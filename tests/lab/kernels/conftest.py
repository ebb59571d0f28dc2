"""Memory that nothing was written to is not a number, and bfloat16 is as on a GPU."""

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
