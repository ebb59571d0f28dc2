"""What is known of each kind of thing that can be compared, beside its claims."""

from collections.abc import Sequence

from taxonomy.comparison.items.branches import describe_branches
from taxonomy.comparison.items.publications import describe_publications
from taxonomy.comparison.items.strategies import describe_strategies
from taxonomy.comparison.selection import PUBLICATION, STRATEGY, ItemKind
from taxonomy.comparison.table import Described


def describe(kind: ItemKind, slugs: Sequence[str]) -> Described:
    """Return what is known of the items of a kind with these slugs, in this order."""
    if kind == STRATEGY:
        return describe_strategies(slugs)
    if kind == PUBLICATION:
        return describe_publications(slugs)
    return describe_branches(kind, slugs)
