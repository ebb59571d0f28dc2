"""Trainable parameters on published shapes, without a weight: arithmetic over declared sizes."""

from dataclasses import dataclass

from casestudies.lab.models.shapes import SHAPES

SIZES = dict[str, tuple[int, int]]


@dataclass(frozen=True)
class Shape:
    """A model's sizes: `linears` of one block are (outputs, inputs), `parameters` are all."""

    layers: int
    linears: SIZES
    parameters: int


def gpt(layers: int, width: int, vocabulary: int, positions: int) -> Shape:
    """Return a GPT's or an OPT's shape: four widths of feed-forward, biases, a tied head."""
    linears = dict.fromkeys(("query", "key", "value", "output"), (width, width))
    linears |= {"up": (4 * width, width), "down": (width, 4 * width)}
    biases = sum(outputs for outputs, _ in linears.values())
    norms = 2 * 2 * width
    block = sum(d * k for d, k in linears.values()) + biases + norms
    return Shape(layers, linears, layers * block + (vocabulary + positions) * width + 2 * width)


def llama(name: str) -> Shape:
    """Return the shape of one of the lab's Llama-style models whose head is the embedding."""
    c = SHAPES[name]
    shared = c.width // c.heads * c.key_value_heads
    linears = {
        "query": (c.width, c.width),
        "key": (shared, c.width),
        "value": (shared, c.width),
        "output": (c.width, c.width),
        "gate": (c.feed_forward, c.width),
        "up": (c.feed_forward, c.width),
        "down": (c.width, c.feed_forward),
    }
    block = sum(d * k for d, k in linears.values()) + 2 * c.width
    return Shape(c.layers, linears, c.layers * block + (c.vocabulary + 1) * c.width)


PUBLISHED = {
    # Brown et al., 2020, table 2.1; vocabulary and positions of GPT-2
    "GPT-3 175B": gpt(96, 12_288, 50_257, 2_048),
    # Radford et al., 2019, table 2
    "GPT-2 medium": gpt(24, 1_024, 50_257, 1_024),
    "GPT-2 large": gpt(36, 1_280, 50_257, 1_024),
    # Zhang et al., 2022, table 1; its first two positions are never used
    "OPT-1.3B": gpt(24, 2_048, 50_272, 2_050),
    "SmolLM2-135M": llama("smollm2-135m"),
}


def of_low_rank(shape: Shape, rank: int, names: tuple[str, ...]) -> int:
    """Return r (d + k) for each of the named layers of all blocks."""
    return shape.layers * sum(rank * sum(shape.linears[name]) for name in names)


def of_first_scales(shape: Shape) -> int:
    """Return one number for each row of the linear layers of all blocks."""
    return shape.layers * sum(outputs for outputs, _ in shape.linears.values())
