"""Three uneven models, fixed before any of their steps was timed; nothing here imports PyTorch."""

from collections.abc import Mapping
from typing import NamedTuple


class Uneven(NamedTuple):
    """The feed-forward width of each block, in widths of the model, and further vocabulary.

    Rows beyond the text's own vocabulary are never looked up, but scored like all others.
    """

    feed_forward: tuple[float, ...]
    more_rows: int = 0


UNEVEN: Mapping[str, Uneven] = {
    "large vocabulary": Uneven((2, 2, 2, 2), 7_680),
    "wide block": Uneven((2, 2, 2, 2, 32, 2)),
    "tapering": Uneven((16, 8, 4, 2, 1, 0.5)),
}
NAMES = tuple(UNEVEN)
