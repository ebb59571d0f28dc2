"""The list of publications with its facets and exports, and the page of each publication."""

from dataclasses import dataclass

from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from reviewapp.corpus.citations.bibtex import bibtex
from reviewapp.corpus.citations.reference import page_tags, reference
from reviewapp.corpus.models import CaseStudy, Publication
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import provenance, stream
from reviewapp.ui.listing import paginate
from taxonomy.claims.certainty import Certainty, certainty_of
from taxonomy.claims.outcomes import Standing, standing_of
from taxonomy.claims.remarks import corrections_of, doubts_of, is_doubted
from taxonomy.measured import studies_about
from taxonomy.models import Claim, Evidence, Strategy
from taxonomy.publications.exports import in_batches, parts, with_claims
from taxonomy.publications.facets import read_facets
from taxonomy.publications.filter import read_filter
from taxonomy.publications.listing import listed, listing
from taxonomy.publications.panel import unstated
from taxonomy.queries import revisions

RELATED = 6


@dataclass(frozen=True)
class SaidClaim:
    """A claim of a publication, what it is an effect of, how sure it is, and what came of it."""

    claim: Claim
    strategies: list[Strategy]
    certainty: Certainty
    standing: Standing
    doubted: bool

    @classmethod
    def of(cls, claim: Claim) -> "SaidClaim":
        """Return the claim, which `with_claims` read, as its publication's page shows it."""
        counted = [one.strategy for one in claim.attributions.all() if one.counted]
        return cls(claim, counted, certainty_of(claim), standing_of(claim), is_doubted(claim))


@require_safe
@vary_on_headers("HX-Request", "HX-History-Restore-Request")
def publications(request: HttpRequest) -> HttpResponse:
    """Show a page of the publications that the address asks for, and the facets to change it."""
    query = request.GET.copy()
    query.pop("page", None)
    address, (state, findings) = query.urlencode(), revisions()
    found = listing(address, state)
    shown, counts = found.shown, found.counts
    page = paginate(request, range(counts.total), counts.total)
    partial = request.htmx and not request.htmx.history_restore_request  # type: ignore[attr-defined]
    context = {
        "shown": shown,
        "did_you_mean": shown.search and shown.search.did_you_mean(nothing_found=not counts.total),
        "sentence": shown.sentence(counts.total, counts.counted),
        "facets": found.facets_html,
        "unstated": [] if counts.total else list(unstated(shown, counts)),
        "page": page,
        "results": listed(address, page.number, state, findings),
        "partial": partial,
        "page_range": page.paginator.get_elided_page_range(page.number),
    }
    template = "taxonomy/_publications.html" if partial else "taxonomy/publications.html"
    return render(request, template, context)


@require_safe
@limited(EXPORTS_PER_MINUTE)
@in_turn
def publications_export(request: HttpRequest, extension: str) -> HttpResponseBase:
    """Send every publication that the address asks for, in its order."""
    shown = read_filter(request.GET, read_facets())
    found = in_batches(shown.publications(), extension)
    return stream(parts(extension, found, provenance(request)), "publications", extension)


@require_safe
def publication(request: HttpRequest, key: str) -> HttpResponse:
    """Show everything known of a publication and where it comes from."""
    shown = _publication(key)
    remarks = shown.remarks.filter(claim=None)
    context = {
        "publication": shown,
        "tags": page_tags(shown),
        "reference": reference(shown),
        "bibtex": bibtex([shown]),
        "claims": [SaidClaim.of(claim) for claim in shown.claims.all()],
        "doubts": doubts_of(remarks),
        "corrections": corrections_of(remarks),
        "case_studies": CaseStudy.objects.filter(publication=shown).select_related("review"),
        "studies": studies_about("publication", [key]),
        "related": related(shown),
    }
    return render(request, "taxonomy/publication.html", context)


@require_safe
def publication_export(request: HttpRequest, key: str, extension: str) -> HttpResponseBase:
    """Send one publication."""
    return stream(parts(extension, [_publication(key)], provenance(request)), key, extension)


def _publication(key: str) -> Publication:
    found = with_claims(Publication.objects.filter(key=key)).first()
    if found is None:
        raise Http404(f"There is no publication “{key}”.")
    return found


def related(publication: Publication) -> list[tuple[Publication, int]]:
    """Return the publications that share the most strategies, with how many they share."""
    strategies = [strategy.pk for strategy in publication.strategies.all()]
    shared = (
        Evidence.objects.filter(strategy__in=strategies)
        .exclude(publication=publication)
        .values_list("publication")
        .annotate(n=Count("*"))
        .order_by("-n", "-publication__facets__year", "publication")[:RELATED]
    )
    ranking = dict(shared)
    found = Publication.objects.defer("search", "claims_text").in_bulk(ranking)
    return [(found[pk], n) for pk, n in ranking.items()]
