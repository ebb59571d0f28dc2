"""The explorer: the taxonomy as tree, chart and gap map."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from reviewapp.limits.pages import EXPORTS_PER_MINUTE, limited
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.export import as_csv, as_json, download, provenance
from taxonomy.choices import Objective
from taxonomy.explorer.gap_map import GapMap, MapCell, gap_map
from taxonomy.explorer.icicle import icicle
from taxonomy.explorer.tree import Node, tree
from taxonomy.queries import revision

MAP_HEADER = ("class", "family", "group", "strategy", "objective", "publications", "claims")
DEFAULT = {"pivot": "family"}
PIVOTS = {"family": "Families first", "class": "Classes first"}


class ExplorerForm(forms.Form):
    """What the address of the explorer may ask for."""

    pivot = forms.ChoiceField(choices=list(PIVOTS.items()), required=False)
    select = forms.CharField(max_length=200, required=False)
    q = forms.CharField(max_length=200, required=False)


@dataclass(frozen=True)
class View:
    """What is shown: the pivot, the selected node with all above it, the tree search."""

    pivot: str
    root: Node
    path: list[Node]
    gaps: GapMap
    q: str

    @property
    def selected(self) -> Node | None:
        return self.path[-1] if self.path else None

    @property
    def branch(self) -> Node:
        """Return what the chart and the map show: the selection, or the group of a strategy."""
        return next((node for node in reversed(self.path) if node.children), self.root)

    @property
    def shown_gaps(self) -> GapMap:
        return self.gaps.below(self.branch) if self.path else self.gaps

    @property
    def without_search(self) -> str:
        return self.address(q="", select=self.selected.key if self.selected else "")

    def address(self, **changes: str) -> str:
        """Return the query string of this view with `changes`; defaults are left out."""
        now = {"pivot": self.pivot, "q": self.q, **changes}
        kept = {name: value for name, value in now.items() if value and value != DEFAULT.get(name)}
        return "?" + urlencode(kept)

    @property
    def select_address(self) -> str:
        """Return the query string that ends where the key of a node is to be added."""
        return self.address() + ("&" if len(self.address()) > 1 else "") + "select="

    @property
    def pivots(self) -> list[tuple[str, str, bool]]:
        """Return each pivot as address (with the same entry selected), name, whether it is on."""
        node = self.selected
        key = f"{node.level}:{node.slug}" if node and node.level != "class" else ""
        return [
            (self.address(pivot=pivot, select=key), name, pivot == self.pivot)
            for pivot, name in PIVOTS.items()
        ]


def asked_view(request: HttpRequest) -> View:
    """Return the view that the address asks for; raise BadRequest where it makes no sense."""
    asked = cleaned_or_400(ExplorerForm(request.GET))
    pivot = asked["pivot"] or DEFAULT["pivot"]
    state = revision()
    root = tree(pivot, state)
    path = _path(root, asked["select"])
    return View(pivot, root, path, gap_map(pivot, state), asked["q"])


def _path(root: Node, key: str) -> list[Node]:
    """Return the nodes below the root down to the one called `key`, or to the like of it.

    A key made in the other pivot differs only in the class after the @.
    """
    if not key:
        return []
    plain = key.partition("@")[0]
    alike = (node.key for node in root.walk() if f"{node.level}:{node.slug}" == plain)
    path = root.path_to(key) or root.path_to(next(alike, ""))
    if not path:
        raise BadRequest(f"There is no “{key}” in this order of the taxonomy.")
    return path[1:]


@require_safe
@vary_on_headers("HX-Request")
def explorer(request: HttpRequest) -> HttpResponse:
    """Show the tree, the icicle and the gap map, with one selection in all three."""
    view = asked_view(request)
    select = request.path + view.select_address
    selected = view.selected.key if view.selected else ""
    found = view.root.named_like(view.q) if view.q else view.root
    context = {
        "view": view,
        "found": found,
        "chart": icicle(view.root, view.branch, selected, select),
        "select": select,
        "selected_key": selected,
        "objectives": Objective.labels,
    }
    fragment = request.htmx and not request.htmx.history_restore_request  # type: ignore[attr-defined]
    template = "taxonomy/_explorer.html" if fragment else "taxonomy/explorer.html"
    return render(request, template, context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
def export_explorer(request: HttpRequest, extension: str) -> HttpResponse:
    """Return the gap map of the selection, one row for each cell; as JSON also the tree."""
    view = asked_view(request)
    rows = [
        _cell_row(section.path, row.node, cell)
        for section in view.shown_gaps.sections
        for row in section.rows
        for cell in row.cells
    ]
    about = provenance(request)
    if extension == "json":
        cells = [dict(zip(MAP_HEADER, row, strict=True)) for row in rows]
        content = as_json({"tree": _branch(view.selected or view.root), "gap_map": cells}, about)
    else:
        content = as_csv(MAP_HEADER, rows, about)
    return download(content, "taxonomy", extension)


def _cell_row(above: tuple[Node, ...], strategy: Node, cell: MapCell) -> tuple[str | int, ...]:
    """Return the cell in the order of MAP_HEADER; the class is empty with families first."""
    slugs = {node.level: node.slug for node in above}
    place = (slugs.get("class", ""), slugs["family"], slugs["group"], strategy.slug)
    return (*place, cell.objective, cell.publications, cell.claims)


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
