"""AWQ: columns of weights that large activations meet are rounded on a finer grid.

Lin et al., 2023, "AWQ: Activation-aware Weight Quantization for LLM Compression and Acceleration",
section 3.2: X W^T = (X / s) (W s)^T for any s of the columns, and Q rounds W s. A column times
s > 1 errs s times less, as long as its group's grid hardly grows. Letters are the paper's;
activations X are (tokens, columns), weights W (rows, columns). Its clipping of weights is left out.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from casestudies.lab.quantize.hessian import gram
from casestudies.lab.quantize.quantized import Format, Quantized, rounded

GRID = 20  # values of a that are tried between 0 and 1
LEAST = 1e-4


def awq(
    weights: Sequence[Tensor], inputs: Sequence[Tensor], form: Format
) -> tuple[Tensor, list[Quantized]]:
    """Return s (columns, float16) and Q(W s) of layers that share these inputs.

    s = s_X^a with s_X = mean|X| and the a that changes X W^T least (equations 4 and 5); a = 0 is
    rounding, so the change is never larger than rounding's on these inputs.
    """
    g, magnitude = gram(inputs), _mean_magnitude(inputs)

    def scaled(a: float) -> tuple[Tensor, list[Quantized]]:
        s = _scales(magnitude, a)
        return s, [rounded(weight * s.float(), form) for weight in weights]

    def change(a: float) -> float:
        s, found = scaled(a)
        errors = (w - q.weights() / s.float() for w, q in zip(weights, found, strict=True))
        return sum(((d @ g) * d).sum().item() for d in errors)  # |X D^T|^2, with G = X^T X

    return scaled(min((step / GRID for step in range(GRID)), key=change))


def _mean_magnitude(inputs: Sequence[Tensor]) -> Tensor:
    """Return the mean of |X| by columns."""
    tokens = torch.cat([part.flatten(0, -2) for part in inputs])
    return tokens.abs().mean(0)


def _scales(magnitude: Tensor, a: float) -> Tensor:
    """Return s = s_X^a in float16, its least and greatest as far below 1 as above."""
    s = magnitude.clamp(min=LEAST) ** a
    return (s / (s.amax() * s.amin()).sqrt()).half()
