"""What zeros and fewer bits buy in speed on this hardware."""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor

from casestudies.lab.measure.rounds import alternately, ratios

ROUNDS = 15
TOKENS = (1, 512)


def speeds(
    dense: Tensor, pruned: Tensor, tokens: int, generator: torch.Generator
) -> dict[str, list[float]]:
    """Return, per variant, the time of the dense product divided by its own, once a round.

    `dense` and `pruned` are one layer's weights (rows, columns) in float32; so many tokens are
    multiplied at once.
    """
    x = torch.randn(tokens, dense.shape[1], generator=generator).to(dense.device)
    taken = alternately(_products(dense, pruned, x), ROUNDS, dense.device.type, again=True)
    return ratios(taken, to="dense")


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
