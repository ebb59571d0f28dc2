"""Things of one kind side by side: what is chosen, what is known of them, how it is shown."""

from functools import lru_cache

from taxonomy.comparison.charts import axes_to_draw, charts_html, why_not_drawn
from taxonomy.comparison.claims import claims_of
from taxonomy.comparison.effects import effect_sections
from taxonomy.comparison.items import describe
from taxonomy.comparison.items.branches import quantity_section
from taxonomy.comparison.items.measured import measured_sections
from taxonomy.comparison.selection import BRANCHES, ComparisonSelection, ItemKind
from taxonomy.comparison.support import bottom_line, support_section, tried_here
from taxonomy.comparison.table import ComparisonTable, Section
from taxonomy.queries import revisions


def compare(selection: ComparisonSelection) -> ComparisonTable:
    """Return the comparison of the items selected, which must exist."""
    kind, (state, findings) = selection.kind, revisions()
    described = describe(kind, selection.slugs, state)
    ids = tuple(described.names)
    claims = claims_of(kind.name, ids, state)
    tried = tried_here(kind.name, ids, state, findings)
    shared, one_sided = _reported(kind, ids, state)
    comparison = ComparisonTable(
        described.items,
        (
            bottom_line(claims, tried, ids),
            *shared,
            support_section(claims, tried, ids),
            *described.sections,
            *measured_sections(kind.name, selection.slugs),
        ),
        one_sided,
        why_not_drawn(axes_to_draw(claims)),
        lambda: charts_html(kind.name, tuple(described.names.items()), state),
    )
    return comparison.relative_to(selection.baseline) if selection.baseline else comparison


@lru_cache(64)
def _reported(
    kind: ItemKind, ids: tuple[int, ...], state: str
) -> tuple[tuple[Section, ...], tuple[Section, ...]]:
    """Return what is claimed of several of the items, and what of one alone."""
    claims = claims_of(kind.name, ids, state)
    if kind in BRANCHES:
        return (quantity_section(claims, ids),), ()
    return (
        tuple(effect_sections(claims, ids, one_sided=False)),
        tuple(effect_sections(claims, ids, one_sided=True)),
    )
