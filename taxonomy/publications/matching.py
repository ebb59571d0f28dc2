"""The claims of each listed publication that are what a visitor asked for."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db.models import Count, Exists, F, OuterRef, Window
from django.db.models.functions import RowNumber

from reviewapp.corpus.models import Publication
from taxonomy.claims.outcomes import Standing, standings
from taxonomy.models import Attribution, Claim
from taxonomy.publications.filter import PublicationFilter
from taxonomy.querysets import ClaimQuerySet

MOST = 2


@dataclass(frozen=True)
class MatchingClaim:
    """A claim, what came of it here, and whether it is an effect of what was chosen.

    `attributed` is None where no strategy is chosen.
    """

    standing: Standing
    attributed: bool | None

    @property
    def claim(self) -> Claim:
        return self.standing.claim


@dataclass
class MatchingClaims:
    """At most two claims of a publication, and how many more match.

    `strategies` names those chosen, for a reader to see whose effect a claim is or is not.
    """

    strategies: str
    claims: list[MatchingClaim] = field(default_factory=list)
    more: int = 0


def matching_claims(
    shown: PublicationFilter, publications: Iterable[Publication]
) -> dict[int, MatchingClaims]:
    """Return the claims that match, by the publication's id; empty if nothing asks for claims.

    A facet of claims asks for the claims that pass all of these; a strategy for its effects; a
    search for the claims with its words. Of the first, effects of a chosen strategy lead; of
    either, claims with the words do. A publication of which none matches is left out, unless a
    strategy is chosen.
    """
    listed = {one.pk: one for one in publications}
    strategies = " or ".join(choice.label for choice in shown.strategies)
    candidates = _candidates(shown)
    if candidates is None:
        return {}
    found = standings(_first(shown, candidates.filter(publication__in=listed)))
    matching = {pk: MatchingClaims(strategies) for pk in listed} if strategies else {}
    for standing in found:
        claim = standing.claim
        claim.publication = listed[claim.publication_id]
        of_one = matching.setdefault(claim.publication_id, MatchingClaims(strategies))
        attributed = claim.attributed if strategies else None  # type: ignore[attr-defined]
        of_one.claims.append(MatchingClaim(standing, attributed))
        of_one.more = claim.matching - len(of_one.claims)  # type: ignore[attr-defined]
    return matching


def _candidates(shown: PublicationFilter) -> ClaimQuerySet | None:
    if shown.of_claims:
        return shown.claims()
    if shown.strategies:
        return Claim.objects.effects_of(*(choice.stored for choice in shown.strategies))
    return shown.search.claims() if shown.search else None


def _first(shown: PublicationFilter, claims: ClaimQuerySet) -> ClaimQuerySet:
    """Return the first claims of each publication, each with how many it has."""
    leading = {}
    if strategies := [choice.stored for choice in shown.strategies]:
        effects = Attribution.objects.filter(strategy__in=strategies, counted=True)
        leading["attributed"] = Exists(effects.filter(claim=OuterRef("pk")))
    if shown.search:
        leading["worded"] = Exists(shown.search.claims().filter(pk=OuterRef("pk")))
    order = [*(F(name).desc() for name in leading), F("position").asc()]
    return (
        claims.annotate(**leading)
        .annotate(
            place=Window(RowNumber(), partition_by="publication", order_by=order),
            matching=Window(Count("*"), partition_by="publication"),
        )
        .filter(place__lte=MOST)
        .order_by("publication_id", "place")
        .defer("search")
    )
