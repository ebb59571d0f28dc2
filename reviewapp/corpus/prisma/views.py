"""The PRISMA 2020 flow diagram: the review's own, and one made from a filled CSV."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import BadRequest
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.http import require_POST, require_safe

from reviewapp.corpus.models import Review
from reviewapp.corpus.prisma import csv_file, drawing
from reviewapp.corpus.prisma.checks import Check, checks
from reviewapp.corpus.prisma.csv_file import ParsedFlow
from reviewapp.corpus.prisma.flow import (
    VARIANTS,
    DiagramRow,
    Flow,
    FlowTemplate,
    derive,
    variant_for,
)
from reviewapp.corpus.prisma.forms import OwnDiagramOptions, PrismaImport, PrismaOptions
from reviewapp.corpus.prisma.layout import AS_IT_IS
from reviewapp.corpus.prisma.presentation import BAND_ROWS, BAR_ROWS, Presentation
from reviewapp.corpus.prisma.queries import review_flow
from reviewapp.corpus.prisma.remarks import Remark
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, limited
from reviewapp.ui import rendering
from reviewapp.ui.errors import cleaned_or_400, come_again
from reviewapp.ui.export import as_json, download, provenance


@dataclass(frozen=True)
class Diagram:
    """A flow in one template, with all that the page and the exports show of it."""

    flow: Flow
    variant: FlowTemplate
    title: str
    links: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    drawn_as: Presentation = AS_IT_IS
    notices: tuple[Remark, ...] = ()

    @property
    def complete(self) -> Flow:
        """Return the flow with the numbers that follow from reported ones."""
        return derive(self.flow, self.variant)

    @property
    def svg(self) -> str:
        return drawing.svg(self.complete, self.variant, title=self.title, drawn_as=self.drawn_as)

    @property
    def linked_svg(self) -> SafeString:
        """Return the diagram for the page, its boxes linked to the records behind them."""
        drawn = drawing.svg(
            self.complete,
            self.variant,
            title=self.title,
            links=self.links,
            drawn_as=self.drawn_as,
        )
        return mark_safe(drawn)  # noqa: S308 - built as an XML tree, so all text is escaped

    @property
    def rows(self) -> list[DiagramRow]:
        return self.complete.as_rows(self.variant)

    @property
    def titles(self) -> list[tuple[str, str]]:
        """Return the official wording and the author's of the bars and bands that differ."""
        bars = {row: self.variant.column_title(arm) for arm, row in BAR_ROWS.items()}
        official = bars | {row: stage for stage, row in BAND_ROWS.items()}
        own = self.drawn_as.labels
        return [(title, own[row]) for row, title in official.items() if row in own]

    @property
    def checks(self) -> list[Check]:
        return checks(self.complete, self.variant)

    @property
    def results(self) -> Counter[str]:
        """Return how many checks have each result."""
        return Counter(check.result for check in self.checks)

    @property
    def origins(self) -> Counter[str]:
        """Return how many numbers have each origin."""
        return Counter(row.origin for row in self.rows)


def diagram_of_review(options: dict[str, Any]) -> Diagram:
    review = get_object_or_404(Review.objects.prefetch_related("flow_numbers", "databases").shown())
    flow = review_flow(review)
    return Diagram(
        flow,
        VARIANTS.get(options["variant"]) or variant_for(flow),
        f"PRISMA 2020 flow diagram of “{review.title}”",
        {"box10": f"{reverse('publications')}?membership=named&membership=reconstructed"},
        drawn_as=Presentation(
            totals=options.get("totals", False),
            screening_reasons=options.get("screening_reasons", False),
        ),
    )


@require_safe
def prisma(request: HttpRequest) -> HttpResponse:
    """Show the review's flow diagram, its checks and its numbers as a table."""
    diagram = diagram_of_review(cleaned_or_400(PrismaOptions(request.GET)))
    return render(request, "corpus/prisma.html", _context(diagram, PrismaImport()))


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
    diagram = _own_diagram(form.parsed, form)
    context = _context(diagram, form)
    if extension := request.POST.get("export"):
        try:
            return _file(request, diagram, extension, form.cleaned_data)
        except BadRequest as error:
            context["problem"] = str(error)
    status = 400 if "problem" in context else 200
    return render(request, "corpus/prisma_import.html", context, status=status)


def _own_diagram(parsed: ParsedFlow, options: OwnDiagramOptions) -> Diagram:
    return Diagram(
        parsed.flow,
        VARIANTS.get(options.cleaned_data["variant"]) or variant_for(parsed.flow),
        "PRISMA 2020 flow diagram",
        texts=parsed.texts,
        drawn_as=options.presentation(parsed),
        notices=parsed.notices,
    )


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
    except rendering.Busy:
        return come_again(request, "corpus/prisma_busy.html", wait=rendering.SECONDS, status=503)


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
