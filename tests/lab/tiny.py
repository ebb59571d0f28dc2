"""A language model small enough for a test, with weights that mean nothing."""

import torch

from casestudies.lab.models import shapes
from casestudies.lab.models.language_model import Config, LanguageModel

CONFIG = Config(
    vocabulary=300,
    width=32,
    feed_forward=64,
    layers=2,
    heads=4,
    key_value_heads=2,
    rope_base=10000.0,
    norm_epsilon=1e-5,
)


def tiny_model(*, tied: bool = True) -> LanguageModel:
    """A model with the same random weights each time."""
    torch.manual_seed(0)
    return LanguageModel(CONFIG, tied=tied).eval().requires_grad_(False)


def talkative_model() -> LanguageModel:
    """A model whose blocks outweigh its embedding, where `tiny_model` repeats its last token."""
    model = shapes.with_random_weights(CONFIG, torch.Generator().manual_seed(0))
    return model.eval().requires_grad_(False)


def tiny_windows(count: int = 4, length: int = 24) -> torch.Tensor:
    """Random tokens, the same each time."""
    return torch.randint(300, (count, length), generator=torch.Generator().manual_seed(1))
