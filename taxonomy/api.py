"""Publications, strategies and claims in the API."""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from typing import Any

from django import forms
from django.db.models import Prefetch, QuerySet
from django.http import QueryDict
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.generics import RetrieveAPIView

from reviewapp.corpus.choices import COUNTED
from reviewapp.corpus.models import Publication
from reviewapp.rest.endpoint import Endpoint
from reviewapp.rest.listing import Listing
from reviewapp.rest.reading import Slugs, given
from reviewapp.rest.records import Page, Record
from reviewapp.ui.export import provenance
from taxonomy.choices import Objective, Status
from taxonomy.claims.outcomes import standing_of, with_outcomes
from taxonomy.explorer.hub import NEWEST
from taxonomy.models import CLAIM_FIELDS, Claim, Outcome, Strategy, TaxonomyClass
from taxonomy.publications.exports import BATCH, FIELDS, parts, with_evidence
from taxonomy.publications.facets import read_facets
from taxonomy.publications.filter import PublicationForm, read_filter
from taxonomy.queries import publications_under, revision


class PublicationClaimSerializer(Record[Claim]):
    """A number that a publication reports, with its conditions and where it says so."""

    class Meta:
        model = Claim
        fields = CLAIM_FIELDS
        read_only_fields = fields


class PublicationSerializer(Record[Publication]):
    """Everything known of a publication; null is what no source reports."""

    classes = serializers.SlugRelatedField[Any]("slug", many=True, read_only=True)
    strategies = serializers.SlugRelatedField[Any]("slug", many=True, read_only=True)
    claims = PublicationClaimSerializer(many=True, read_only=True)
    page = Page()

    class Meta:
        model = Publication
        fields = (*FIELDS, "in_review", "classes", "strategies", "claims", "page")
        read_only_fields = fields


class Publications(Listing[Publication]):
    """Publications: search, filter, sort.

    The keys are those of the page /publications/. A key that is given several times means any of
    its values; different keys must all be met. `year` is that of the first version that is known,
    `published_year` that of the version to cite. The CSV is the page's own export: it has the
    number of claims where JSON has the claims, and arXiv identifiers as "arXiv:2309.06180".
    """

    serializer_class = PublicationSerializer
    file_name = "publications"
    examples = {"GET": "?q=sparse&class=inference&from=2022&sort=newest"}

    def fields(self) -> dict[str, forms.Field]:
        """Return the keys of the address of the page."""
        return PublicationForm(QueryDict(), read_facets()).fields

    def get_queryset(self) -> QuerySet[Publication]:
        """Return what the page with the same address lists; raise InvalidForm as it does."""
        return with_evidence(read_filter(given(self.request.GET), read_facets()).publications())

    def lines(self, rows: Any) -> Iterator[str]:
        """Yield the file that the page exports."""
        return parts("csv", rows.iterator(chunk_size=BATCH), provenance(self.request))


class OnePublication(Endpoint, RetrieveAPIView[Publication]):
    """One publication."""

    serializer_class = PublicationSerializer
    queryset = with_evidence(Publication.objects.all())
    lookup_field = "key"
    examples = {"GET": "frantar2023sparsegpt/"}


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

    def parts(self, rows: QuerySet[Strategy]) -> dict[str, list[str]]:
        """Return what is said of the family and of the group."""
        names = list(TaxonomyPartSerializer().fields)
        return {"family": names, "group": names}


class OneStrategy(Endpoint, RetrieveAPIView[Strategy]):
    """One strategy."""

    serializer_class = StrategySerializer
    queryset = STRATEGIES
    lookup_field = "slug"
    examples = {"GET": "pruning/"}


class ClaimForm(forms.Form):
    """The keys that choose claims; a key that is given several times means any of its values."""

    publication = Slugs(
        required=False,
        help_text="Keys of publications",
        error_messages={"invalid_choice": "“%(value)s” cannot be the key of a publication."},
    )
    strategy = forms.ModelMultipleChoiceField(
        Strategy.objects.only("slug"),
        required=False,
        to_field_name="slug",
        help_text="Slugs of strategies; a claim is its publication's, whatever strategy caused it",
        error_messages={"invalid_choice": "There is no strategy “%(value)s”."},
    )
    objective = forms.MultipleChoiceField(
        required=False,
        choices=Objective.choices,
        help_text="What the claim is about",
        error_messages={"invalid_choice": "There is no objective “%(value)s”."},
    )
    outcome = forms.MultipleChoiceField(
        required=False,
        choices=Status.choices,
        help_text="What some run on this site found of the claim",
        error_messages={"invalid_choice": "There is no outcome “%(value)s”."},
    )
    counted = forms.ChoiceField(
        required=False,
        choices=[("yes", "yes")],
        help_text="Only those of publications that are counted in the review",
        error_messages={"invalid_choice": "“counted” can be “yes” or left out."},
    )


class OutcomeSerializer(Record[Outcome]):
    """What a run on this site found of a claim, by the rule written for it."""

    class Meta:
        model = Outcome
        fields = ("status", "reason", "hardware", "run")
        read_only_fields = fields


class ClaimSerializer(PublicationClaimSerializer):
    """A claim with the publication that makes it, and what came of it on this site."""

    publication = serializers.SlugRelatedField[Any]("key", read_only=True)
    title = serializers.CharField(source="publication.title", read_only=True)
    year = serializers.IntegerField(
        source="publication.year", read_only=True, help_text="Of the first version that is known"
    )
    published_year = serializers.IntegerField(
        source="publication.published_year",
        read_only=True,
        help_text="Of the version that is cited",
    )
    in_review = serializers.BooleanField(source="publication.in_review", read_only=True)
    classes = serializers.SlugRelatedField[Any](
        "slug", source="publication.classes", many=True, read_only=True
    )
    strategies = serializers.SlugRelatedField[Any](
        "slug", source="publication.strategies", many=True, read_only=True
    )
    outcome = serializers.SerializerMethodField()
    outcome_in_words = serializers.SerializerMethodField()
    page = Page(source="publication.get_absolute_url")

    class Meta:
        model = Claim
        fields = (
            "publication",
            "title",
            "year",
            "published_year",
            "in_review",
            "classes",
            "strategies",
            *CLAIM_FIELDS,
            "outcome",
            "outcome_in_words",
            "page",
        )
        read_only_fields = fields

    @extend_schema_field(OutcomeSerializer(allow_null=True))
    def get_outcome(self, claim: Claim) -> Any:
        """The outcome of the latest run that speaks to the claim, if any was judged by it."""
        outcome = standing_of(claim).outcome
        return OutcomeSerializer(outcome).data if outcome else None

    def get_outcome_in_words(self, claim: Claim) -> str:
        """The same with its reason, or why there is none."""
        return standing_of(claim).in_words


class Claims(Listing[Claim]):
    """Claims: numbers that publications report, newest publication first.

    Each has its own baseline, hardware and conditions, so numbers side by side are not a ranking.
    """

    serializer_class = ClaimSerializer
    form = ClaimForm
    file_name = "claims"
    examples = {"GET": "?strategy=pruning&objective=memory"}

    def parts(self, rows: QuerySet[Claim]) -> dict[str, list[str]]:
        """Return what an outcome says."""
        return {"outcome": list(OutcomeSerializer.Meta.fields)}

    def found(self, chosen: dict[str, Any]) -> QuerySet[Claim]:
        """Return the claims chosen, each with its publication."""
        claims = Claim.objects.select_related("publication").order_by(*NEWEST)
        claims = claims.only(
            "publication__key",
            "publication__title",
            "publication__year",
            "publication__published_year",
            "publication__membership",
            "study",
            *CLAIM_FIELDS,
        )
        if chosen["publication"]:
            claims = claims.filter(publication__key__in=chosen["publication"])
        if chosen["strategy"]:
            wanted = [strategy.pk for strategy in chosen["strategy"]]
            claims = claims.filter(publication__facets__strategies__overlap=wanted)
        if chosen["objective"]:
            claims = claims.filter(objective__in=chosen["objective"])
        if chosen["outcome"]:
            claims = claims.tried(chosen["outcome"])
        if chosen["counted"]:
            claims = claims.filter(publication__membership__in=COUNTED)
        return with_outcomes(claims).prefetch_related(
            Prefetch("publication__classes", TaxonomyClass.objects.only("slug")),
            Prefetch("publication__strategies", Strategy.objects.only("slug")),
        )
