"""Why outliers are kept and not their neighbours: a model that is changed but not rounded.

Guo et al., 2023, section 2: what stays of a model's quality when its outliers are clipped, when
the neighbours of its outliers are zero, and when as many other numbers are.
"""

import torch
from torch import Tensor, nn

from casestudies.lab.studies.outlier_codes.about import CLIPPED, OTHERS
from casestudies.lab.studies.outlier_codes.activations import perplexity_reading
from casestudies.lab.studies.outlier_codes.models import Bench

THRESHOLD = 3.0  # root mean squares from which on a number is an outlier here


def changed(x: Tensor, how: str, generator: torch.Generator) -> Tensor:
    """Return x (..., columns), columns even, changed in one of the three ways."""
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


def perplexity_changed(bench: Bench, how: str, seed: int) -> float:
    """Return that of the model whose weights, and what its layers read, are changed so."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: changed(weight, how, generator) for name, weight in bench.weights.items()}

    def read(linear: nn.Linear, x: Tensor) -> Tensor:
        return changed(x, how, generator)

    return perplexity_reading(bench, read, weights)
