"""PyTorch's compiler, kept within the run: no process and no file of it is left behind."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar
from unittest.mock import patch

import torch

from casestudies.lab.machine import Machine

P = ParamSpec("P")
T = TypeVar("T")

OPTIONS: dict[str, str | int | bool | Callable[..., object]] = {
    "compile_threads": 1,  # none but this process
    # Compiled headers would be kept for all later runs.
    "cpp_cache_precompile_headers": False,
    "cpp.enable_kernel_profile": True,  # so that kernels are counted
}


class NotCompiled(RuntimeError):
    """The compiler cannot be used here; the message says why, in one line."""


@contextmanager
def compiling() -> Iterator[None]:
    """Let PyTorch's compiler keep its files in a folder that ends with the block.

    Counting, too, loads the compiler, which makes a folder at once.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=folder, TRITON_CACHE_DIR=folder),
    ):
        try:
            yield
        finally:
            torch.compiler.reset()


def check_compiler() -> None:
    """Raise NotCompiled where there is no C++ compiler, which PyTorch's needs."""
    if not Machine.here().compiler:
        raise NotCompiled("it needs a C++ compiler")


def compiled(function: Callable[P, T]) -> Callable[P, T]:
    """Return the function, compiled when it is first called, anew for each shape."""
    return torch.compile(function, dynamic=False, options=OPTIONS)
