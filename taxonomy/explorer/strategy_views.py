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
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.errors import cleaned_or_400
from reviewapp.ui.export import download, provenance, stream
from taxonomy.choices import Objective
from taxonomy.claims import files
from taxonomy.explorer.cells import claims_behind
from taxonomy.explorer.chosen import AskedClaims, ChosenForm, chosen_of
from taxonomy.explorer.strategy import claims_asked_for, strategy_page
from taxonomy.explorer.tree import publications_url
from taxonomy.measured import studies_about
from taxonomy.models import Claim, Strategy
from taxonomy.queries import revisions
from taxonomy.querysets import NEWEST


class AskedClaimsForm(ChosenForm):
    """Which of its claims the address of a strategy asks for, as a cell of the gap map does."""

    objective = forms.ChoiceField(choices=Objective, required=False)
    counted = forms.ChoiceField(choices=[("yes", "yes")], required=False)  # of citations

    def asked(self) -> AskedClaims:
        """Return which claims these are; raise InvalidForm."""
        given = cleaned_or_400(self)
        return AskedClaims(given["objective"], chosen_of(given))


def _strategy(slug: str) -> Strategy:
    """Return the strategy with its place in the taxonomy; raise Http404 when there is none."""
    return get_object_or_404(
        Strategy.objects.select_related("group__family").prefetch_related("classes"), slug=slug
    )


@require_safe
def strategy(request: HttpRequest, slug: str) -> HttpResponse:
    """Show one strategy: how strong its evidence is, what it is, what is claimed of it."""
    found, form = _strategy(slug), AskedClaimsForm(request.GET)
    states, asked = revisions(), form.asked()
    page = strategy_page(found, *states)
    known = [*studies_about("strategy", [slug]), *studies_about("publication", page.studied)]
    studies = {study.slug: study for study in known}
    named = [(one, studies.pop(one.slug, None)) for one in page.studies]
    publications = Publication.objects.filter(strategies=found)
    context = {
        "strategy": found,
        "page": page,
        "publications_url": publications_url(strategy=slug),
        "case_studies": CaseStudy.objects.filter(publication__in=publications).select_related(
            "publication"
        ),
        "studies": named,
        "is_studied": any(slug in study.subjects for study in known),
        "other_studies": [one for one in studies.values() if slug in one.subjects],
        "asked": "" if asked.is_everything else asked.in_words(form.classes),
        "claims": page.claims if asked.is_everything else claims_asked_for(found, asked, *states),
    }
    return render(request, "taxonomy/strategy.html", context)


@require_safe
@xframe_options_exempt
@csp_replace({"frame-ancestors": ["*"]})  # type: ignore[arg-type] # its types allow no slug
def strategy_chart(request: HttpRequest, slug: str) -> HttpResponse:
    """Show the chart alone, which any other site may frame."""
    found = _strategy(slug)
    page = strategy_page(found, *revisions())
    return render(request, "taxonomy/strategy_chart.html", {"strategy": found, "page": page})


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def export_strategy(
    request: HttpRequest, slug: str, extension: str
) -> HttpResponse | StreamingHttpResponse:
    """Return the claims attributed to it as CSV or JSON, or its publications as citations.

    Where the address asks for some of the claims it is these, or the publications that make them.
    """
    found = _strategy(slug)
    form = AskedClaimsForm(request.GET)
    asked = form.asked()
    claims: Any = Claim.objects.effects_of(found.pk).order_by(*NEWEST)
    publications = Publication.objects.filter(strategies=found)
    if not asked.is_everything:
        claims = claims.filter(pk__in=claims_behind(found.pk, asked))
        publications = publications.filter(pk__in=claims.order_by().values("publication"))
    if extension not in CITATIONS:
        return stream(files.parts(extension, claims, request), slug, extension)
    cited = publications.in_review() if form.cleaned_data["counted"] else publications
    lines = CITATIONS[extension](cited.prefetch_related("strategies"), provenance(request))
    return download("".join(lines), slug, extension)
