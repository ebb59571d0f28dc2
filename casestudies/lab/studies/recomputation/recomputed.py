"""Ways to keep fewer of a layer's activations for the backward pass: Korthikanti et al., 2022."""

from collections.abc import Mapping

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from casestudies.lab.models.gpt import Layer, Way, fused, none, selective
from casestudies.lab.models.recomputed import recomputed


def full(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same with all of the layer computed again: its input, 2sbh bytes."""
    return recomputed(layer, layer.dropout.generator, x, *weights)


def by_pytorch(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same by PyTorch's own checkpoint, which repeats the default generator's draws."""
    return checkpoint(layer, x, *weights, use_reentrant=False)


def forgetful(layer: Layer, x: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    """Return the same, computed again with other dropout: the gradients are of another model."""
    return recomputed(layer, None, x, *weights)


WAYS: Mapping[str, Way] = {
    "none": none,
    "selective": selective,
    "full": full,
    "full, PyTorch": by_pytorch,
    "full, other dropout": forgetful,
    "fused attention": fused,
}
