"""The taxonomy's pages: the explorer with its gap map and tree, and one page for each strategy."""

from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from reviewapp.corpus.choices import Membership
from reviewapp.corpus.citations.files import CITATIONS
from reviewapp.corpus.models import CaseStudy, Publication
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, limited
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.export import as_csv, as_json, download, provenance
from reviewapp.ui.listing import paginate
from taxonomy.explorer.asked import asked_view
from taxonomy.explorer.gap_map import Cell, Row
from taxonomy.explorer.hub import CLAIM_HEADER, claim_rows, claims_of, hub
from taxonomy.explorer.tree import Node, publications_url
from taxonomy.measured import studies_about
from taxonomy.models import Strategy
from taxonomy.queries import revision

NEWEST_SHOWN = 12
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
)


class CitationsForm(forms.Form):
    """What the address of a strategy's citations may ask for, as the list of publications does."""

    counted = forms.ChoiceField(choices=[("yes", "yes")], required=False)


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
    return (*place, cell.objective.value, *counts, cell.in_words)


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


def _strategy(slug: str) -> Strategy:
    """Return the strategy with its place in the taxonomy; raise Http404 when there is none."""
    return get_object_or_404(
        Strategy.objects.select_related("group__family").prefetch_related("classes"), slug=slug
    )


@require_safe
def strategy_page(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one strategy: what it is, who wrote about it, what they claim."""
    strategy = _strategy(slug)
    known = hub(strategy.pk, revision())
    publications = Publication.objects.filter(strategies=strategy).defer("search", "claims_text")
    claims = paginate(request, claims_of(strategy.pk), known.claims)
    context = {
        "strategy": strategy,
        "hub": known,
        "publications_url": publications_url(strategy=slug),
        "publications": publications.in_review()[:NEWEST_SHOWN],
        "extensions": publications.filter(membership=Membership.EXTENSION)[:NEWEST_SHOWN],
        "claims": claims,
        "claim_pages": claims.paginator.get_elided_page_range(claims.number),
        "case_studies": CaseStudy.objects.filter(publication__in=publications),
        "studies": studies_about("strategy", [slug]),
    }
    return render(request, "taxonomy/strategy.html", context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
def export_strategy(request: HttpRequest, slug: str, extension: str) -> HttpResponse:
    """Return the review's claims about it as CSV or JSON, or its publications as citations."""
    strategy = _strategy(slug)
    about = provenance(request)
    if extension in CITATIONS:
        asked = cleaned_or_400(CitationsForm(request.GET))
        publications = Publication.objects.filter(strategies=strategy)
        chosen = publications.in_review() if asked["counted"] else publications
        lines = CITATIONS[extension](chosen.prefetch_related("strategies"), about)
        return download("".join(lines), slug, extension)
    rows = claim_rows(strategy)
    if extension == "csv":
        return download(as_csv(CLAIM_HEADER, rows, about), slug, extension)
    claims = [dict(zip(CLAIM_HEADER, row, strict=True)) for row in rows]
    return download(as_json({"strategy": slug, "claims": claims}, about), slug, extension)
