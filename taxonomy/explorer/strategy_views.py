"""One page for each strategy, its chart alone for other sites, and its files."""

from typing import Any

from csp.decorators import csp_replace
from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.clickjacking import xframe_options_exempt
from django.views.decorators.http import require_safe

from reviewapp.corpus.citations.files import CITATIONS
from reviewapp.corpus.models import CaseStudy, Publication
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, limited
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.export import download, provenance, stream
from taxonomy.claims import files
from taxonomy.claims.evidence.gathering import findings_state
from taxonomy.explorer.strategy import StrategyPage, strategy_page
from taxonomy.explorer.tree import publications_url
from taxonomy.measured import studies_about
from taxonomy.models import Claim, Strategy
from taxonomy.queries import revision
from taxonomy.querysets import NEWEST


class CitationsForm(forms.Form):
    """What the address of a strategy's citations may ask for, as the list of publications does."""

    counted = forms.ChoiceField(choices=[("yes", "yes")], required=False)


def _strategy(slug: str) -> Strategy:
    """Return the strategy with its place in the taxonomy; raise Http404 when there is none."""
    return get_object_or_404(
        Strategy.objects.select_related("group__family").prefetch_related("classes"), slug=slug
    )


def _page(slug: str) -> StrategyPage:
    strategy = _strategy(slug)
    return strategy_page(strategy, revision(), findings_state(strategy.pk))


@require_safe
def strategy(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one strategy: how strong its evidence is, what it is, what is claimed of it."""
    page = _page(slug)
    known = [*studies_about("strategy", [slug]), *studies_about("publication", page.studied)]
    studies = {study.slug: study for study in known}
    named = [(one, studies.pop(one.slug, None)) for one in page.studies]
    publications = Publication.objects.filter(strategies=page.strategy)
    context = {
        "strategy": page.strategy,
        "page": page,
        "publications_url": publications_url(strategy=slug),
        "case_studies": CaseStudy.objects.filter(publication__in=publications).select_related(
            "publication"
        ),
        "studies": named,
        "is_studied": any(slug in study.subjects for study in known),
        "other_studies": [one for one in studies.values() if slug in one.subjects],
    }
    return render(request, "taxonomy/strategy.html", context)


@require_safe
@xframe_options_exempt
@csp_replace({"frame-ancestors": ["*"]})  # type: ignore[arg-type] # its types allow no slug
def strategy_chart(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the chart alone, which any other site may frame."""
    page = _page(slug)
    return render(
        request, "taxonomy/strategy_chart.html", {"strategy": page.strategy, "page": page}
    )


@require_safe
@limited(EXPORTS_PER_MINUTE)
def export_strategy(
    request: HttpRequest, slug: str, extension: str
) -> HttpResponse | StreamingHttpResponse:
    """Return the claims attributed to it as CSV or JSON, or its publications as citations."""
    found = _strategy(slug)
    if extension in CITATIONS:
        asked = cleaned_or_400(CitationsForm(request.GET))
        publications = Publication.objects.filter(strategies=found)
        chosen = publications.in_review() if asked["counted"] else publications
        lines = CITATIONS[extension](chosen.prefetch_related("strategies"), provenance(request))
        return download("".join(lines), slug, extension)
    claims: Any = Claim.objects.effects_of(found.pk).order_by(*NEWEST)
    return stream(files.parts(extension, claims, request), slug, extension)
