"""What the gap map counts: publications with attributed claims, by strategy and objective."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from reviewapp.corpus.choices import Membership
from taxonomy.choices import CPU_CAN_TRY, EFFECTS
from taxonomy.explorer.chosen import Chosen, Memory

OF_CLASSES = """
    ARRAY(SELECT id FROM taxonomy_taxonomyclass WHERE slug = ANY(%(classes)s))::int[] <@ classes
"""
CLAIMS = {
    "": "TRUE",
    Memory.AT_MOST: "device_gb <= %(gb)s",
    Memory.AT_LEAST: "device_gb >= %(gb)s",
    Memory.NOT_STATED: "device_gb IS NULL",
}
CLASS_ID = {"family": "NULL::int", "class": "unnest(classes)"}
# From the strongest evidence to the weakest; only these three are effects of a strategy. The claims
# of each are counted in a column of its name.
STRONGEST = [str(scope) for scope in EFFECTS]
BY_SCOPE = [scope.name.lower() for scope in EFFECTS]

CHOSEN = """
    SELECT publication_id, strategies, {class_id} AS class_id,
           membership = ANY(%(members)s) AS counts
    FROM taxonomy_publicationfacets WHERE {publications}
"""
# What each publication claims of a strategy about an objective, as PublicationEffect has it, or of
# the claims that pass.
KEPT = "taxonomy_publicationeffect"
CLAIMS_OF_SCOPE = "count(*) FILTER (WHERE scope = '{scope}') AS {column}"
EFFECT_ROWS = """
    SELECT publication_id, strategy_id, objective,
           {by_scope},
           count(*) FILTER (WHERE testable = ANY(%(cpu)s)) AS on_cpu,
           row_number() OVER (PARTITION BY publication_id, objective ORDER BY strategy_id) = 1
               AS first
    FROM taxonomy_attribution AS a JOIN taxonomy_claim AS c ON c.id = a.claim_id
    WHERE a.counted AND scope = ANY(%(scopes)s) AND {claims}
    GROUP BY publication_id, strategy_id, objective
"""
CELLS = """
    SELECT class_id, strategy_id, objective, count(*) FILTER (WHERE counts),
           {sums}, coalesce(sum(on_cpu) FILTER (WHERE counts), 0)::int,
           count(*) FILTER (WHERE NOT counts), {sums_of_extensions}
    FROM {effects} AS effects JOIN ({chosen}) AS chosen USING (publication_id)
    GROUP BY class_id, strategy_id, objective
"""
SUM = "coalesce(sum({column}) FILTER (WHERE {which}), 0)::int"
OBJECTIVES = """
    SELECT objective, count(*)
    FROM {effects} AS effects JOIN ({chosen}) AS chosen USING (publication_id)
    WHERE first AND counts GROUP BY objective
"""
JUDGED = """
    SELECT class_id, strategy_id, objective, claim_id, testable = ANY(%(cpu)s)
    FROM taxonomy_attribution AS a JOIN taxonomy_claim AS c ON c.id = a.claim_id
    JOIN ({chosen}) AS chosen USING (publication_id)
    WHERE a.counted AND counts AND claim_id = ANY(%(judged)s) AND {claims}
"""
BEHIND = """
    SELECT claim_id FROM taxonomy_attribution AS a JOIN taxonomy_claim AS c ON c.id = a.claim_id
    JOIN ({chosen}) AS chosen USING (publication_id)
    WHERE a.counted AND a.strategy_id = %(strategy)s AND scope = ANY(%(scopes)s) AND {claims}
        AND (%(objective)s = '' OR objective = %(objective)s)
"""
FILED = """
    SELECT class_id, strategy_id, count(*)
    FROM ({chosen}) AS chosen, unnest(strategies) AS strategy_id
    WHERE counts GROUP BY class_id, strategy_id
"""

Place = tuple[int | None, int, str]


@dataclass(frozen=True)
class Count:
    """The publications and claims of one cell, the strongest scope, and what a CPU could try.

    Extensions are apart. A scope is empty where there is no claim.
    """

    publications: int
    claims: int
    scope: str
    on_cpu: int
    extensions: int
    scope_of_extensions: str


@dataclass(frozen=True)
class Effect:
    """A claim in one cell, and whether a CPU could try it."""

    place: Place
    claim: int
    on_cpu: bool


def cells(pivot: str, chosen: Chosen) -> dict[Place, Count]:
    """Return the cells with a claim by (class id, strategy id, objective).

    The class id is None unless the pivot is "class".
    """
    n = len(BY_SCOPE)
    found = {}
    for class_id, strategy, objective, publications, *counts in _rows(CELLS, pivot, chosen):
        claims, (on_cpu, extensions), theirs = counts[:n], counts[n : n + 2], counts[n + 2 :]
        found[class_id, strategy, objective] = Count(
            publications, sum(claims), _strongest(claims), on_cpu, extensions, _strongest(theirs)
        )
    return found


def effects(pivot: str, chosen: Chosen, claims: Collection[int]) -> list[Effect]:
    """Return in which cells these claims are counted; extensions are left out."""
    return [
        Effect((class_id, strategy, objective), claim, on_cpu)
        for class_id, strategy, objective, claim, on_cpu in _rows(
            JUDGED, pivot, chosen, judged=list(claims)
        )
    ]


def claims_behind(strategy: int, objective: str, chosen: Chosen) -> list[int]:
    """Return the claims that a cell counts, or a whole row where no objective is given.

    Those of extensions are among them.
    """
    return [
        claim
        for (claim,) in _rows(BEHIND, "family", chosen, strategy=strategy, objective=objective)
    ]


def filed(pivot: str, chosen: Chosen) -> dict[tuple[int | None, int], int]:
    """Return the number of publications under each strategy, with or without a claim."""
    return {(class_id, strategy): n for class_id, strategy, n in _rows(FILED, pivot, chosen)}


def publications_by_objective(chosen: Chosen) -> dict[str, int]:
    """Return the number of publications that claim an effect, each once, by objective."""
    return dict(_rows(OBJECTIVES, "family", chosen))


def _rows(sql: str, pivot: str, chosen: Chosen, **more: Any) -> list[Any]:
    """Return the rows of one of the queries above, of what is chosen."""
    parts = {
        "claims": CLAIMS[chosen.memory],
        "chosen": CHOSEN.format(class_id=CLASS_ID[pivot], publications=_conditions(chosen)),
        "sums": _sums("counts"),
        "sums_of_extensions": _sums("NOT counts"),
        "effects": KEPT,
    }
    if chosen.memory:
        by_scope = ", ".join(
            CLAIMS_OF_SCOPE.format(scope=scope, column=column)
            for scope, column in zip(STRONGEST, BY_SCOPE, strict=True)
        )
        parts["effects"] = f"({EFFECT_ROWS.format(by_scope=by_scope, claims=parts['claims'])})"
    with connection.cursor() as cursor:
        cursor.execute(sql.format(**parts), {**_parameters(chosen), **more})
        return cursor.fetchall()


def _conditions(chosen: Chosen) -> str:
    """Return the SQL conditions on publications; extensions pass, to be shown as such."""
    conditions = ["(membership = ANY(%(members)s) OR membership = %(extension)s)"]
    if chosen.classes:
        conditions.append(OF_CLASSES)
    if chosen.first is not None:
        conditions.append("year >= %(first)s")
    if chosen.last is not None:
        conditions.append("year <= %(last)s")
    return " AND ".join(conditions)


def _parameters(chosen: Chosen) -> dict[str, Any]:
    return {
        "classes": list(chosen.classes),
        "first": chosen.first,
        "last": chosen.last,
        "gb": chosen.gb,
        "members": list(map(str, chosen.members)),
        "extension": str(Membership.EXTENSION),
        "scopes": STRONGEST,
        "cpu": list(map(str, CPU_CAN_TRY)),
    }


def _sums(which: str) -> str:
    return ", ".join(SUM.format(column=column, which=which) for column in BY_SCOPE)


def _strongest(claims: Sequence[int]) -> str:
    """Return the strongest scope of which there are claims; empty if there are none."""
    return next((scope for scope, n in zip(STRONGEST, claims, strict=True) if n), "")
