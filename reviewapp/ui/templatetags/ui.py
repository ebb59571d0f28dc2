"""Template tags that every room uses: numbers with their source, grades, search hits, exports."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from django import template
from django.http import HttpRequest
from django.template.context import Context
from django.template.loader import render_to_string
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe

from reviewapp import __version__
from reviewapp.ui import bars, marks, plotly, svg
from reviewapp.ui.units import duration, number, rounded

register = template.Library()
register.filter(number)
register.filter(rounded)
register.filter(duration)
register.filter(plotly.figure)
register.filter(svg.drawing)
register.filter(marks.key)

EXPORT_NAMES = {
    "csv": "CSV (spreadsheet)",
    "json": "JSON",
    "bib": "BibTeX",
    "ris": "RIS",
    "csl.json": "CSL-JSON (Zotero, pandoc)",
    "tex": "LaTeX (booktabs)",
    "svg": "SVG (text stays text)",
    "png": "PNG (300 dpi)",
    "pdf": "PDF (vector)",
}


@register.simple_tag
def version() -> str:
    """Return the version of the site."""
    return __version__


def inline(name: str, **context: Any) -> SafeString:
    """Return a template without the white space around it, so that a comma may follow it."""
    return mark_safe(render_to_string(name, context).strip())  # noqa: S308 - a template escapes


@register.simple_tag
def quantity(
    value: float | str | None, unit: str = "", qualifier: str = "", source: str = ""
) -> SafeString:
    """Show a number with its unit, what it is qualified by ("up to") and its source.

    Without a number it is "not reported".
    """
    return inline(
        "ui/_quantity.html",
        value=None if value == "" else value,  # "" is what a template makes of an unknown name
        unit=unit,
        qualifier=qualifier,
        source=source,
    )


@register.simple_tag
def grade(value: str, meaning: str) -> SafeString:
    """Show how well a statement about the review is supported."""
    return inline("ui/_grade.html", grade=value, meaning=meaning)


@register.filter
def get(mapping: Mapping[str, Any], key: str) -> Any:
    """Return the value of a key that a template cannot write after a dot; None when absent."""
    return mapping.get(key)


@register.filter
def hits(text: str) -> SafeString:
    """Return the text escaped, with what a search marked (U+E000 to U+E001) inside <mark>."""
    escaped = conditional_escape(text)
    return mark_safe(  # noqa: S308 - escaped above, and the marks become fixed tags
        escaped.replace("\ue000", "<mark>").replace("\ue001", "</mark>")
    )


@register.inclusion_tag("ui/_bar.html")
def bar(parts: Iterable[tuple[Any, ...]], *, tall: bool = False) -> dict[str, Any]:
    """Show what is divided into parts as a bar: of each part its kind and its number.

    It is hidden from screen readers: the numbers stand beside it as text.
    """
    return {"pieces": bars.pieces((str(kind), n) for kind, n, *_ in parts), "tall": tall}


def _cell(cell: Any) -> str:
    if isinstance(cell, SafeString):
        return cell
    return escape("not reported" if cell is None else str(cell))


@register.simple_tag
def table_rows(rows: Iterable[Iterable[Any]]) -> SafeString:
    """Return table rows as HTML, None as "not reported", cells that are HTML as they are.

    A chart can have thousands of cells, for which a template's loop takes longer than the query.
    """
    lines = ("".join(f"<td>{_cell(cell)}</td>" for cell in row) for row in rows)
    return mark_safe("".join(f"<tr>{line}</tr>" for line in lines))  # noqa: S308 - escaped


@register.inclusion_tag("ui/_export.html", takes_context=True)
def export_menu(
    context: Context, base: str, formats: str, label: str = "Export", *, counted: bool = False
) -> dict[str, Any]:
    """Show links to `base`export.csv and so on, with the page's own query string.

    With `counted` the same formats are offered again without what the review does not count,
    unless the page shows no other.
    """
    request: HttpRequest = context["request"]
    query = request.GET.copy()
    links = _export_links(base, formats, query.urlencode())
    query["counted"] = "yes"
    again = counted and query != request.GET
    return {
        "label": label,
        "links": links,
        "counted": _export_links(base, formats, query.urlencode()) if again else [],
    }


def _export_links(base: str, formats: str, query: str) -> list[tuple[str, str]]:
    return [
        (f"{base}export.{name}{'?' if query else ''}{query}", EXPORT_NAMES[name])
        for name in formats.split()
    ]
