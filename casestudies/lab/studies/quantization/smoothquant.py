"""SmoothQuant: the range of activations is moved into the weights, column by column.

Xiao et al., 2022, "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large
Language Models": X W^T = (X / s) (W s)^T for any s of the columns, and both are rounded to 8 bits.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from casestudies.lab.models.language_model import LanguageModel
from casestudies.lab.quantize.reading import Reading, reading

LEAST = 1e-5


def smoothing(largest: Tensor, weights: Sequence[Tensor], strength: float) -> Tensor:
    """Return s = max|X|^a / max|W|^(1-a) by columns (equation 4), for layers that share inputs.

    `largest` is max|X| of each column over calibration text, `strength` the paper's a.
    """
    of_weights = torch.stack([weight.abs().amax(0) for weight in weights]).amax(0)
    s = largest.clamp(min=LEAST) ** strength / of_weights.clamp(min=LEAST) ** (1 - strength)
    return s.clamp(min=LEAST)


def smoothed(scales: Mapping[nn.Linear, Tensor], read: Reading) -> Reading:
    """Return what lets each layer read X / s, rounded; its weights are to be those of W s."""
    return lambda linear, x: read(linear, x / scales[linear])


@torch.inference_mode()
def calibrated(
    model: LanguageModel,
    sharing: Iterable[Sequence[nn.Linear]],
    windows: Tensor,
    strength: float,
) -> dict[nn.Linear, Tensor]:
    """Return s of each layer, fitted to `windows` (count, length); layers in `sharing` share it."""
    groups = list(sharing)
    largest: dict[nn.Linear, Tensor] = {}

    def look(linear: nn.Linear, x: Tensor) -> Tensor:
        found = x.abs().flatten(0, -2).amax(0)
        largest[linear] = torch.maximum(found, largest.get(linear, found))
        return x

    with reading([layers[0] for layers in groups], look):
        for window in windows:
            model.hidden(window[None])
    scales: dict[nn.Linear, Tensor] = {}
    for layers in groups:
        s = smoothing(largest[layers[0]], [linear.weight for linear in layers], strength)
        scales |= dict.fromkeys(layers, s)
    return scales
