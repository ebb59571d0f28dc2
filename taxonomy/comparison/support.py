"""What supports the claims: how strong they are, on what they were made, what came of them here."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from django.db import connection

from taxonomy.choices import EFFECTS, AxisKind, Qualifier, Scope, Status
from taxonomy.claims.outcomes import Standing, standings
from taxonomy.claims.words import in_words
from taxonomy.comparison.claims import Claims, Tally, linked
from taxonomy.comparison.effects import named
from taxonomy.comparison.selection import KindName
from taxonomy.comparison.table import Cell, Part, Row, Section
from taxonomy.models import Axis, Claim

HARDWARE_SHOWN = 6
STRENGTH_NOTE = (
    "Claims of extensions are among them and are named as such. Hardware is what a claim’s own"
    " words name, never that of its whole publication."
)
TRIED = """
SELECT item, id FROM link
WHERE EXISTS (SELECT FROM taxonomy_outcome o WHERE o.claim_id = link.id AND o.counts)
ORDER BY item, id
"""
CLAIMS = {
    Scope.ISOLATED: "isolated claim{}",
    Scope.COMBINED: "combined claim{}",
    Scope.AGAINST_ANOTHER: "claim{} against another system",
}
OUTCOMES = {**dict(Status.choices), Status.NOT_RUN: "not run, for a reason"}
NAMED = (
    *("value", "unit", "qualifier", "metric", "position", "scope", "study"),
    *(f"publication__{name}" for name in ("key", "artifact_name", "year", "membership")),
)  # fields by which a claim is told
Tried = Mapping[int, Sequence[Standing]]


@lru_cache(64)
def tried_here(kind: KindName, items: tuple[int, ...], _state: str, _findings: str) -> Tried:
    """Return for each item what runs here found of its claims, remembered under both revisions."""
    with connection.cursor() as cursor:
        cursor.execute(linked(kind) + TRIED, [list(items)])
        links = cursor.fetchall()
    claims = Claim.objects.filter(pk__in={claim for _, claim in links})
    found = standings(claims.select_related("publication").only(*NAMED))
    by_claim = {standing.claim.pk: standing for standing in found if standing.outcomes}
    of_items: dict[int, list[Standing]] = defaultdict(list)
    for item, claim in links:
        # A run may have been deleted since the links were read.
        if standing := by_claim.get(claim):
            of_items[item].append(standing)
    return of_items


def bottom_line(claims: Claims, tried: Tried, items: Sequence[int]) -> Section:
    """Return the sentence that sums up each item."""
    cells = (Cell((Part(_sentence(claims, item, tried.get(item, ()))),)) for item in items)
    return Section("In short", (Row("Bottom line", tuple(cells)),))


def _sentence(claims: Claims, item: int, tried: Sequence[Standing]) -> str:
    """Return "Ten isolated claims, 2 to 3 x memory reduction; one of them tried here."."""
    scope = next((scope for scope in EFFECTS if claims.count(item, scope)), None)
    if scope is None:
        return "No claim of an effect."
    count = claims.count(item, scope)
    plural = "" if count == 1 else "s"
    none = "" if scope == Scope.ISOLATED else "no isolated claim; "
    effects = f"{none}{in_words(count)} {CLAIMS[scope].format(plural)}".capitalize()
    judged = sum(one.is_tried and one.claim.scope == scope for one in tried)
    if count == 1:
        tried_words = "tried here" if judged else "not tried here"
    else:
        tried_words = f"{in_words(judged) if judged else 'none'} of them tried here"
    return f"{effects}{_best(claims, item, scope)}; {tried_words}."


def _best(claims: Claims, item: int, scope: Scope) -> str:
    """Return the factors of the quantity that most claims of the scope are about, or the first."""
    found = [
        (tally, axis)
        for axis in claims.axes
        if axis.quantity.axis_kind == AxisKind.RATIO
        if (tally := claims.of(axis, item).get(scope)) and tally.ends
    ]
    if not found:
        return ", none a factor"
    tally, axis = max(found, key=lambda one: one[0].drawn)
    highest = next(one for one in claims.examples[axis.pk, item] if one.scope == scope)
    return f", {_factors(tally, highest)} x {_lower(axis)}"


def _factors(tally: Tally, highest: Claim) -> str:
    """Return between which factors the claims lie: of one, or of a best case, as it is stated."""
    ends = tally.ends
    if (tally.drawn == 1 and len(ends) == 1) or highest.qualifier == Qualifier.UP_TO:
        return f"{highest.get_qualifier_display()} {ends[-1]}".strip()
    return " to ".join(ends)


def _lower(axis: Axis) -> str:
    name = str(axis)
    return name[0].lower() + name[1:]


def support_section(claims: Claims, tried: Tried, items: Sequence[int]) -> Section:
    """Return how many claims there are of each scope, their devices and their outcomes."""
    return Section(
        "Strength, hardware, tried here",
        (
            *_strength(claims, items),
            Row("Hardware seen", tuple(_hardware(claims.hardware.get(i, ())) for i in items)),
            Row("Tried here", tuple(_tried(tried.get(item, ())) for item in items)),
        ),
        STRENGTH_NOTE,
    )


def _strength(claims: Claims, items: Sequence[int]) -> Iterable[Row]:
    for scope in Scope:
        counts = [claims.count(item, scope) for item in items]
        if scope in EFFECTS or any(counts):
            cells = (Cell((Part(f"{count:,}"),), amount=count) for count in counts)
            yield Row(f"Claims, {scope.label}", tuple(cells))


def _hardware(seen: Sequence[tuple[str | None, int]]) -> Cell:
    names = [(name, count) for name, count in seen if name]
    missing = sum(count for name, count in seen if name is None)
    if not names:
        return Cell(missing="no claim names its device")
    parts = [Part(f"{name} ×{count:,}") for name, count in names[:HARDWARE_SHOWN]]
    if rest := len(names) - len(parts):
        parts.append(Part(f"and {rest:,} more"))
    if missing:
        parts.append(Part(f"device not stated ×{missing:,}"))
    return Cell(tuple(parts))


def _tried(found: Sequence[Standing]) -> Cell:
    if not found:
        return Cell(missing="no run here speaks to a claim")
    counts = Counter(standing.status for standing in found)
    return Cell(
        tuple(
            Part(f"{words} ×{counts[status]:,}")
            for status, words in OUTCOMES.items()
            if counts[status]
        ),
        details=tuple(_standing(standing) for standing in found),
    )


def _standing(standing: Standing) -> Part:
    claim = standing.claim
    note = f"{claim.as_stated}, {claim.metric}: {standing.in_words}"
    return Part(named(claim), claim.get_absolute_url(), note)
