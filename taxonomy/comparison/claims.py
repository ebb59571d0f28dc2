"""The claims of what is compared, by axis and scope, counted and ranged by PostgreSQL.

A strategy of a large corpus has tens of thousands of claims: only their counts and ends, and a
few examples with their sources, ever leave the database.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from django.db import connection

from reviewapp.ui.units import rounded
from taxonomy.choices import AxisKind, DeviceRole, Scope
from taxonomy.comparison.selection import KindName
from taxonomy.models import Axis, Claim

SHOWN = 3  # claims of each item, axis and scope that are named
SCOPES = Scope.values

# Which claims are whose. Under a strategy, and what it belongs to, stands only what is attributed.
ATTRIBUTED = """
SELECT DISTINCT {owner} AS item, a.claim_id
FROM taxonomy_attribution a
JOIN taxonomy_strategy s ON s.id = a.strategy_id
JOIN taxonomy_group g ON g.id = s.group_id
WHERE a.counted AND {owner} = ANY (%s)
"""
LINKS: Mapping[KindName, str] = {
    "strategy": ATTRIBUTED.format(owner="a.strategy_id"),
    "group": ATTRIBUTED.format(owner="s.group_id"),
    "family": ATTRIBUTED.format(owner="g.family_id"),
    "class": """
SELECT t.taxonomyclass_id AS item, c.id AS claim_id
FROM taxonomy_taxonomyclass_publications t
JOIN taxonomy_claim c ON c.publication_id = t.publication_id
WHERE t.taxonomyclass_id = ANY (%s)
""",
    "publication": """
SELECT publication_id AS item, id AS claim_id FROM taxonomy_claim WHERE publication_id = ANY (%s)
""",
}


def linked(kind: KindName) -> str:
    """Return the SQL that begins with `link`: each item's claims; its parameter is the ids.

    Those of extensions are among them, as on the page of a strategy, and are named as such.
    """
    return f"""
WITH link AS (
    SELECT own.item, c.* FROM ({LINKS[kind]}) AS own JOIN taxonomy_claim c ON c.id = own.claim_id
)
"""  # noqa: S608 - made of constants


SUMMARIES = """
SELECT item, axis_id, scope, count(*), count(plotted),
       min(LEAST(plotted, other_plotted)), max(GREATEST(plotted, other_plotted))
FROM link GROUP BY 1, 2, 3
"""
EXAMPLES = """
SELECT item, id FROM (
    SELECT item, id, row_number() OVER (
        PARTITION BY item, axis_id, scope ORDER BY plotted DESC NULLS LAST, id
    ) AS place
    FROM link WHERE axis_id = ANY (%s)
) AS placed
WHERE place <= %s ORDER BY item, place, id
"""
HARDWARE = f"""
SELECT item, d.name, count(DISTINCT link.id)
FROM link LEFT JOIN taxonomy_claimdevice d
    ON d.claim_id = link.id AND d.role = '{DeviceRole.STATED}'
GROUP BY 1, 2 ORDER BY 3 DESC, 2
"""  # noqa: S608 - made of constants


@dataclass(frozen=True)
class Tally:
    """How many claims an item has of one axis and scope, and between which ends they lie.

    `drawn` counts those that have a place on the axis; without any there are no ends.
    """

    count: int
    drawn: int
    low: float | None
    high: float | None

    @property
    def ends(self) -> list[str]:
        """Return the ends as they are written: one where both read alike."""
        ends = (rounded(end) for end in (self.low, self.high) if end is not None)
        return list(dict.fromkeys(ends))


# By scope, in the order of the scopes.
Tallies = Mapping[str, Tally]


@dataclass(frozen=True)
class Claims:
    """What is claimed of the items: tallies and examples by axis and item; devices by item.

    A device's name is None where a claim's own words name none.
    """

    axes: Sequence[Axis]
    tallies: Mapping[int, Mapping[int, Tallies]]
    examples: Mapping[tuple[int, int], Sequence[Claim]]
    hardware: Mapping[int, Sequence[tuple[str | None, int]]]

    def of(self, axis: Axis, item: int) -> Tallies:
        """Return the tallies of one axis of an item; empty where it has no claim of it."""
        return self.tallies[axis.pk].get(item, {})

    def count(self, item: int, *scopes: str) -> int:
        """Return how many claims the item has of these scopes."""
        of_axes = (found.get(item, {}) for found in self.tallies.values())
        return sum(of.count for found in of_axes for scope, of in found.items() if scope in scopes)


@lru_cache(64)
def claims_of(kind: KindName, items: tuple[int, ...], state: str) -> Claims:
    """Return the claims of these items, remembered while `queries.revision()` says `state`."""
    found: dict[int, dict[int, dict[str, Tally]]] = defaultdict(lambda: defaultdict(dict))
    hardware: dict[int, list[tuple[str | None, int]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(linked(kind) + SUMMARIES, [list(items)])
        rows = sorted(cursor.fetchall(), key=lambda row: SCOPES.index(row[2]))
        for item, axis, scope, *tally in rows:
            found[axis][item][scope] = Tally(*tally)
        cursor.execute(linked(kind) + HARDWARE, [list(items)])
        for item, name, count in cursor:
            hardware[item].append((name, count))
    axes = Axis.objects.filter(pk__in=list(found)).select_related("quantity")
    return Claims(tuple(axes), found, examples(kind, items, list(found), SHOWN), hardware)


def examples(
    kind: KindName, items: Sequence[int], axes: Sequence[int], limit: int
) -> dict[tuple[int, int], list[Claim]]:
    """Return for each axis and item its `limit` highest claims of each scope, highest first."""
    with connection.cursor() as cursor:
        cursor.execute(linked(kind) + EXAMPLES, [list(items), list(axes), limit])
        chosen = cursor.fetchall()
    claims = _read({claim for _, claim in chosen})
    found: dict[tuple[int, int], list[Claim]] = defaultdict(list)
    for item, pk in chosen:
        found[claims[pk].axis_id, item].append(claims[pk])
    return found


def _read(ids: set[int]) -> dict[int, Claim]:
    words = ("value", "unit", "qualifier", "baseline", "hardware", "model", "metric", "conditions")
    place = ("axis", "position", "scope", "plotted", "other_plotted", "other_end")
    about = ("key", "artifact_name", "year", "membership")
    source = (f"publication__{name}" for name in about)
    claims = Claim.objects.filter(pk__in=ids).select_related("publication")
    return {claim.pk: claim for claim in claims.only(*words, *place, *source)}


def unit_of(axis: Axis) -> str:
    """Return the unit of the axis: "x" where factors stand on it."""
    return "x" if axis.quantity.axis_kind == AxisKind.RATIO else axis.quantity.axis_unit
