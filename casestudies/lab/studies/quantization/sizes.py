"""Bytes of models whose shapes are published, counted without their weights.

OPT: Zhang et al., 2022, arXiv 2205.01068, table 1; GPT-2 medium and GPT-3 350M: Radford et al.,
2019, and Brown et al., 2020, table 2.1. All have the layers of GPT-2: four square matrices of
attention, and two fully connected ones, four times as wide inside.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from casestudies.lab.quantize.quantized import Format
from casestudies.lab.studies.quantization.claims import LINEAR, WHOLE

FLOAT32, BFLOAT16 = 4, 2  # bytes of a number
GROUP = 128  # weights that share a scale, where a claim leaves it open
CODES = 4  # binary codes of a weight in AlphaTuning

Bytes = Callable[[int, int], int]  # of a matrix of so many rows and columns


@dataclass(frozen=True)
class Shape:
    """A decoder like GPT-2, whose head is its embedding."""

    name: str
    layers: int
    width: int
    vocabulary: int
    positions: int

    def attention(self) -> Iterator[tuple[int, int]]:
        """Yield rows and columns of each matrix of attention."""
        yield from [(self.width, self.width)] * (4 * self.layers)

    def connected(self) -> Iterator[tuple[int, int]]:
        """Yield rows and columns of each fully connected matrix."""
        yield from [(4 * self.width, self.width), (self.width, 4 * self.width)] * self.layers

    @property
    def others(self) -> int:
        """Return the parameters that are in no linear layer's matrix."""
        # Nine widths of biases and four of norms a layer, and the last norm.
        small = self.width * (13 * self.layers + 2)
        return self.width * (self.vocabulary + self.positions) + small

    def linear_bytes(self, attention: Bytes, connected: Bytes) -> int:
        """Return the bytes of all linear layers' matrices."""
        return sum(attention(*size) for size in self.attention()) + sum(
            connected(*size) for size in self.connected()
        )


OPT_175B = Shape("OPT-175B", 96, 12_288, 50_272, 2_050)
OPT_1_3B = Shape("OPT-1.3B", 24, 2_048, 50_272, 2_050)
GPT2_MEDIUM = Shape("GPT-2 medium", 24, 1_024, 50_257, 1_024)
GPT3_350M = Shape("GPT-3 350M", 24, 1_024, 50_257, 2_048)


def plain(number: int) -> Bytes:
    """Return what counts a matrix of numbers of so many bytes."""
    return lambda rows, columns: rows * columns * number


def in_groups(bits: int, group: int) -> Bytes:
    """Return what counts a matrix in so many bits with a step and a zero for each group."""
    return lambda rows, columns: Format(bits, group).stored_bytes(rows, columns)


def in_rows(bits: int) -> Bytes:
    """Return what counts a matrix in so many bits with a step and a zero for each row."""
    return lambda rows, columns: Format(bits, columns).stored_bytes(rows, columns)


def binary_codes(rows: int, columns: int) -> int:
    """Return the bytes of four binary codes a weight, each with a float32 scale a row.

    Kwon et al., 2022, "AlphaTuning": W is the sum of scale * sign, and only scales are trained.
    """
    return CODES * (rows * columns // 8 + rows * FLOAT32)


def counted() -> Iterator[tuple[str, str, str, int]]:
    """Yield variant, model, part and bytes of all that claims ask for at published shapes."""
    ways: dict[Shape, dict[str, tuple[Bytes, Bytes, int]]] = {
        OPT_175B: {
            "bfloat16": (plain(BFLOAT16), plain(BFLOAT16), BFLOAT16),
            "rounded": (in_rows(8), in_rows(8), BFLOAT16),
        },
        GPT3_350M: {
            "bfloat16": (plain(BFLOAT16), plain(BFLOAT16), BFLOAT16),
            "8 and 4 bits": (in_groups(8, GROUP), in_groups(4, GROUP), BFLOAT16),
        },
    }
    for shape in (GPT2_MEDIUM, OPT_1_3B):
        ways[shape] = {
            "float32": (plain(FLOAT32), plain(FLOAT32), FLOAT32),
            "binary codes": (binary_codes, binary_codes, FLOAT32),
        }
    for shape, variants in ways.items():
        for variant, (attention, connected, number) in variants.items():
            linear = shape.linear_bytes(attention, connected)
            yield variant, shape.name, LINEAR, linear
            yield variant, shape.name, WHOLE, linear + number * shape.others
