"""Models of a known shape: with random weights, for speed and bytes; or small, to be trained.

Random weights say nothing of quality. The shapes are those that the models' makers publish.
"""

from dataclasses import replace

import torch

from casestudies.lab.models.language_model import Config, LanguageModel

SHAPES = {
    # huggingface.co/HuggingFaceTB/SmolLM2-135M, config.json
    "smollm2-135m": Config(49_152, 576, 1_536, 30, 9, 3, 100_000.0, 1e-5),
    # Touvron et al., 2023, arXiv 2307.09288, and its model card
    "llama-2-7b": Config(32_000, 4_096, 11_008, 32, 32, 32, 10_000.0, 1e-5),
    # Llama 3.2 1B and Llama 3.1 8B: The Llama 3 Herd of Models, arXiv 2407.21783, and their cards
    "llama-1b": Config(128_256, 2_048, 8_192, 16, 32, 8, 500_000.0, 1e-5),
    "llama-8b": Config(128_256, 4_096, 14_336, 32, 32, 8, 500_000.0, 1e-5),
}
TIED = ("smollm2-135m", "llama-1b")  # the head is the embedding
HEAD_WIDTH = 32


def of_shape(
    name: str,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    layers: int | None = None,
) -> LanguageModel:
    """Return a model of a named shape whose weights are random; raise KeyError.

    It has as many layers as are asked for, or all of the shape's.
    """
    config = SHAPES[name]
    config = replace(config, layers=layers or config.layers)
    with torch.device("meta"):
        model = LanguageModel(config, tied=name in TIED)
    model = model.to(dtype).to_empty(device=device)
    return randomized(model, torch.Generator(device).manual_seed(0)).requires_grad_(False).eval()


def small(
    vocabulary: int, width: int, layers: int, generator: torch.Generator, device: str = "cpu"
) -> LanguageModel:
    """Return a model to be trained: heads 32 wide, feed-forward 8/3 of the width."""
    hidden = -(-8 * width // 3 // 32) * 32  # up to a multiple of 32
    heads = width // HEAD_WIDTH
    config = Config(vocabulary, width, hidden, layers, heads, heads, 10_000.0, 1e-5)
    return with_random_weights(config, generator).to(device)


def with_random_weights(config: Config, generator: torch.Generator) -> LanguageModel:
    """Return a model to be trained whose head is the embedding, on the CPU in float32."""
    return randomized(LanguageModel(config, tied=True), generator)


@torch.no_grad()
def randomized(model: LanguageModel, generator: torch.Generator) -> LanguageModel:
    """Give the matrices normal weights whose products keep the size of their inputs."""
    for weight in model.parameters():
        if weight.dim() == 1:
            weight.fill_(1)
        else:
            weight.normal_(std=weight.shape[-1] ** -0.5, generator=generator)
    return model
