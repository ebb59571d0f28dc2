"""Claims as rows: one for each measure, so that no row mixes units or directions."""

from collections.abc import Callable, Iterable, Mapping

from taxonomy.choices import Objective
from taxonomy.comparison.charts import Counts
from taxonomy.comparison.claims import Claimed, Measure
from taxonomy.comparison.table import Cell, Part, Row

CLAIMS_NOTE = (
    "Each number has its own baseline, hardware and conditions: ranges are not a ranking, and no "
    "number is set in relation to another."
)


def claim_rows(
    names: Mapping[int, str], counts: Counts, cell: Callable[[Measure, int], Cell]
) -> Iterable[Row]:
    """Return a row for each measure; `cell` makes that of an item that has claims of it."""
    for measure, found in counts.items():
        cells = (
            cell(measure, item) if item in found else Cell(missing=_why_none(item, measure, counts))
            for item in names
        )
        label = f"{measure.label}, {measure.direction_label}"
        yield Row(label, tuple(cells), _not_comparable(names, measure, counts))


def source_part(claim: Claimed) -> Part:
    """Return who claims what, with a link to the publication."""
    return Part(claim.publication, claim.href, f"{claim.quantity}, {claim.circumstances}")


def _others_units(item: int, measure: Measure, counts: Counts) -> str:
    """Return the units of the item's claims about the same objective that are not of `measure`.

    The direction is told where the unit alone would not tell them apart.
    """
    return ", ".join(
        f"{other.unit} ({other.direction_label})" if other.unit == measure.unit else other.unit
        for other, found in counts.items()
        if other.objective == measure.objective and other != measure and item in found
    )


def _why_none(item: int, measure: Measure, counts: Counts) -> str:
    objective = Objective(measure.objective).label.lower()
    if units := _others_units(item, measure, counts):
        return f"claims about {objective} are in {units} instead"
    return f"no claim about {objective}"


def _not_comparable(names: Mapping[int, str], measure: Measure, counts: Counts) -> str:
    """Return what the others report instead, when only one item has claims of this measure."""
    if len(counts[measure]) > 1:
        return ""
    (only,) = counts[measure]
    others = {name: _others_units(pk, measure, counts) for pk, name in names.items() if pk != only}
    says = [f"{name} reports {units}" for name, units in others.items() if units]
    if not says:
        return ""
    own = f"{measure.unit} ({measure.direction_label})"
    return f"Not comparable: {names[only]} reports {own}; {'; '.join(says)}."
