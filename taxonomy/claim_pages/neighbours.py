"""The claims that stand nearest to one on its axis. Each keeps its own baseline: no ranking."""

from math import log

from django.db.models import QuerySet

from taxonomy.models import Claim

MOST = 12


def neighbours_of(claim: Claim) -> list[Claim]:
    """Return at most MOST other claims of the axis, the nearest number first.

    Numbers are near by their ratio. A claim that cannot be drawn has no nearest: it gets the
    highest of its axis. The cost does not depend on how many claims the axis has.
    """
    others = Claim.objects.filter(axis=claim.axis_id).exclude(pk=claim.pk)
    others = others.exclude(plotted=None).select_related("publication", "axis__quantity")
    others = others.defer("search", "publication__search", "publication__claims_text")
    here = claim.plotted
    if here is None:
        return list(others.order_by("-plotted", "id")[:MOST])
    around = [
        *others.filter(plotted__lte=here).order_by("-plotted", "id")[:MOST],
        *_above(others, here),
    ]
    return sorted(around, key=lambda other: (_distance(here, other), other.pk))[:MOST]


def _above(others: QuerySet[Claim], here: float) -> QuerySet[Claim]:
    # Exactly the reverse of the index, so that no more than these are read.
    return others.filter(plotted__gt=here).order_by("plotted", "-id")[:MOST]


def _distance(here: float, claim: Claim) -> float:
    """Return how far off a claim stands: by the ratio, or where a number is no ratio, plainly."""
    there: float = claim.plotted  # type: ignore[assignment] # those without are left out
    return abs(log(here / there)) if here > 0 and there > 0 else abs(here - there)
