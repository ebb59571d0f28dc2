"""The page of each claim, and files of claims."""

from django.core.exceptions import BadRequest
from django.db.models import Prefetch, prefetch_related_objects
from django.http import HttpRequest, HttpResponse, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from reviewapp.corpus.citations.bibtex import bibtex
from reviewapp.corpus.models import Publication
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.rest.reading import given, said_of_unknown, unknown_keys
from reviewapp.ui.export import stream
from taxonomy.claim_pages.chosen import chosen_claims
from taxonomy.claim_pages.citing import citation, error_report
from taxonomy.claim_pages.form import ClaimForm
from taxonomy.claim_pages.page import read_claim
from taxonomy.claims.files import parts
from taxonomy.measured import MeasuredStudy, studies_about
from taxonomy.models import Claim, Strategy
from taxonomy.publications.facets import read_facets


@require_safe
def claim(request: HttpRequest, code: str) -> HttpResponse:
    """Show everything known of a claim and where it comes from."""
    page = read_claim(code)
    if page is None:
        return _unknown(request, code)
    address = request.build_absolute_uri(page.claim.get_absolute_url())
    context = {
        "page": page,
        "claim": page.claim,
        "publication": page.claim.publication,
        "certainty": page.certainty,
        "standing": page.standing,
        "citation": citation(page.claim, address, timezone.now().date().isoformat()),
        "bibtex": _bibtex(page.claim.publication),
        "study": _study(page.claim),
        "report": error_report(page.claim, address),
    }
    return render(request, "taxonomy/claim.html", context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def claims_export(request: HttpRequest, extension: str) -> HttpResponseBase:
    """Send every claim that the address asks for; a key that is not known is refused by name."""
    facets = read_facets()
    known = list(ClaimForm(QueryDict(), facets).fields)
    if unknown := unknown_keys(request.GET, known):
        raise BadRequest(said_of_unknown(unknown, known))
    found = chosen_claims(given(request.GET), facets)
    return stream(parts(extension, found, request), "claims", extension)


def _bibtex(publication: Publication) -> str:
    """Return the publication's BibTeX without keywords: its strategies need not be the claim's."""
    prefetch_related_objects([publication], Prefetch("strategies", Strategy.objects.none()))
    return bibtex([publication])


def _study(claim: Claim) -> MeasuredStudy | None:
    """Return the study that could speak to the claim, if this site has it."""
    return next(iter(studies_about("claim", [claim.code])), None)


def _unknown(request: HttpRequest, code: str) -> HttpResponse:
    """Say that there is no such claim, and lead to the publication that its code begins with."""
    key = code.rpartition("-")[0]
    context = {"code": code, "publication": Publication.objects.filter(key=key).first()}
    return render(request, "taxonomy/claim_unknown.html", context, status=404)
