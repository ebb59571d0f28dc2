"""The comparison of strategies or publications, and its exports."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import Provenance, as_csv, as_json, download, provenance
from taxonomy.comparison import compare as comparison_of
from taxonomy.comparison.effects import CAUTION
from taxonomy.comparison.latex import as_latex
from taxonomy.comparison.selection import BRANCHES, MOST, STRATEGY, ComparisonSelection
from taxonomy.comparison.table import ComparisonTable, Section
from taxonomy.comparison.tray import Tray
from taxonomy.models import Strategy


@require_safe
def compare(request: HttpRequest) -> HttpResponse:
    """Show what is selected side by side, or how to select; other spellings are redirected."""
    selection = ComparisonSelection.from_query(request.GET)
    names = selection.check_known()
    if not selection.enough:
        return _picker(request, selection, names)
    if request.GET.getlist(selection.kind.plural) != [",".join(selection.slugs)]:
        return HttpResponseRedirect(selection.url)
    comparison = comparison_of(selection)
    context = {
        "selection": selection,
        "comparison": comparison.only_differences() if selection.only_differences else comparison,
        "charts": comparison.charts(),
        "caution": CAUTION,
        "baseline": names.get(selection.baseline, ""),
        "hidden": comparison.hidden,
        "columns": [
            (item, selection.without(item.slug).url, selection.with_baseline(item.slug).url)
            for item in comparison.items
        ],
        "everything": selection.with_differences(False).url,
        "differences": selection.with_differences(True).url,
        "no_baseline": selection.with_baseline("").url,
        "others": _others(selection),
        "in_tray": _in_tray(request, selection),
        "width": len(comparison.items) + 1,
    }
    return render(request, "taxonomy/compare.html", context)


def _others(selection: ComparisonSelection) -> Iterable[Strategy]:
    """Return the strategies that may be added, with their families."""
    if selection.full or selection.kind != STRATEGY:
        return Strategy.objects.none()
    others = Strategy.objects.exclude(slug__in=selection.slugs).select_related("group__family")
    return others.only("slug", "name", "group__family__name")


def _in_tray(request: HttpRequest, selection: ComparisonSelection) -> bool | None:
    """Return whether the tray holds just these items; None where it holds none of their kind."""
    if selection.kind in BRANCHES:
        return None
    return set(Tray.of(request).slugs) == set(selection.slugs)


def _picker(
    request: HttpRequest, selection: ComparisonSelection, names: dict[str, str]
) -> HttpResponse:
    strategies = Strategy.objects.select_related("group__family")
    picked = selection.slugs if selection.kind == STRATEGY else ()
    context = {
        "selection": selection,
        "names": names,
        "strategies": strategies.only("slug", "name", "group__family__name"),
        "picked": picked or Tray.of(request).slugs,
        "most": MOST,
    }
    return render(request, "taxonomy/compare_pick.html", context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def export(request: HttpRequest, extension: str) -> HttpResponse:
    """Return the comparison as the page with this query shows it: csv, json or tex."""
    if extension not in EXPORTS:
        raise Http404(f"There is no export as {extension}.")
    selection = ComparisonSelection.from_query(request.GET)
    selection.check_known()
    if not selection.enough:
        raise BadRequest("A comparison needs at least two things of one kind.")
    comparison = comparison_of(selection)
    if selection.only_differences:
        comparison = comparison.only_differences()
    content = EXPORTS[extension](comparison, provenance(request))
    return download(content, f"comparison-{'-'.join(selection.slugs)}"[:120], extension)


def _csv(comparison: ComparisonTable, about: Provenance) -> str:
    header = ["section", "property", *(item.name for item in comparison.items), "differs", "note"]
    rows = [
        [
            section.title,
            row.label,
            *(cell.with_delta for cell in row.cells),
            "yes" if row.differs else "no",
            row.note,
        ]
        for section in comparison.all_sections
        for row in section.rows
    ]
    return as_csv(header, rows, about)


def _json(comparison: ComparisonTable, about: Provenance) -> str:
    content: dict[str, Any] = {
        "items": [asdict(item) for item in comparison.items],
        "sections": [_section(section) for section in comparison.sections],
        "one_sided": [_section(section) for section in comparison.one_sided],
    }
    return as_json(content, about)


def _section(section: Section) -> dict[str, Any]:
    rows = [{**asdict(row), "differs": row.differs} for row in section.rows]
    return {**asdict(section), "rows": rows}


EXPORTS = {"csv": _csv, "json": _json, "tex": as_latex}
