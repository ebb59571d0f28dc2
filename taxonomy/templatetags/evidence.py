"""Filters for the chart and the table of a strategy's claims."""

from collections.abc import Mapping

from django import template

from taxonomy.claims.evidence.wording import factor, inside, spelled

register = template.Library()
register.filter(factor)
register.filter(inside)
register.filter(spelled)


@register.filter
def unlocalized(value: float) -> str:
    """Return a position in per cent as SVG reads it: "37.5"."""
    return f"{value:g}"


@register.filter
def scope(counts: Mapping[str, int], name: str) -> int:
    """Return how many claims have the scope."""
    return counts.get(name, 0)
