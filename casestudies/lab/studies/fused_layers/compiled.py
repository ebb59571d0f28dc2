"""PyTorch's compiler, kept within the run: no process and no file of it is left behind."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor import config, utils

    within = config.patch({"compile_threads": 1, "cpp.enable_kernel_profile": True})
    try:
        with utils.fresh_cache(), within:
            yield
    except TorchDynamoException as error:
        raise NotCompiled(str(error).strip().splitlines()[0]) from error
    finally:
        torch._dynamo.reset()


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
