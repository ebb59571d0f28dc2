"""Strategies or publications side by side: what is chosen, what is known of it, how it is shown."""

from taxonomy.comparison.publications import compare_publications
from taxonomy.comparison.selection import STRATEGY, ComparisonSelection
from taxonomy.comparison.strategies import compare_strategies
from taxonomy.comparison.table import ComparisonTable


def compare(selection: ComparisonSelection) -> ComparisonTable:
    """Return the comparison of the items selected, which must exist."""
    make = compare_strategies if selection.kind == STRATEGY else compare_publications
    comparison = make(selection.slugs)
    return comparison.relative_to(selection.baseline) if selection.baseline else comparison
