"""Claims in the API, and the quantities that they are numbers of."""

from functools import cached_property
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from django.shortcuts import get_object_or_404
from rest_framework.generics import RetrieveAPIView

from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.listing import Listing
from reviewapp.rest.reading import given
from taxonomy.claim_pages.chosen import chosen_claims
from taxonomy.claim_pages.form import ClaimForm
from taxonomy.claims.files import with_records
from taxonomy.claims.records import ClaimSerializer, QuantitySerializer
from taxonomy.models import Claim, Quantity
from taxonomy.publications.facets import read_facets
from taxonomy.publications.kinds import Facet


class Claims(Listing[Claim]):
    """Claims: numbers that publications report, newest publication first.

    Each has its own baseline, hardware and conditions, so numbers side by side are not a ranking;
    only claims that agree in `axis` measure the same. A strategy finds the claims that are an
    effect of it, not all of the publications that are filed under it. In CSV, lists of objects
    are JSON.
    """

    serializer_class = ClaimSerializer
    file_name = "claims"
    examples = {"GET": "?strategy=pruning&scope=isolated&memory_at_most=24"}

    def fields(self) -> dict[str, forms.Field]:
        """Return the keys that choose claims."""
        return ClaimForm(QueryDict(), self.facets).fields

    @cached_property
    def facets(self) -> list[Facet]:
        """Return the facets of publications as they stand when the request comes."""
        return read_facets()

    def get_queryset(self) -> QuerySet[Claim]:
        """Return the claims that the address asks for; raise InvalidForm."""
        return with_records(chosen_claims(given(self.request.query_params), self.facets))


class OneClaim(Endpoint, RetrieveAPIView[Claim]):
    """One claim, by its code."""

    serializer_class = ClaimSerializer
    queryset = with_records(Claim.objects.all())
    lookup_field = "code"
    examples = {"GET": "frantar2023sparsegpt-0/"}

    def get_object(self) -> Claim:
        """Return the claim of the code; raise Http404 where there is none."""
        found: Claim = get_object_or_404(with_records(Claim.objects.by_code([self.kwargs["code"]])))
        return found


class Quantities(Listing[Quantity]):
    """Quantities: what claims measure, each with what makes two of its claims comparable."""

    serializer_class = QuantitySerializer
    file_name = "quantities"

    def found(self, chosen: dict[str, Any]) -> QuerySet[Quantity]:
        """Return all quantities, in the order of their groups."""
        return Quantity.objects.all()
