"""The page of each claim."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from reviewapp.corpus.models import Publication
from taxonomy.claims.certainty import certainty_of
from taxonomy.claims.outcomes import standing_of
from taxonomy.claims.reading import with_facts
from taxonomy.models import Claim


@require_safe
def claim(request: HttpRequest, code: str) -> HttpResponse:
    """Show everything known of a claim and where it comes from."""
    shown = with_facts(Claim.objects.by_code([code])).first()
    if shown is None:
        return _unknown(request, code)
    context = {
        "claim": shown,
        "certainty": certainty_of(shown),
        "standing": standing_of(shown),
    }
    return render(request, "taxonomy/claim.html", context)


def _unknown(request: HttpRequest, code: str) -> HttpResponse:
    """Say that there is no such claim, and lead to the publication that its code begins with."""
    key = code.rpartition("-")[0]
    context = {"code": code, "publication": Publication.objects.filter(key=key).first()}
    return render(request, "taxonomy/claim_unknown.html", context, status=404)
