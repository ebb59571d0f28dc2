"""The same blocks fused: in float16, and in int8 with what rounds a token in the operator before.

In int8 a block's four linear layers are products of whole numbers; the two products of attention
stay in float16, and so does what is added up. A token has a scale of its own (Yao et al., 2022,
"ZeroQuant", section 4), or all have one that is known before (Xiao et al., 2022, "SmoothQuant", its
setting O3; smoothing itself stands in the weights and norms before, and takes no time).
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from casestudies.lab.kernels import int8_product, int8_tokens
from casestudies.lab.kernels.int8_product import TILES, Tile
from casestudies.lab.measure.rounds import alternately, captured
from casestudies.lab.quantize.int8 import Int8, scale_of
from casestudies.lab.studies.quantization.on_gpu.blocks import (
    Eager,
    Engine,
    Int8Linear,
    Layer,
    Linear,
    Norm,
    Shape,
)

PRODUCTS, ROUNDS = 20, 3  # that a tile is measured by


def attention(qkv: Tensor, shape: Shape, length: int) -> Tensor:
    """Return what PyTorch's fused attention makes (N, C) of queries, keys and values (N, 3 C)."""
    parts = qkv.view(-1, length, 3, shape.heads, shape.width // shape.heads)
    q, k, v = parts.permute(2, 0, 3, 1, 4)  # texts, H, T, D
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=shape.decoder)
    return mixed.transpose(1, 2).reshape(len(qkv), shape.width)


class Fused(Eager):
    """Attention in one kernel, its three products in one, a sum and its norm in one.

    ReLU or GELU is in the library's product, where it has that for the GPU.
    """

    def normed(
        self, x: Tensor, added: Tensor | None, norm: Norm, reader: Linear
    ) -> tuple[Tensor, Tensor]:
        """Return the norm of the sum, and what the next sum adds to."""
        return int8_tokens.normed_only(x, added, norm, after=not self.shape.decoder)

    def attended(self, read: Tensor, projections: tuple[Linear, ...]) -> Tensor:
        """Return what attention makes."""
        return attention(self.product(read, projections[0]), self.shape, self.length)

    def widened(self, read: Tensor, up: Linear, down: Linear) -> Tensor:
        """Return ReLU or GELU of what `up` makes; PyTorch takes GELU by tanh on a GPU alone."""
        return torch._addmm_activation(up.bias, read, up.weight.T, use_gelu=not self.shape.relu)


class Watching(Fused):
    """Does the same and keeps the largest number that each layer read, by the layer's identity."""

    def __init__(self, shape: Shape, length: int, device: str) -> None:
        super().__init__(shape, length, device)
        self.largest: dict[int, Tensor] = {}

    def product(self, read: Tensor, linear: Linear) -> Tensor:
        """Return what the layer makes."""
        self.largest[id(linear)] = read.abs().max()
        return super().product(read, linear)

    def widened(self, read: Tensor, up: Linear, down: Linear) -> Tensor:
        """Return the inside of the feed-forward part."""
        self.largest[id(up)] = read.abs().max()
        return super().widened(read, up, down)


class InInt8(Engine[Int8, Int8Linear]):
    """Whole numbers multiplied, their sums scaled in registers; tokens rounded as they are made."""

    def read(self, x: Tensor, reader: Int8Linear) -> Int8:
        """Return x rounded."""
        return int8_tokens.rounded(x, reader.step)

    def normed(
        self, x: Tensor, added: Tensor | None, norm: Norm, reader: Int8Linear
    ) -> tuple[Int8, Tensor]:
        """Return the norm of the sum rounded, and what the next sum adds to."""
        return int8_tokens.normed(x, added, norm, reader.step, after=not self.shape.decoder)

    def product(
        self, read: Int8, linear: Int8Linear, step: Tensor | None = None, *, relu: bool = False
    ) -> Tensor:
        """Return what the layer makes in float16, or its codes by the scale `step`."""
        rows, columns = linear.weight.codes.shape
        tile = fastest(len(read.codes), rows, columns, read.codes.device.type)
        return int8_product.product(read, linear.weight, linear.bias, step, relu=relu, tile=tile)

    def attended(self, read: Int8, projections: tuple[Int8Linear, ...]) -> Tensor:
        """Return what attention makes."""
        return attention(self.product(read, projections[0]), self.shape, self.length)

    def widened(self, read: Int8, up: Int8Linear, down: Int8Linear) -> Int8:
        """Return ReLU or GELU of what `up` makes, rounded: by a known scale within its product."""
        if self.shape.relu and down.step is not None:
            return Int8(self.product(read, up, down.step, relu=True), down.step)
        y = self.product(read, up, relu=self.shape.relu)
        return int8_tokens.rounded(y, down.step, gelu=not self.shape.relu)


def in_int8(
    layers: Sequence[Layer[Linear]], largest: dict[int, Tensor] | None
) -> list[Layer[Int8Linear]]:
    """Return the blocks in int8; with the largest numbers that layers read their scales are known.

    Without, each token has its own.
    """

    def change(linear: Linear) -> Int8Linear:
        step = None if largest is None else scale_of(largest[id(linear)].float()).view(1)
        return Int8Linear(Int8.of(linear.weight), linear.bias, step)

    return [layer.mapped(change) for layer in layers]


@cache
def fastest(tokens: int, rows: int, columns: int, device: str) -> Tile:
    """Return the tile by which matrices of this shape are multiplied in the least time here.

    The library chooses for float16 likewise, by what its makers have measured.
    """
    given = int8_product.drawn(tokens, rows, columns, torch.Generator(device).manual_seed(0))

    def least(tile: Tile) -> float:
        def products() -> None:
            for _ in range(PRODUCTS):
                int8_product.product(*given, tile=tile)

        return min(alternately({"": captured(products, device)}, ROUNDS, device)[""])

    return min(TILES, key=least)
