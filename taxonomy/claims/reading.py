"""Claims read with everything that a page says of them, in a constant number of queries."""

from typing import Any

from django.db.models import QuerySet

from taxonomy.claims.outcomes import with_outcomes
from taxonomy.models import Claim


def with_facts(claims: QuerySet[Claim]) -> QuerySet[Any]:
    """Return the claims with publication, axis, strategies, devices, models, remarks, outcomes."""
    return with_outcomes(
        claims.select_related("publication", "axis__quantity", "second_reading").prefetch_related(
            "attributions__strategy", "devices", "models", "remarks"
        )
    ).defer("search", "publication__search", "publication__claims_text")


def with_everything(claims: QuerySet[Claim]) -> QuerySet[Any]:
    """Return the claims with their facts, and what only a page of their own and a record say."""
    return with_all_but_publication(with_facts(claims))


def with_all_but_publication(claims: QuerySet[Claim]) -> QuerySet[Any]:
    """Return the claims with the same, to be read for publications that are at hand."""
    found = claims.select_related("axis__quantity", "second_reading", "other_end")
    found = found.defer("search", "other_end__search").prefetch_related(None)
    return with_outcomes(found).prefetch_related(
        "attributions__strategy",
        "devices",
        "models",
        "remarks",
        "second_reading__strategies",
        "former_rules",
    )
