"""A bar that is divided as a whole is: its pieces, in per cent of its width."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Piece:
    """A piece of a bar: its kind, which colours it, where it begins and how wide it is."""

    kind: str
    start: float
    width: float


def pieces(parts: Iterable[tuple[str, int]]) -> list[Piece]:
    """Return the pieces of a bar, for each kind its number, without those of none."""
    numbers = [(kind, n) for kind, n in parts if n > 0]
    total, found, start = sum(n for _, n in numbers), list[Piece](), 0
    for kind, n in numbers:
        found.append(Piece(kind, round(100 * start / total, 2), round(100 * n / total, 2)))
        start += n
    return found
