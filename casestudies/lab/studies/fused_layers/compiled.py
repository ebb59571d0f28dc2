"""PyTorch's compiler, kept within the run: no process and no file of it is left behind.

What is private in PyTorch 2.13 and needed for that is named here and nowhere else.
"""

import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from casestudies.lab.machine import Machine
from casestudies.lab.studies.fused_layers.layers import PYTORCH, Way

NUMBER_BYTES = 4  # in which the compiler counts what its kernels read and write


class NotCompiled(RuntimeError):
    """The compiler cannot be used here; the message says why, in one line."""


@contextmanager
def compiling(device: str) -> Iterator[None]:
    """Allow `torch.compile`, in this process alone and with a cache of its own.

    Raises NotCompiled, also from within, where PyTorch's compiler fails or finds no compiler.
    """
    if device == "cpu" and not Machine.here().compiler:
        raise NotCompiled("it needs a C++ compiler")
    # Loading it takes seconds.
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor import codecache, compile_fx, config, utils

    within = {
        "compile_threads": 1,
        "cpp.enable_kernel_profile": True,
        # Headers are named by a program that not every machine with a compiler has.
        "cpp_cache_precompile_headers": bool(shutil.which("openssl")),
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # Compiled headers would be kept for all later runs.
        stack.enter_context(patch.object(codecache, "_HEADER_DIR", str(folder)))
        stack.enter_context(patch.object(codecache, "_HEADER_LOCK_DIR", str(folder / "locks")))
        stack.callback(codecache._precompile_header.cache_clear)
        # Kernels' bytes are counted only for a log that is read.
        log = logging.Logger("kernels", logging.INFO)
        stack.enter_context(patch.object(compile_fx, "inductor_metrics_log", log))
        stack.enter_context(utils.fresh_cache())
        stack.enter_context(config.patch(within))
        stack.callback(torch._dynamo.reset)
        try:
            yield
        except TorchDynamoException as error:
            raise NotCompiled(str(error).strip().splitlines()[0]) from error


def compiled() -> Way:
    """Return PyTorch's way with each part compiled at its first use, for one shape each."""
    return Way(PYTORCH.linear, *(torch.compile(part, dynamic=False) for part in PYTORCH[1:]))


def bytes_of_kernels(first_use: Callable[[], object]) -> int:
    """Return the bytes that kernels read and write which are compiled in the call.

    That is by the compiler's own count; products of matrices are no kernels of it.
    """
    from torch._inductor import metrics

    metrics.reset()
    first_use()
    return NUMBER_BYTES * sum(
        numbers for node, numbers in metrics.nodes_num_elem if not node.is_extern()
    )
