"""What the gap map comes to: a sentence, the gaps worth closing, and what nobody claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from taxonomy.explorer.gap_map import Cell, GapMap

MOST_GAPS = 7


@dataclass(frozen=True)
class Gap:
    """A cell that no claim isolates, and its publications in per cent of the first gap's."""

    cell: Cell
    share: str


@dataclass(frozen=True)
class Gaps:
    """What a map comes to.

    `worth_closing` has the most publications first, then the most claims that a CPU could try, and
    of both no more than MOST_GAPS; `others` counts the rest. `objectives` and `strategies` are
    those of which nothing is claimed, strategies with the number of publications filed.
    """

    sentence: str
    worth_closing: Sequence[Gap]
    others: int
    objectives: Sequence[str]
    strategies: Sequence[tuple[str, int]]


@lru_cache(maxsize=16)
def gaps_of(gap_map: GapMap) -> Gaps:
    """Return what the map comes to; a map is the same object for as long as it is remembered."""
    open_ = [cell for cell in gap_map.claimed if not cell.is_isolated]
    open_.sort(key=lambda cell: (-cell.count.publications, -cell.on_cpu))
    most = open_[0].count.publications if open_ else 1
    first = open_[:MOST_GAPS]
    claimed = {cell.objective for cell in gap_map.claimed}
    rows = [row for row in gap_map.rows if not any(c.count.publications for c in row.cells)]
    return Gaps(
        sentence=_sentence(gap_map),
        worth_closing=[Gap(cell, f"{100 * cell.count.publications / most:.0f}%") for cell in first],
        others=len(open_) - len(first),
        objectives=[
            o.label for o in dict.fromkeys(c.objective for c in gap_map.cells) if o not in claimed
        ],
        strategies=list({row.node.name: row.filed for row in rows}.items()),
    )


def _sentence(gap_map: GapMap) -> str:
    cells, claimed = list(gap_map.cells), gap_map.claimed
    isolated = [cell for cell in claimed if cell.is_isolated]
    tried = sum(bool(cell.tried) for cell in claimed)
    strategies = {row.node.slug for row in gap_map.rows}
    without = len(strategies - {cell.node.slug for cell in isolated})
    return (
        f"{len(claimed)} of {len(cells)} pairs of strategy and objective have a claim. "
        f"In {len(isolated)} a claim isolates the strategy; in {tried} a claim was tried here. "
        f"{without} of {len(strategies)} strategies have no isolated claim for any objective,"
        " extensions left out."
    )
