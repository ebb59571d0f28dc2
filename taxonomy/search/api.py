"""The search for everything in the API."""

from typing import Any

from django import forms
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.exceptions import UnknownKeys
from reviewapp.rest.reading import given, unknown_keys
from reviewapp.rest.records import Page
from reviewapp.ui.errors import cleaned_or_400
from taxonomy.search.forms import SearchForm
from taxonomy.search.found import GROUPS, find


class HitSerializer(serializers.Serializer[Any]):
    """One thing found, and why."""

    kind = serializers.CharField()
    key = serializers.CharField()
    title = serializers.CharField()
    text = serializers.CharField()
    because = serializers.CharField(
        help_text="The fields, the synonym or the identifier that match"
    )
    page = Page(source="url")


class GroupSerializer(serializers.Serializer[Any]):
    """What was found of one kind: how many, and the best."""

    group = serializers.ChoiceField(list(GROUPS), source="key")
    title = serializers.CharField()
    total = serializers.IntegerField(source="hits.total")
    best = HitSerializer(many=True)
    page = Page(source="url", help_text="Where all of them are")


class SuggestionSerializer(serializers.Serializer[Any]):
    """Something worth a look beside what was searched for."""

    name = serializers.CharField()
    page = Page(source="url")


class SearchSerializer(serializers.Serializer[Any]):
    """What was searched for and what was found."""

    q = serializers.CharField(source="search.text")
    did_you_mean = serializers.CharField(
        help_text="The same with misspelt words corrected, which is then what was searched for; "
        "where nothing is found, a term that is like it; else empty",
    )
    see_also = SuggestionSerializer(many=True, source="search.see_also")
    groups = GroupSerializer(many=True)


class Everything(Endpoint):
    """Everything that a text finds.

    In groups: strategies, publications, claims, authors, hardware and models, case studies; of
    each the best, best first. The publications are those of /publications/?q=.
    """

    examples = {"GET": "?q=continuous batching"}

    def fields(self) -> dict[str, forms.Field]:
        """Return the key of the address that the page of a search has too."""
        return {"q": SearchForm.base_fields["q"]}

    @extend_schema(responses=SearchSerializer)
    def get(self, request: Request) -> Response:
        if unknown := unknown_keys(request.query_params, self.fields()):
            raise UnknownKeys(unknown, [*self.fields()])
        asked = cleaned_or_400(SearchForm({"q": given(request.query_params).get("q", "")}))
        serializer = SearchSerializer(find(asked["q"]), context={"request": request})
        return Response(serializer.data)
