"""The explorer: the gap map, what it comes to, and the tree."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import as_csv, as_json, download, provenance
from taxonomy.explorer.asked import asked_view
from taxonomy.explorer.gap_map import HERE, REFUTED, Cell, Row
from taxonomy.explorer.tree import Node

MAP_HEADER = (
    "class",
    "family",
    "group",
    "strategy",
    "objective",
    "publications",
    "claims",
    "filed",
    "extensions",
    "claims_for_cpu",
    "strongest",
    "tried",
)

TRIED = {HERE: "tried here", REFUTED: "not reproduced"}


@require_safe
@vary_on_headers("HX-Request")
def explorer(request: HttpRequest) -> HttpResponse:
    """Show the gap map, what it comes to, and the tree with its selection."""
    view = asked_view(request.GET)
    context = {
        "view": view,
        "found": view.root.named_like(view.q) if view.q else view.root,
        "select": request.path + view.select_address,
        "selected_key": view.selected_key,
        "marked": view.marked,
    }
    fragment = request.htmx and not request.htmx.history_restore_request  # type: ignore[attr-defined]
    template = "taxonomy/_explorer.html" if fragment else "taxonomy/explorer.html"
    return render(request, template, context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def export_explorer(request: HttpRequest, extension: str) -> HttpResponse:
    """Return the gap map of the selection, one row for each cell; as JSON also the tree."""
    view = asked_view(request.GET)
    rows = [_cell_row(row, cell) for row in view.exported for cell in row.cells]
    about = provenance(request)
    if extension == "json":
        cells = [dict(zip(MAP_HEADER, row, strict=True)) for row in rows]
        content = as_json({"tree": _branch(view.selected or view.root), "gap_map": cells}, about)
    else:
        content = as_csv(MAP_HEADER, rows, about)
    return download(content, "taxonomy", extension)


def _cell_row(row: Row, cell: Cell) -> tuple[str | int, ...]:
    """Return the cell in the order of MAP_HEADER; the class is empty with families first."""
    slugs = {node.level: node.slug for node in row.path}
    place = (slugs.get("class", ""), slugs["family"], slugs["group"], row.node.slug)
    count = cell.count
    counts = (count.publications, count.claims, row.filed, count.extensions, cell.on_cpu)
    return (*place, cell.objective.value, *counts, cell.in_words, TRIED.get(cell.tried, ""))


def _branch(node: Node) -> dict[str, Any]:
    return {
        "level": node.level,
        "slug": node.slug,
        "name": node.name,
        "definition": node.definition,
        "grade": node.grade,
        "publications_direct": node.direct,
        "publications": node.publications,
        "children": [_branch(child) for child in node.children],
    }
