"""What zeros and fewer bits buy in speed on this hardware."""

import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

ROUNDS = 15
TOKENS = (1, 512)


def speeds(
    dense: Tensor, pruned: Tensor, tokens: int, generator: torch.Generator
) -> dict[str, list[float]]:
    """Return, per variant, the time of the dense product divided by its own, once a round.

    `dense` and `pruned` are one layer's weights (rows, columns) in float32; so many tokens are
    multiplied at once. In each round every variant runs once in turn, so that other work on the
    machine slows all of them alike.
    """
    x = torch.randn(tokens, dense.shape[1], generator=generator).to(dense.device)
    products = _products(dense, pruned, x)
    rounds = [{name: _seconds(run) for name, run in products.items()} for _ in range(ROUNDS)]
    return {
        name: [seconds["dense"] / seconds[name] for seconds in rounds]
        for name in products
        if name != "dense"
    }


def _products(dense: Tensor, pruned: Tensor, x: Tensor) -> dict[str, Callable[[], Tensor]]:
    columns = x.T.contiguous()
    half, half_x = dense.bfloat16(), x.bfloat16()
    with warnings.catch_warnings():
        # PyTorch calls its sparse layout a beta; this study reports how fast it is today.
        warnings.simplefilter("ignore", UserWarning)
        sparse = pruned.to_sparse_csr()
    return {
        "dense": lambda: x @ dense.T,
        "zeros in a dense product": lambda: x @ pruned.T,
        "sparse rows": lambda: sparse @ columns,
        "bfloat16": lambda: half_x @ half.T,
    }


def _seconds(product: Callable[[], Tensor]) -> float:
    """Return the wall-clock time of the product, right after it ran once unmeasured."""
    if product().is_cuda:  # pragma: no cover - needs a GPU
        torch.cuda.synchronize()
    start = time.perf_counter()
    if product().is_cuda:  # pragma: no cover - needs a GPU
        torch.cuda.synchronize()
    return time.perf_counter() - start
