"""Fused layers: every way gives the same numbers, and counts are those of the formulas."""


import pytest
import torch
from torch import Tensor

from casestudies.lab.studies.fused_layers.layers import BY_HAND, OP_BY_OP, PYTORCH, Way
from casestudies.lab.studies.fused_layers.model import Shape, Transformer

TOKENS, WIDTH, VOCABULARY = 20, 64, 96
SHAPE = Shape(VOCABULARY, WIDTH, 2, TOKENS)
WAYS = {"PyTorch": PYTORCH, "by hand": BY_HAND}

each_way = pytest.mark.parametrize("way", WAYS.values(), ids=list(WAYS))


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(shape: Shape = SHAPE) -> Transformer:
    """Return a model in float64 whose norms and biases are not what they begin as."""
    made, generator = Transformer(shape, drawn()).double(), drawn(1)
    for weight in made.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return made


def windows(batch: int = 3) -> Tensor:
    return torch.randint(VOCABULARY, (batch, TOKENS + 1), generator=drawn(2))


def gradients(way: Way, shape: Shape = SHAPE) -> list[Tensor]:
    """Return the loss and all gradients of a batch, dropout the same each time."""
    own, read = model(shape), windows()
    source = read[:, 1:] if shape.encoder_layers else None
    loss = own(read, way, own.masks(read, drawn(3)), source)
    return [loss, *torch.autograd.grad(loss, list(own.parameters()))]


@pytest.mark.parametrize("encoder_layers", [0, 2])
@each_way
def test_loss_and_every_gradient_are_those_of_the_formulas(way: Way, encoder_layers: int) -> None:
    shape = Shape(VOCABULARY, WIDTH, 2, TOKENS, encoder_layers)
    found, expected = gradients(way, shape), gradients(OP_BY_OP, shape)
    for own, other in zip(found, expected, strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-11)
