"""The cells of a comparison as HTML; a template for each took longer than all of the SQL."""

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from reviewapp.ui.templatetags.ui import grade
from taxonomy.comparison.table import Cell, Part

register = template.Library()


@register.simple_tag
def comparison_cell(cell: Cell, baseline: str = "") -> SafeString:
    """Show what a cell says, or a dash with the reason; then its distance from the baseline."""
    if cell.missing:
        return format_html(
            '<span class="missing" title="{0}">—<span class="visually-hidden"> {0}</span></span>',
            cell.missing,
        )
    parts = format_html_join("", '<span class="part">{}</span>', ((_part(p),) for p in cell.parts))
    return format_html("{}{}{}", parts, _delta(cell, baseline), _details(cell))


def _part(part: Part) -> SafeString:
    shown = format_html('<a href="{}">{}</a>', part.href, part.text) if part.href else part.text
    if part.grade:
        shown = format_html("{} {}", shown, grade(part.grade, part.grade_meaning))
    note = format_html(' <span class="source">{}</span>', part.note) if part.note else ""
    return format_html("{}{}", shown, note)


def _delta(cell: Cell, baseline: str) -> SafeString | str:
    if not cell.delta:
        return ""
    return format_html(
        ' <span class="badge delta">{}<span class="visually-hidden"> relative to {}</span></span>',
        cell.delta,
        baseline,
    )


def _details(cell: Cell) -> SafeString | str:
    if not cell.details:
        return ""
    total = len(cell.details) + cell.more
    label = f"{len(cell.details)} of {total:,} sources" if cell.more else "Sources"
    sources = ((part.href, part.text, part.note) for part in cell.details)
    items = format_html_join("", '<li><a href="{}">{}</a> {}</li>', sources)
    return format_html("<details><summary>{}</summary><ul>{}</ul></details>", label, items)
