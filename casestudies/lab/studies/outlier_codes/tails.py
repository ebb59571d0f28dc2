"""Why outliers are kept and not their neighbours: numbers that are changed but not rounded."""

import torch
from torch import Tensor, nn

from casestudies.lab.studies.outlier_codes.about import CLIPPED, OTHERS
from casestudies.lab.studies.outlier_codes.bench import Bench

THRESHOLD = 3.0  # root mean squares from which on a number is an outlier here
ROWS, COLUMNS, SHARE = 64, 512, 0.01


def changed(x: Tensor, how: str, generator: torch.Generator) -> Tensor:
    """Return x (..., columns), columns even, with its outliers clipped, or others zero."""
    end = THRESHOLD * x.square().mean().sqrt()
    if how == CLIPPED:
        return x.clamp(-end, end)
    pairs = x.unflatten(-1, (-1, 2))
    size = pairs.abs()
    outlier = size > end
    # Of two outliers in a pair the greater stays.
    victim = outlier.flip(-1) & ((size < size.flip(-1)) | ~outlier)
    if how == OTHERS:
        share = victim.float().mean().cpu()
        drawn = torch.rand(size.shape, generator=generator).to(x.device)
        victim = (drawn < share / (~outlier).float().mean().cpu()) & ~outlier
    return pairs.masked_fill(victim, 0).flatten(-2)


def losses_changed(bench: Bench, how: str, seed: int) -> Tensor:
    """Return those of the model whose weights, and what its layers read, are changed so."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: changed(weight, how, generator) for name, weight in bench.weights.items()}

    def read(linear: nn.Linear, x: Tensor) -> Tensor:
        return changed(x, how, generator)

    return bench.losses(weights, read)


def drawn(times: float, generator: torch.Generator) -> Tensor:
    """Return normal numbers (rows, columns), of which one in a hundred is so many times as large.

    Of the same state of the generator they are the same but for that.
    """
    x = torch.randn(ROWS, COLUMNS, generator=generator)
    outlier = torch.rand(ROWS, COLUMNS, generator=generator) < SHARE
    return torch.where(outlier, times * x, x)
