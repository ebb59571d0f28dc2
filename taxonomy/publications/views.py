"""The list of publications with its facets and exports, and the page of each publication."""

from dataclasses import dataclass

from django.db.models import Count, F
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from reviewapp.corpus.citations.bibtex import bibtex
from reviewapp.corpus.citations.reference import page_tags, reference
from reviewapp.corpus.models import CaseStudy, Publication
from reviewapp.corpus.querysets import HIT_START, HIT_STOP, PublicationQuerySet
from reviewapp.limits.pages import EXPORTS_PER_MINUTE, in_turn, limited
from reviewapp.ui.export import provenance, stream
from reviewapp.ui.listing import paginate
from taxonomy.claims.certainty import Certainty, certainty_of
from taxonomy.claims.outcomes import Standing, standing_of
from taxonomy.claims.remarks import corrections_of, doubts_of, is_doubted
from taxonomy.measured import studies_about
from taxonomy.models import Claim, Evidence, Strategy
from taxonomy.publications.exports import in_batches, parts, with_claims
from taxonomy.publications.facet_counts import count
from taxonomy.publications.facets import read_facets
from taxonomy.publications.filter import PublicationFilter, read_filter
from taxonomy.publications.kinds import Facet, ListFacet
from taxonomy.publications.matching import MatchingClaims, matching_claims
from taxonomy.publications.panel import panels, unstated

RELATED = 6
# PostgreSQL leaves out what looks like a tag when it marks hits.
WITHOUT_MARKS = str.maketrans("", "", HIT_START + HIT_STOP)


@dataclass(frozen=True)
class ListedPublication:
    """A publication in the list, the name and the address of each of its strategies, and claims.

    `matching` are those that were asked for; None where none were.
    """

    publication: Publication
    strategies: list[tuple[str, str]]
    matching: MatchingClaims | None

    @property
    def title(self) -> str:
        return self._marked("title")

    @property
    def summary(self) -> str:
        return self._marked("summary")

    def _marked(self, field: str) -> str:
        """Return the text with its hits marked, unless marking them has changed the text."""
        text: str = getattr(self.publication, field)
        marked: str = getattr(self.publication, f"{field}_hits", text)
        return marked if marked.translate(WITHOUT_MARKS) == text else text


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
    facets = read_facets()
    shown = read_filter(request.GET, facets)
    counts = count(shown)
    page = paginate(request, _rows(shown, counts.few), counts.total)
    links = _strategy_links(facets)
    matching = matching_claims(shown, page.object_list)
    partial = request.htmx and not request.htmx.history_restore_request  # type: ignore[attr-defined]
    context = {
        "shown": shown,
        "did_you_mean": shown.search and shown.search.did_you_mean(nothing_found=not counts.total),
        "sentence": shown.sentence(counts.total, counts.counted),
        "panels": list(panels(shown, counts)),
        "unstated": [] if counts.total else list(unstated(shown, counts)),
        "page": page,
        "results": [
            ListedPublication(
                row, [links[pk] for pk in row.strategy_ids if pk in links], matching.get(row.pk)
            )
            for row in page
        ],
        "partial": partial,
        "page_range": page.paginator.get_elided_page_range(page.number),
    }
    template = "taxonomy/_publications.html" if partial else "taxonomy/publications.html"
    return render(request, template, context)


def _strategy_links(facets: list[Facet]) -> dict[int, tuple[str, str]]:
    """Return the name and the address of each strategy, which the facets hold already."""
    lists = {facet.key: facet for facet in facets if isinstance(facet, ListFacet)}
    choices = lists["strategy"].choices
    return {c.stored: (c.label, reverse("strategy", args=[c.value])) for c in choices}


def _rows(shown: PublicationFilter, few: list[int] | None) -> PublicationQuerySet:
    """Return the rows of the list; if they are few, `few` has their ids."""
    rows = shown.publications().defer("search", "claims_text", "sources", "limitation")
    rows = rows.annotate(strategy_ids=F("facets__strategies"), claim_count=F("facets__claim_count"))
    if few is not None:
        rows = rows.filter(pk__in=few)
    if not shown.search:
        return rows
    # Of a synonym's words each would be marked, also where it stands alone.
    return rows.with_headlines(next(iter(shown.search.query.ranks), ""))


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
