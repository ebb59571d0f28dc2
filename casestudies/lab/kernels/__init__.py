"""Kernels in Triton beside their references in PyTorch: one kernel with its launcher a file.

Triton is an extra requirement (`requirements-gpu.txt`) that nothing outside this folder imports.
Whoever wants a kernel asks `why_not` first, and imports its module only if that says nothing.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from casestudies.lab.measure.equality import Equality

# Triton 3.9 warns where this is not said: products and sums are joined, as they always were.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")


def why_not(device: str) -> str:
    """Return why kernels do not run on the device, or nothing if they do."""
    if device != "cuda":
        return "needs a GPU"
    return "" if find_spec("triton") else "needs the Python package triton"


@contextmanager
def attempting(what: str, log: Callable[[str], None]) -> Iterator[None]:
    """Let a run go on where what is inside fails on this GPU, and log why.

    Triton's errors have no common base, and a compiler or memory may be missing as well.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - one that fails costs a run nothing else
        log(f"{what}: {type(error).__name__}: {error}: not run")


def equalities() -> tuple[Equality, ...]:
    """Return every kernel held against its reference. Raises ImportError without Triton."""
    from casestudies.lab.kernels import (
        attention,
        code_words,
        columns,
        few_bits,
        gathered_lora,
        int8_product,
        int8_tokens,
        paged_attention,
        reordered,
    )

    return (
        *few_bits.EQUALITIES,
        *reordered.EQUALITIES,
        *code_words.EQUALITIES,
        *attention.EQUALITIES,
        *paged_attention.EQUALITIES,
        *gathered_lora.EQUALITIES,
        *columns.EQUALITIES,
        *int8_product.EQUALITIES,
        *int8_tokens.EQUALITIES,
    )
