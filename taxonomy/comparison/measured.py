"""What this machine measured of the items compared."""

from taxonomy.comparison.table import Cell, Part, Row, Section


def measured(columns: int) -> Section:
    """Return the section that says that nothing was measured."""
    row = Row(
        "Measured results",
        (Cell((Part("not run"),)),) * columns,
        "Nothing has been measured on this machine yet.",
    )
    return Section("Measured on this machine", (row,))
