"""The dashboards: what the runs measured, drawn together where that is fair, and its exports."""

from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.http import require_safe

from casestudies.dashboards.board import Board, build
from casestudies.dashboards.comparability import RULE
from casestudies.dashboards.forms import read_selection
from casestudies.dashboards.objectives import NOTE
from casestudies.dashboards.queries import MOST_RUNS
from casestudies.dashboards.selection import ACROSS, Selection
from casestudies.lab.catalogue import STUDIES
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import Provenance, as_csv, as_json, download, provenance
from taxonomy.choices import Origin


@require_safe
def dashboards(request: HttpRequest) -> HttpResponse:
    """Show the charts that the address asks for; one with blank values is redirected."""
    selection = read_selection(request.GET)
    if "" in request.GET.values():
        return HttpResponseRedirect(selection.url)
    board = build(selection)
    context = {
        "board": board,
        "selection": selection,
        "studies": _studies(selection),
        "sentence": sentence(board),
        "rule": RULE,
        "factors": "" if selection.study else NOTE,
        "comparable_url": selection.but(together=False).url,
        "together_url": selection.but(together=True, group="").url,
        "everything": selection.but(**dict.fromkeys((*selection.filters, "group"), "")).url,
    }
    return render(request, "casestudies/dashboards.html", context)


def _studies(selection: Selection) -> list[tuple[str, str, bool]]:
    """Return for each study, and for all, its key in the address, its name, and if it is shown."""
    studies = [
        (study.slug, study.full_name, selection.study is study) for study in STUDIES.values()
    ]
    return [(ACROSS, "Across studies", selection.study is None), *studies]


def sentence(board: Board) -> str:
    """Return in words how many runs are drawn, and of how many."""
    if not board.shown:
        return ""
    parts = [_drawn(board, len(board.shown.members))]
    if n := len({run.pk for run in board.drawn if run.origin == Origin.CONTRIBUTED}):
        parts.append(f"{_runs(n)} of these contributed, not measured by this site")
    if board.passing > board.runs:
        each = "" if board.selection.study else " of each study"
        parts.append(f"only the newest {MOST_RUNS}{each} of {board.passing:,} are looked at")
    return f"{'; '.join(parts)}."


def _drawn(board: Board, comparable: int) -> str:
    if board.together:
        groups = len(board.groups)
        return f"{_runs(board.runs)} drawn, from {groups} groups that are not comparable"
    if board.selection.study is None:
        drawn = len({run.pk for run in board.drawn})
        return f"{_runs(drawn)} of {board.runs} drawn: of each study its newest"
    if board.others:
        left = board.runs - comparable
        return f"{_runs(comparable)} drawn; {_runs(left)} not comparable with them and left out"
    return f"{_runs(comparable)} drawn"


def _runs(n: int) -> str:
    return "1 run" if n == 1 else f"{n} runs"


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def dashboards_export(request: HttpRequest, extension: str) -> HttpResponse:
    """Return the points of the page with this query, each with its run, as csv or json."""
    if extension not in EXPORTS:
        raise Http404(f"There is no export as {extension}.")
    selection = read_selection(request.GET)
    content = EXPORTS[extension](build(selection), provenance(request))
    name = selection.study.slug if selection.study else "all-studies"
    return download(content, f"dashboard-{name}", extension)


PARTS = ("conditions", "parameters")


def _csv(board: Board, about: Provenance) -> str:
    """Return the points, each condition and each parameter of their runs in its own column."""
    records = [record for plot in board.plots for record in plot.records]
    names = [name for name in (records[0] if records else ["chart"]) if name not in PARTS]
    parts = [
        (part, name)
        for part in PARTS
        for name in sorted({name for record in records for name in record[part]})
    ]
    rows = [
        [
            *(record[name] for name in names),
            "yes" if board.together else "no",
            *(record[part].get(name) for part, name in parts),
        ]
        for record in records
    ]
    header = [*names, "drawn_together", *(f"{part}_{name}" for part, name in parts)]
    return as_csv(header, rows, about)


def _json(board: Board, about: Provenance) -> str:
    charts: list[dict[str, Any]] = [
        {"title": plot.title, "notes": plot.notes, "points": plot.records}
        for plot in board.plots
        if plot.points
    ]
    groups = [
        {"group": listed.group.key, "runs": len(listed.members), **listed.group.facts}
        for listed in board.groups
    ]
    content = {
        "sentence": sentence(board),
        "rule": RULE,
        "drawn_together": board.together,
        "groups": groups,
        "charts": charts,
    }
    return as_json(content, about)


EXPORTS = {"csv": _csv, "json": _json}
