"""Counts of the review's evidence by strategy, class and objective; extensions are not counted."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection

# Each publication once, or (pivot "class") once in each of its classes.
SCOPES = {
    "family": """
        SELECT publication_id, strategies, NULL::int AS class_id
        FROM taxonomy_publicationfacets WHERE membership <> 'extension'""",
    "class": """
        SELECT publication_id, strategies, unnest(classes) AS class_id
        FROM taxonomy_publicationfacets WHERE membership <> 'extension'""",
}

# One scan for every node of the tree, where COUNT(DISTINCT) would sort all links for each level.
PUBLICATIONS = """
    SELECT class_id, {counts} FROM ({scope}) AS scope GROUP BY class_id
"""

CELLS = """
    WITH scope AS ({scope}), claims AS (
        SELECT publication_id, objective, count(*) AS n
        FROM taxonomy_claim GROUP BY publication_id, objective
    )
    SELECT class_id, strategy_id, objective, count(*), sum(n)::bigint
    FROM taxonomy_evidence JOIN claims USING (publication_id) JOIN scope USING (publication_id)
    GROUP BY class_id, strategy_id, objective
"""

# Should the table ever be empty, nothing is remembered.
REVISION = """
    SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), gen_random_uuid()::text)
    FROM taxonomy_revision
"""

ANY = frozenset[int]()


@dataclass(frozen=True)
class Cell:
    """How many publications make a claim, and how many claims they make."""

    publications: int
    claims: int


def revision() -> str:
    """Return the name of the present state of the taxonomy and its evidence.

    Every committed change gives a new name, so what is remembered under a name is never stale.
    Read the name first and the evidence after it.
    """
    with connection.cursor() as cursor:
        cursor.execute(REVISION)
        return str(cursor.fetchone()[0])


def publications_under(
    pivot: str, sets: Sequence[frozenset[int]]
) -> dict[tuple[int | None, frozenset[int]], int]:
    """Return the number of publications filed under at least one strategy of each set.

    The keys are (class id, set of strategy ids); the class id is None unless the pivot is
    "class". ANY stands for all publications, filed under a strategy or not.
    """
    sets = [ANY, *sets]
    tests = ["TRUE" if some == ANY else "strategies && %s::int[]" for some in sets]
    counts = ", ".join(f"count(*) FILTER (WHERE {test})" for test in tests)
    with connection.cursor() as cursor:
        cursor.execute(
            PUBLICATIONS.format(counts=counts, scope=SCOPES[pivot]),
            [sorted(some) for some in sets if some != ANY],
        )
        rows = cursor.fetchall()
    return {
        (class_id, some): n
        for class_id, *counted in rows
        for some, n in zip(sets, counted, strict=True)
    }


def cells(pivot: str) -> dict[tuple[int | None, int, str], Cell]:
    """Return the non-empty cells of the gap map, by (class id, strategy id, objective)."""
    with connection.cursor() as cursor:
        cursor.execute(CELLS.format(scope=SCOPES[pivot]))
        rows = cursor.fetchall()
    return {
        (class_id, strategy, objective): Cell(publications, claims)
        for class_id, strategy, objective, publications, claims in rows
    }
