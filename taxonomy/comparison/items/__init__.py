"""What is known of each kind of thing that can be compared, beside its claims and runs."""

from functools import lru_cache

from taxonomy.comparison.items.branches import describe_branches
from taxonomy.comparison.items.publications import describe_publications
from taxonomy.comparison.items.strategies import describe_strategies
from taxonomy.comparison.selection import PUBLICATION, STRATEGY, ItemKind
from taxonomy.comparison.table import Described


@lru_cache(64)
def describe(kind: ItemKind, slugs: tuple[str, ...], state: str) -> Described:
    """Return what is known of the items of a kind with these slugs, in this order.

    It is remembered while `queries.revision()` says `state`.
    """
    if kind == STRATEGY:
        return describe_strategies(slugs)
    if kind == PUBLICATION:
        return describe_publications(slugs)
    return describe_branches(kind, slugs)
