"""Counts of the review's evidence by strategy and class; extensions are not counted."""

from collections.abc import Collection

from django.db import connection

from reviewapp.corpus.choices import Membership

# Each publication once, or (pivot "class") once in each of its classes.
SCOPES = {
    pivot: f"""
        SELECT publication_id, strategies, {class_id} AS class_id
        FROM taxonomy_publicationfacets WHERE membership <> '{Membership.EXTENSION}'"""  # noqa: S608
    for pivot, class_id in (("family", "NULL::int"), ("class", "unnest(classes)"))
}

# One scan for every set of strategies, where COUNT(DISTINCT) would sort all links for each level.
UNDER_SETS = """
    SELECT class_id, {counts} FROM ({scope}) AS scope GROUP BY class_id
"""
# Most sets are one strategy, and nothing is counted twice there.
UNDER_ONE = """
    SELECT class_id, strategy_id, count(*)
    FROM ({scope}) AS scope, unnest(strategies) AS strategy_id
    GROUP BY class_id, strategy_id
"""

# Should a table ever be empty, nothing is remembered.
NAME = "(SELECT coalesce(string_agg(id::text, ' ' ORDER BY id), gen_random_uuid()::text) FROM {})"
TAXONOMY, FINDINGS = (NAME.format(f"{of}_revision") for of in ("taxonomy", "findings"))

ANY = frozenset[int]()


def revision() -> str:
    """Return the name of the present state of the taxonomy and its evidence.

    Every committed change gives a new name, so what is remembered under a name is never stale.
    Read the name first and the evidence after it.
    """
    (name,) = _read(TAXONOMY)
    return name


def findings_revision() -> str:
    """Return the name of the present state of what was found here, to be used as `revision()` is.

    It changes with outcomes of claims, and with what else the rooms above have found.
    """
    (name,) = _read(FINDINGS)
    return name


def revisions() -> tuple[str, str]:
    """Return what `revision()` and `findings_revision()` do, in one query."""
    state, findings = _read(TAXONOMY, FINDINGS)
    return state, findings


def _read(*names: str) -> tuple[str, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(names)}")
        found: tuple[str, ...] = cursor.fetchone()
    return found


def publications_under(
    pivot: str, sets: Collection[frozenset[int]]
) -> dict[tuple[int | None, frozenset[int]], int]:
    """Return the number of publications filed under at least one strategy of each set, if any.

    The keys are (class id, set of strategy ids); the class id is None unless the pivot is
    "class". ANY stands for all publications, filed under a strategy or not.
    """
    several = [some for some in sets if len(some) > 1]
    tests = ["TRUE", *["strategies && %s::int[]"] * len(several)]
    counts = ", ".join(f"count(*) FILTER (WHERE {test})" for test in tests)
    scope = SCOPES[pivot]
    found: dict[tuple[int | None, frozenset[int]], int] = {}
    with connection.cursor() as cursor:
        cursor.execute(UNDER_SETS.format(counts=counts, scope=scope), list(map(sorted, several)))
        for class_id, *counted in cursor.fetchall():
            found.update(zip(((class_id, some) for some in (ANY, *several)), counted, strict=True))
        cursor.execute(UNDER_ONE.format(scope=scope))
        found.update({(class_id, frozenset([one])): n for class_id, one, n in cursor.fetchall()})
    return found
