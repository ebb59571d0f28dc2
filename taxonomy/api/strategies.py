"""Strategies in the API."""

from functools import cached_property, lru_cache
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.generics import RetrieveAPIView

from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.listing import Listing
from reviewapp.rest.records import Page, Record
from taxonomy.models import Strategy
from taxonomy.queries import publications_under, revision


class TaxonomyPartSerializer(serializers.Serializer[Any]):
    """A part of the taxonomy that strategies are filed under."""

    slug = serializers.SlugField()
    name = serializers.CharField()
    definition = serializers.CharField()
    grade = serializers.CharField()


class StrategySerializer(Record[Strategy]):
    """A strategy: its idea, what it trades, when it does not fit."""

    family = TaxonomyPartSerializer(source="group.family", read_only=True)
    group = TaxonomyPartSerializer(read_only=True)
    classes = serializers.SlugRelatedField[Any]("slug", many=True, read_only=True)
    publications = serializers.SerializerMethodField()
    page = Page()

    class Meta:
        model = Strategy
        fields = (
            "slug",
            "name",
            "family",
            "group",
            "classes",
            "idea",
            "trade",
            "not_when",
            "note",
            "grade",
            "publications",
            "page",
        )
        read_only_fields = fields

    def get_publications(self, strategy: Strategy) -> int:
        """How many of the review's publications are filed under it; extensions do not count."""
        return self._counts.get((None, frozenset([strategy.pk])), 0)

    @cached_property
    def _counts(self) -> dict[tuple[int | None, frozenset[int]], int]:
        return _counts(revision())


@lru_cache(maxsize=1)
def _counts(state: str) -> dict[tuple[int | None, frozenset[int]], int]:
    """Return the counts of all strategies, remembered while `revision()` says `state`."""
    return publications_under("family", [])


STRATEGIES = Strategy.objects.select_related("group__family").prefetch_related("classes")


class Strategies(Listing[Strategy]):
    """Strategies in the order of the taxonomy."""

    serializer_class = StrategySerializer
    file_name = "strategies"

    def found(self, chosen: dict[str, Any]) -> QuerySet[Strategy]:
        """Return all strategies."""
        return STRATEGIES.all()


class OneStrategy(Endpoint, RetrieveAPIView[Strategy]):
    """One strategy."""

    serializer_class = StrategySerializer
    queryset = STRATEGIES
    lookup_field = "slug"
    examples = {"GET": "pruning/"}
