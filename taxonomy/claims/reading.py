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
