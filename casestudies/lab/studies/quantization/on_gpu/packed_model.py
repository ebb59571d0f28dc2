"""A language model whose linear layers multiply their weights as they are packed.

Embedding, norms and head stay as they are, and so do attention and cache.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from casestudies.lab.kernels import few_bits
from casestudies.lab.kernels.few_bits import Packed
from casestudies.lab.measure.equality import relative
from casestudies.lab.models.language_model import Block, LanguageModel
from casestudies.lab.quantize.quantized import Format, rounded


class PackedLinear(nn.Module):
    """A linear layer without a bias whose weights are packed."""

    def __init__(self, weights: Packed) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor) -> Tensor:
        """Return X W^T (..., rows) for x (..., columns)."""
        return few_bits.product(x.flatten(0, -2), self.weights).unflatten(0, x.shape[:-1])

    def apart(self, x: Tensor) -> float:
        """Return how far that is from the unpacked weights' product in float64."""
        exact = x.double() @ self.weights.weights().double().T
        return relative(self(x), exact.cpu())


@torch.no_grad()
def pack(model: LanguageModel, form: Format) -> LanguageModel:
    """Return the model, the weights of whose blocks are rounded to nearest and packed in place."""
    for block in cast(Sequence[Block], model.blocks):
        for name, linear in block.linears().items():
            matrix = rounded(linear.weight.float(), form)
            setattr(block, name, PackedLinear(Packed.of(matrix)))
    return model


@torch.inference_mode()
def apart(model: LanguageModel, tokens: Tensor) -> float:
    """Return how far any layer's products are, on what it reads of these tokens (1, T)."""
    hidden, found = model.embedding(tokens), list[float]()
    for block in cast(Sequence[Block], model.blocks):
        for readers, activations in block.stages(hidden):
            found += [cast(PackedLinear, reader).apart(activations) for reader in readers]
            hidden = activations
    return torch.tensor(found).max().item()  # NaN, if one is
