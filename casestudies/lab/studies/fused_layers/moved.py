"""Bytes that PyTorch's own functions read and write, forward and backward, as formulas.

Each operator reads its operands and writes its result once: n tokens of width c in float32, whose
masks take a byte. These say what a memory without any cache would carry.
"""

NUMBER = 4  # bytes


def norm_bytes(n: int, c: int) -> int:
    """Return those of a layer norm: one operator each way, its statistics, its weight and bias."""
    return NUMBER * (5 * n * c + 4 * n + 6 * c)


def residual_bytes(n: int, c: int, inputs: int) -> int:
    """Return those of x + dropout(a W' + b), a of so many inputs: nine operators.

    Of them mask and scale are two, the sum with x one, each product one, and in the backward pass
    scale, mask, two products and the sum of the bias's gradient.
    """
    products = 3 * n * (c + inputs) + 3 * c * inputs
    others = (2 + 2 + 3) + (2 + 2) + 1  # numbers of each of the results'
    return NUMBER * (products + others * n * c + 2 * c) + 2 * n * c


def mlp_bytes(n: int, c: int, inside: int) -> int:
    """Return those of the feed-forward part with its residual: GELU adds five numbers each."""
    products = 3 * n * (c + inside) + 3 * c * inside
    activation = 5 * n * inside + (n * inside + 2 * inside)  # and the sum for its bias
    return NUMBER * (products + activation) + residual_bytes(n, c, inside)


def optimizer_bytes(numbers: int, weights: int) -> int:
    """Return those of AdamW in one operator: four numbers read and three written a parameter.

    The step's number of each of the weights is read and written by an operator of its own, and
    read.
    """
    return NUMBER * (7 * numbers + 3 * weights)
