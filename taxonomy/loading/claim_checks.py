"""Check claims.yaml against the files that it speaks of."""

from collections.abc import Iterator

from taxonomy.choices import AxisKind
from taxonomy.loading.axes import factor, on_axis
from taxonomy.loading.claim_facts import ClaimFacts
from taxonomy.loading.problems import LineOf, Problems
from taxonomy.loading.quantity_facts import QuantitiesFile
from taxonomy.loading.schema import ClaimRow, PublicationRow

ROUNDING = 1e-3
Numbered = list[tuple[int, PublicationRow]]


def claims_of(publications: Numbered) -> dict[tuple[str, int], ClaimRow]:
    """Return the claims by their publication's key and their position."""
    return {(row.key, n): claim for _, row in publications for n, claim in enumerate(row.claims)}


def check_claims(
    entries: list[ClaimFacts], publications: Numbered, line_of: LineOf, problems: Problems
) -> None:
    """Check that every claim has one entry, that of the same metric, and every entry a claim."""
    seen: set[tuple[str, int]] = set()
    claims = claims_of(publications)
    whole = "publications.jsonl" not in problems.files  # a row not read would be called unknown
    for i, entry in enumerate(entries):
        place = (entry.publication, entry.position)
        name, line = f"{entry.publication}-{entry.position}", line_of((i,))
        if place in seen:
            problems.add("claims.yaml", line, f"{name}: duplicate claim")
        seen.add(place)
        if place not in claims:
            if whole:
                problems.add("claims.yaml", line, f"{name}: unknown claim")
        elif claims[place].metric != entry.metric:
            what = f"{name}: the claim’s metric is {claims[place].metric!r}, not {entry.metric!r}"
            problems.add("claims.yaml", line_of((i, "metric")), what)
    lines = {row.key: line for line, row in publications}
    for key, position in sorted(claims.keys() - seen):
        what = f"{key}-{position}: the claim has no entry in claims.yaml"
        problems.add("publications.jsonl", lines[key], what)


def check_references(
    known: set[str], entries: list[ClaimFacts], line_of: LineOf, problems: Problems
) -> None:
    """Check that the entries name known strategies, and ends of ranges that name each other."""
    ends = {(entry.publication, entry.position): entry.range_with for entry in entries}
    for i, entry in enumerate(entries):
        for slug in sorted(set(entry.strategies) - known):
            line = line_of((i, "attribution"))
            problems.add("claims.yaml", line, f"{slug}: unknown strategy")
        other = entry.range_with
        if other is not None and ends.get((entry.publication, other)) != entry.position:
            what = f"claim {other} is not the other end of this range"
            problems.add("claims.yaml", line_of((i, "range_with")), what)


def check_quantities(
    file: QuantitiesFile,
    entries: list[ClaimFacts],
    publications: Numbered,
    line_of: LineOf,
    problems: Problems,
) -> None:
    """Check that each claim is of a known quantity, in a unit that its axis can show.

    Its ratio must be what its rule makes of the number, but for rounding.
    """
    claims = claims_of(publications)
    for i, entry in enumerate(entries):
        claim = claims.get((entry.publication, entry.position))
        for name, what in _of_quantity(file, entry, claim):
            problems.add("claims.yaml", line_of((i, name)), f"{name}: {what}")


def _of_quantity(
    file: QuantitiesFile, entry: ClaimFacts, claim: ClaimRow | None
) -> Iterator[tuple[str, str]]:
    """Yield each field of the entry that does not fit its quantity, with why."""
    quantity = file.by_slug.get(entry.quantity)
    if quantity is None:
        yield "quantity", f"{entry.quantity} is unknown"
    if entry.unit not in file.units:
        yield "unit", f"{entry.unit} is unknown"
    elif quantity and claim:
        if quantity.axis == AxisKind.VALUE and on_axis(file, quantity, entry, claim.value) is None:
            yield "unit", f"{entry.unit} cannot stand on an axis in {quantity.axis_unit}"
        found = factor(entry.ratio_rule, claim.value)
        if found and entry.ratio and abs(found / entry.ratio - 1) > ROUNDING:
            yield "ratio", f"{entry.ratio_rule} makes {found:.4g} of {claim.value:g}"
