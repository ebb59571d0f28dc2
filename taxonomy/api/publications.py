"""Publications in the API."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from django import forms
from django.db.models import QuerySet
from django.http import QueryDict
from rest_framework import serializers
from rest_framework.generics import RetrieveAPIView

from reviewapp.corpus.models import Publication
from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.listing import Listing
from reviewapp.rest.reading import given
from reviewapp.rest.records import Page, Record
from reviewapp.ui.export import provenance
from taxonomy.claims.records import ClaimFactsSerializer
from taxonomy.publications.exports import FIELDS, in_batches, parts, with_claims
from taxonomy.publications.facets import read_facets
from taxonomy.publications.filter import PublicationForm, read_filter
from taxonomy.publications.kinds import Facet


class PublicationSerializer(Record[Publication]):
    """Everything known of a publication; null is what no source reports."""

    classes = serializers.SlugRelatedField[Any]("slug", many=True, read_only=True)
    strategies = serializers.SlugRelatedField[Any]("slug", many=True, read_only=True)
    claims = ClaimFactsSerializer(many=True, read_only=True)
    page = Page()

    class Meta:
        model = Publication
        fields = (*FIELDS, "in_review", "classes", "strategies", "claims", "page")
        read_only_fields = fields


class Publications(Listing[Publication]):
    """Publications: search, filter, sort.

    The keys are those of the page /publications/. A key that is given several times means any of
    its values; different keys must all be met, and those that speak of claims by one and the same
    claim. `year` is that of the first version that is known,
    `published_year` that of the version to cite. The CSV is the page's own export: it has the
    number of claims where JSON has the claims, and arXiv identifiers as "arXiv:2309.06180".
    """

    serializer_class = PublicationSerializer
    file_name = "publications"
    examples = {"GET": "?q=sparse&class=inference&from=2022&sort=newest"}

    def fields(self) -> dict[str, forms.Field]:
        """Return the keys of the address of the page."""
        return PublicationForm(QueryDict(), self.facets).fields

    @cached_property
    def facets(self) -> list[Facet]:
        """Return the facets as they stand when the request comes."""
        return read_facets()

    def get_queryset(self) -> QuerySet[Publication]:
        """Return what the page with the same address lists; raise InvalidForm as it does."""
        return with_claims(read_filter(given(self.request.GET), self.facets).publications())

    def lines(self, rows: Any) -> Iterator[str]:
        """Yield the file that the page exports."""
        # It tells less of the claims than JSON does.
        found = in_batches(rows.prefetch_related(None), "csv")
        return parts("csv", found, provenance(self.request))


class OnePublication(Endpoint, RetrieveAPIView[Publication]):
    """One publication."""

    serializer_class = PublicationSerializer
    queryset = with_claims(Publication.objects.all())
    lookup_field = "key"
    examples = {"GET": "frantar2023sparsegpt/"}
