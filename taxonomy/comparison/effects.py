"""Claims as rows: one for each axis, so that no row holds two quantities."""

from collections.abc import Iterable, Mapping, Sequence

from taxonomy.choices import Direction, QuantityGroup, Scope
from taxonomy.comparison.claims import Claims, Tally, unit_of
from taxonomy.comparison.table import Cell, Part, Row, Section
from taxonomy.models import Axis, Claim

CAUTION = "Each number keeps its own baseline, so an axis is not a ranking."
# What a reader asks first, and the groups of quantities that answer it.
TOPICS: Mapping[str, tuple[str, ...]] = {
    "Memory": (QuantityGroup.MEMORY, QuantityGroup.SIZE),
    "Speed": (QuantityGroup.SPEED, QuantityGroup.THROUGHPUT, QuantityGroup.LATENCY),
    "Quality": (QuantityGroup.QUALITY,),
    "Cost": (QuantityGroup.COST,),
    "Communication and utilisation": (QuantityGroup.COMMUNICATION, QuantityGroup.UTILISATION),
    "Scale": (QuantityGroup.SCALE,),
}


def effect_sections(claims: Claims, items: Sequence[int], *, one_sided: bool) -> Iterable[Section]:
    """Return the rows by topic: the axes of one item only, or those of at least two."""
    for topic, groups in TOPICS.items():
        rows = tuple(
            Row(label(axis), tuple(_cell(claims, axis, item) for item in items))
            for axis in claims.axes
            if axis.quantity.group in groups and (len(claims.tallies[axis.pk]) == 1) == one_sided
        )
        if rows:
            yield Section(topic, rows)


def label(axis: Axis) -> str:
    """Return what the axis holds, its unit and which end is better."""
    return f"{axis} ({unit_of(axis)}, {Direction(axis.quantity.direction).label})"


def named(claim: Claim) -> str:
    """Return by whom the claim is made: "GPTQ (2022)"; of an extension it says that it is one."""
    publication = claim.publication
    beside = "" if publication.in_review else ", extension"
    return f"{publication.artifact_name} ({publication.year}{beside})"


def circumstances(claim: Claim) -> str:
    """Return against what and on what: what its words leave out is said to be."""
    known = (
        f"against {claim.baseline}" if claim.baseline else "baseline not reported",
        claim.hardware or "device not stated",
        claim.model,
        claim.conditions,
    )
    return "; ".join(text for text in known if text)


def _cell(claims: Claims, axis: Axis, item: int) -> Cell:
    tallies, examples = claims.of(axis, item), claims.examples.get((axis.pk, item), ())
    if not tallies:
        return Cell(missing=f"no claim about {str(axis).lower()}")
    total = sum(tally.count for tally in tallies.values())
    return Cell(
        tuple(
            _part(tally, scope, [claim for claim in examples if claim.scope == scope], axis)
            for scope, tally in tallies.items()
        ),
        details=tuple(map(_source, examples)),
        more=total - len(examples),
    )


def _part(tally: Tally, scope: str, examples: Sequence[Claim], axis: Axis) -> Part:
    """Return what the claims of one scope say: the one number, or their count and ends."""
    words = Scope(scope).label
    if tally.count == 1:
        return Part(examples[0].as_stated, "", f"{words}; {named(examples[0])}")
    if not tally.ends:
        return Part(f"{tally.count:,} claims without a place on the axis", "", words)
    off = f"; {tally.count - tally.drawn:,} more off the axis" if tally.count > tally.drawn else ""
    return Part(f"{'–'.join(tally.ends)} {unit_of(axis)} in {tally.drawn:,} claims{off}", "", words)


def _source(claim: Claim) -> Part:
    note = f"{claim.as_stated}, {claim.get_scope_display()}; {circumstances(claim)}"
    return Part(named(claim), claim.get_absolute_url(), note)
