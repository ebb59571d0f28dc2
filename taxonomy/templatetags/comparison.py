"""The cells of a comparison as HTML; a template for each took longer than all of the SQL."""

from collections.abc import Sequence
from functools import lru_cache
from html import escape

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from reviewapp.ui.templatetags.ui import grade
from taxonomy.comparison.table import Cell, Item, Part, Row

register = template.Library()


DIFFERS = mark_safe(
    '<span class="mark" title="This row differs"><span aria-hidden="true">≠</span>'
    '<span class="visually-hidden">Differs: </span></span> '
)


@register.simple_tag
def comparison_row(row: Row, items: Sequence[Item], baseline: str = "") -> SafeString:
    """Show a property of every item; on narrow screens each cell names its item."""
    note = format_html('<span class="row-note">{}</span>', row.note) if row.note else ""
    mark = DIFFERS if row.differs else ""
    cells = format_html_join(
        "",
        '<td data-item="{}">{}</td>',
        ((item.name, _cell(cell, baseline)) for item, cell in zip(items, row.cells, strict=True)),
    )
    return format_html('<tr><th scope="row">{}{}{}</th>{}</tr>', mark, row.label, note, cells)


@lru_cache(2048)
def _cell(cell: Cell, baseline: str) -> SafeString:
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
    # A page has over a thousand of these, and format_html for each takes as long as the SQL.
    items = "".join(
        f'<li><a href="{escape(part.href)}">{escape(part.text)}</a> {escape(part.note)}</li>'
        for part in cell.details
    )
    return mark_safe(f"<details><summary>{label}</summary><ul>{items}</ul></details>")  # noqa: S308
