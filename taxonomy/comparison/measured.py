"""What was measured of the items compared, told by whatever measures."""

from collections.abc import Callable, Iterable, Sequence

from taxonomy.comparison.selection import Kind
from taxonomy.comparison.table import Cell, Part, Row, Section

NOTE = "Each number names its run. Runs on other hardware or with other settings do not compare."

# Return the rows about the items of a kind with these slugs, a cell for each. The room that
# measures lies above this one, so it adds its own.
Source = Callable[[Kind, Sequence[str]], Iterable[Row]]
sources: list[Source] = []


def measured(kind: Kind, slugs: Sequence[str]) -> Section:
    """Return the section with the rows of every source, or one that says that there are none."""
    rows = tuple(row for source in sources for row in source(kind, slugs))
    nothing = Row("Measured results", (Cell((Part("not run"),)),) * len(slugs), "No case study.")
    return Section("Measured by case studies", rows or (nothing,), NOTE if rows else "")
