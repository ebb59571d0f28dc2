"""The PRISMA 2020 flow diagram: the review's own, and one made from a filled CSV."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from reviewapp.corpus.prisma import csv_file, drawing
from reviewapp.corpus.prisma.csv_file import ParsedFlow
from reviewapp.corpus.prisma.editor import PrismaEdit, as_fields
from reviewapp.corpus.prisma.flow import VARIANTS, Flow
from reviewapp.corpus.prisma.forms import PrismaImport, PrismaOptions
from reviewapp.corpus.prisma.queries import Diagram, diagram_of_review, own_diagram
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, limited
from reviewapp.limits.turns import Busy
from reviewapp.rendering import renderer
from reviewapp.ui.errors import cleaned_or_400, come_again
from reviewapp.ui.export import as_json, download, provenance

EDITS_PER_MINUTE = 240  # the editor asks whenever its reader pauses in typing


@require_safe
def prisma(request: HttpRequest) -> HttpResponse:
    """Show the review's flow diagram, its checks and its numbers as a table."""
    diagram = diagram_of_review(cleaned_or_400(PrismaOptions(request.GET)))
    fields = as_fields(ParsedFlow(diagram.flow)) | {"unreported": "on"}
    context = _context(diagram, PrismaImport()) | {"copy": urlencode(fields)}
    return render(request, "corpus/prisma.html", context)


def _context(diagram: Diagram | None, form: PrismaImport) -> dict[str, Any]:
    return {"diagram": diagram, "form": form, "variants": VARIANTS.items()}


@require_safe
@limited(EXPORTS_PER_MINUTE)
def prisma_export(request: HttpRequest, extension: str) -> HttpResponse:
    """Return the review's diagram as a file."""
    options = cleaned_or_400(PrismaOptions(request.GET))
    return _file(request, diagram_of_review(options), extension, options)


@require_safe
def prisma_template(request: HttpRequest) -> HttpResponse:
    """Return the empty CSV of the PRISMA2020 package, to fill in."""
    return download(csv_file.write(Flow()), "PRISMA2020_empty", "csv")


@require_POST
@limited(EXPORTS_PER_MINUTE)
def prisma_import(request: HttpRequest) -> HttpResponse:
    """Show, or return as a file, the diagram of an uploaded CSV; nothing is stored."""
    form = PrismaImport(request.POST, request.FILES)
    if not form.is_valid():
        return render(request, "corpus/prisma_import.html", _context(None, form), status=400)
    diagram = own_diagram(form.parsed, form.cleaned_data)
    context = _context(diagram, form)
    if extension := request.POST.get("export"):
        try:
            return _file(request, diagram, extension, form.cleaned_data)
        except BadRequest as error:
            context["problem"] = str(error)
    status = 400 if "problem" in context else 200
    return render(request, "corpus/prisma_import.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@limited(EDITS_PER_MINUTE)
def prisma_edit(request: HttpRequest) -> HttpResponseBase:
    """Show the form that edits a diagram, from its fields or from a file; nothing is stored."""
    sent = request.POST if request.method == "POST" else request.GET
    if "text" in sent and not PrismaEdit.is_filled(sent):
        opened = PrismaImport(sent)
        if not opened.is_valid():
            context = _context(None, opened)
            return render(request, "corpus/prisma_import.html", context, status=400)
        form = PrismaEdit(sent.dict() | as_fields(opened.parsed))
    else:
        form = PrismaEdit(sent)
    return _edited(request, form)


def _edited(request: HttpRequest, form: PrismaEdit) -> HttpResponseBase:
    fragment = bool(request.htmx)  # type: ignore[attr-defined]
    template = "corpus/_edited.html" if fragment else "corpus/prisma_edit.html"
    context: dict[str, Any] = {"form": form, "variants": VARIANTS.items()}
    if not form.is_valid():
        # Half a number, as it is while one types, is no error of the request.
        return render(request, template, context, status=200 if fragment else 400)
    diagram = context["diagram"] = own_diagram(form.parsed, form.cleaned_data)
    if extension := request.POST.get("export"):
        try:
            return _exported(request, diagram, extension, form.cleaned_data)
        except BadRequest as error:
            context["problem"] = str(error)
    return render(request, template, context, status=400 if "problem" in context else 200)


@limited(EXPORTS_PER_MINUTE)
def _exported(
    request: HttpRequest, diagram: Diagram, extension: str, options: dict[str, Any]
) -> HttpResponse:
    return _file(request, diagram, extension, options)


def _file(
    request: HttpRequest, diagram: Diagram, extension: str, options: dict[str, Any]
) -> HttpResponse:
    writers: dict[str, Callable[[], str | bytes]] = {
        "svg": lambda: diagram.svg,
        "png": lambda: drawing.png(diagram.svg, dpi=options["dpi"], scale=options["scale"]),
        "pdf": lambda: drawing.pdf(diagram.svg),
        "csv": lambda: csv_file.write(diagram.flow, diagram.texts),
        "json": lambda: as_json(_as_dict(diagram), provenance(request)),
    }
    if extension not in writers:
        raise Http404(f"no export as {extension}")
    try:
        return download(writers[extension](), f"prisma-{diagram.variant.slug}", extension)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    except Busy:
        return come_again(request, "corpus/prisma_busy.html", wait=renderer.SECONDS, status=503)


def _as_dict(diagram: Diagram) -> dict[str, Any]:
    return {
        "template": diagram.variant.slug,
        "flow": diagram.complete.to_json(),
        "rows": [
            row._asdict() | {"printed": diagram.drawn_as.labels.get(row.key, row.label)}
            for row in diagram.rows
        ],
        "notices": [{"line": n.line, "row": n.row, "text": n.text} for n in diagram.notices],
        "checks": [
            {
                "code": check.code,
                "statement": check.statement,
                "result": check.result,
                "detail": check.detail,
                "strength": check.strength,
            }
            for check in diagram.checks
        ],
    }
