"""How many publications each choice of a facet would show, given the other facets."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import connection

from taxonomy.models import BLOCK, Claim
from taxonomy.publications.filter import PublicationFilter

NONE = f"0::bit({BLOCK})"
FEW = 1000  # publications that are found faster by their ids

EVERYTHING = "SELECT block, bit_or(bits) AS bits FROM now WHERE claim IS NULL GROUP BY block"
FOUND = f"""
    SELECT id / {BLOCK} AS block, bit_or(facets_bit(id)) AS bits FROM ({{found}}) AS f (id)
    GROUP BY 1"""  # noqa: S608

# Every set is the bits of the publications in it, block by block. `scope` has, for each facet,
# how many other facets of publications and of claims a visitor has chosen something of: what is
# kept by all of these is what the facet is counted within. The empty facet stands for no facet,
# and nothing is left out for it. Of claims there is a set for each position that a claim may have,
# so that one and the same claim has to be in all of them.
# A set that lacks one of the filters is empty, where HAVING would leave it out: PostgreSQL would
# expect hardly any to be left, and join what is left row by row.
COUNT = f"""
WITH now AS MATERIALIZED (SELECT * FROM facets_now()), chosen AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS c (facet text, value jsonb)
), scope AS (
    SELECT * FROM jsonb_to_recordset(%s::jsonb) AS s (facet text, publications int, claims int)
), kept AS (
    SELECT facet, block, claim, bit_or(bits) AS bits
    FROM now JOIN chosen USING (facet, value) GROUP BY facet, block, claim
), claims AS (
    SELECT scope.facet, block, claim,
        CASE count(*) WHEN scope.claims THEN bit_and(bits) ELSE {NONE} END AS bits
    FROM scope JOIN kept ON kept.facet <> scope.facet AND claim IS NOT NULL
    GROUP BY scope.facet, scope.claims, block, claim
), publications AS (
    SELECT scope.facet, scope.claims, found.block,
        CASE count(kept.bits) WHEN scope.publications
            THEN found.bits & coalesce(bit_and(kept.bits), found.bits) ELSE {NONE} END AS bits
    FROM scope CROSS JOIN ({{found}}) AS found LEFT JOIN kept
        ON kept.block = found.block AND kept.facet <> scope.facet AND kept.claim IS NULL
    GROUP BY scope.facet, scope.claims, scope.publications, found.block, found.bits
), passing AS (
    SELECT facet, p.claims, block, bit_or(CASE p.claims WHEN 0 THEN p.bits ELSE p.bits & c.bits END)
        AS bits
    FROM publications AS p LEFT JOIN claims AS c USING (facet, block)
    GROUP BY facet, p.claims, block
), having_value AS (
    SELECT facet, value, block, bit_or(
        p.bits & CASE WHEN claim IS NULL OR p.claims = 0 THEN v.bits ELSE v.bits & c.bits END
    ) AS bits
    FROM passing AS p JOIN now AS v USING (facet, block)
        LEFT JOIN claims AS c USING (facet, block, claim)
    GROUP BY facet, value, block
), few AS (
    SELECT block * {BLOCK} + n AS id FROM passing, generate_series(0, {BLOCK} - 1) AS n
    WHERE facet = '' AND bit_count(bits) > 0 AND get_bit(bits, n) = 1 LIMIT {FEW} + 1
)
SELECT facet, value, sum(bit_count(bits))::bigint AS n FROM having_value GROUP BY facet, value
UNION ALL
SELECT '', (SELECT jsonb_agg(id) FROM few), sum(bit_count(bits))::bigint
FROM passing WHERE facet = ''
"""  # noqa: S608


@dataclass(frozen=True)
class Counts:
    """Publications per stored value of each facet, and those that pass every filter.

    `few` has the ids of these if they are at most FEW.
    """

    by_facet: dict[str, Counter[Any]]
    total: int
    counted: int  # of the total, those in the review's own set
    few: list[int] | None


def count(shown: PublicationFilter) -> Counts:
    """Count every facet in one query."""
    by_facet: dict[str, Counter[Any]] = {one.facet.key: Counter() for one in shown.filters}
    total = 0
    few: list[int] = []
    for facet, value, n in _counted(shown):
        if not facet:
            total, few = n or 0, value or []
        elif n:
            by_facet[facet][value] += n
    return Counts(by_facet, total, by_facet["counted"][True], few if total <= FEW else None)


def _counted(shown: PublicationFilter) -> Iterator[tuple[str, Any, int | None]]:
    """Yield what COUNT says."""
    chosen = [
        {"facet": one.facet.key, "value": value} for one in shown.active for value in one.stored
    ]
    scopes = [_scope(shown, one.facet.key) for one in shown.filters] + [_scope(shown, "")]
    found = EVERYTHING
    params: tuple[Any, ...] = ()
    if shown.search:
        matching = shown.search.publications().order_by().values("pk")
        sql, params = matching.query.sql_with_params()
        found = FOUND.format(found=sql)
    with connection.cursor() as cursor:
        cursor.execute(COUNT.format(found=found), [json.dumps(chosen), json.dumps(scopes), *params])
        for facet, value, n in cursor.fetchall():
            yield facet, json.loads(value or "null"), n


def _scope(shown: PublicationFilter, facet: str) -> dict[str, Any]:
    """Return in how many facets but this one something is chosen."""
    others = [one.facet.model for one in shown.active if one.facet.key != facet]
    claims = others.count(Claim)
    return {"facet": facet, "publications": len(others) - claims, "claims": claims}
