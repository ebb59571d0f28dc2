"""Claims as they leave this site, in the API and in files: every field, null where none is known.

Claims are read by `with_everything` first.
"""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from reviewapp.rest.records import Page, Record
from taxonomy.choices import Origin
from taxonomy.claims.certainty import Certainty, Degree, certainty_of
from taxonomy.claims.outcomes import standing_of
from taxonomy.models import (
    CLAIM_FIELDS,
    Axis,
    Claim,
    ClaimDevice,
    ClaimModel,
    FormerRule,
    Outcome,
    Quantity,
    Remark,
    SecondReading,
)

DEGREES = [(degree.value, degree.value) for degree in Degree]


class StatedClaimSerializer(Record[Claim]):
    """A number that a publication reports, with its conditions and where it says so."""

    class Meta:
        model = Claim
        fields = CLAIM_FIELDS
        read_only_fields = fields


class QuantitySerializer(Record[Quantity]):
    """What a number measures, and what else claims of it must share to stand on one axis."""

    match = serializers.ListField(child=serializers.CharField(), read_only=True)
    related = serializers.ListField(
        child=serializers.DictField(child=serializers.CharField()),
        read_only=True,
        help_text="What is close to it and yet another question, and how",
    )

    class Meta:
        model = Quantity
        fields = (
            "slug",
            "group",
            "name",
            "definition",
            "direction",
            "unit_family",
            "axis_kind",
            "axis_unit",
            "match",
            "comparable",
            "related",
        )
        read_only_fields = fields


class AxisSerializer(Record[Axis]):
    """What a claim shares with those whose numbers may stand beside its own; null does not matter.

    Only claims that agree in all of it measure the same, and each keeps its own baseline.
    """

    name = serializers.CharField(source="__str__", read_only=True)
    quantity = serializers.CharField(source="quantity.slug", read_only=True)

    class Meta:
        model = Axis
        fields = ("name", "quantity", "phase", "part", "job", "benchmark", "unit")
        read_only_fields = fields


class DeviceSerializer(Record[ClaimDevice]):
    """A device that a claim states, implies, or names for its baseline."""

    class Meta:
        model = ClaimDevice
        fields = ("role", "name", "is_product", "count", "memory_gb")
        read_only_fields = fields


class ModelSerializer(Record[ClaimModel]):
    """A model that a claim names, with its parameters or their bounds, in billions."""

    class Meta:
        model = ClaimModel
        fields = ("name", "parameters_billion", "at_least_billion", "at_most_billion")
        read_only_fields = fields


class RemarkSerializer(Record[Remark]):
    """A doubt, or a correction: what stood in the field before, and what stands there now."""

    class Meta:
        model = Remark
        fields = ("kind", "field", "before", "text", "source", "settled")
        read_only_fields = fields


class SecondReadingSerializer(Record[SecondReading]):
    """What a second reader said, who had not seen the first reading; null was not read again."""

    strategies = serializers.SlugRelatedField[Any]("slug", many=True, read_only=True)

    class Meta:
        model = SecondReading
        fields = ("scope", "strategies", "agrees", "doubt", "testable")
        read_only_fields = fields


class FormerRuleSerializer(Record[FormerRule]):
    """A rule that a later one replaced, and whether a result existed by then."""

    class Meta:
        model = FormerRule
        fields = ("text", "written", "blind", "replaced", "reason", "after_result")
        read_only_fields = fields


class CertaintySerializer(serializers.Serializer[Claim]):
    """How far each of four questions about a claim is answered."""

    source_read = serializers.ChoiceField(DEGREES)
    baseline_named = serializers.ChoiceField(DEGREES)
    device_named = serializers.ChoiceField(DEGREES)
    tried_here = serializers.ChoiceField(DEGREES)

    def to_representation(self, claim: Claim) -> dict[str, str]:
        """Return the degree by question."""
        found = _by_question(certainty_of(claim))
        return {name: answer.degree.value for name, answer in found.items()}


class CertaintyWhySerializer(serializers.Serializer[Claim]):
    """Why each of the four questions is answered so."""

    source_read = serializers.CharField()
    baseline_named = serializers.CharField()
    device_named = serializers.CharField()
    tried_here = serializers.CharField()

    def to_representation(self, claim: Claim) -> dict[str, str]:
        """Return the reason by question."""
        return {name: answer.why for name, answer in _by_question(certainty_of(claim)).items()}


def _by_question(certainty: Certainty) -> dict[str, Any]:
    return {answer.question.replace(" ", "_"): answer for answer in certainty.answers}


class OutcomeNumberSerializer(serializers.Serializer[Any]):
    """A number that a rule was applied to."""

    name = serializers.CharField()
    value = serializers.FloatField()
    unit = serializers.CharField()


class OutcomeSerializer(Record[Outcome]):
    """What a run on this site found of a claim, by the rule written for it."""

    numbers = OutcomeNumberSerializer(many=True, read_only=True)
    origin = serializers.ChoiceField(Origin.choices, help_text="Where its run was made")

    class Meta:
        model = Outcome
        fields = (
            "status",
            "reason",
            "hardware",
            "run",
            "study",
            "shipped",
            "origin",
            "rule_written",
            "numbers",
        )
        read_only_fields = fields


class FirstOutcomeSerializer(OutcomeSerializer):
    """The outcome that stands first for a claim; what a rule has judged comes before what it asks.

    Null where no run spoke to the claim.
    """

    def to_representation(self, instance: Any) -> Any:
        """Return the outcome of a claim."""
        outcome = standing_of(instance).outcome
        return super().to_representation(outcome) if outcome else None


class ClaimFactsSerializer(StatedClaimSerializer):
    """A claim with everything that this project's reading and runs add to it.

    `strategies` are those that the claim is an effect of, by its `scope`; an effect of
    `missing_strategies` too, under which its publication was not filed: they are counted nowhere.
    `confidence` is the reader's, in both. `hardware` and `devices` are in the claim's own words;
    `plotted` is the number that stands on its axis.
    """

    code = serializers.CharField(read_only=True)
    axis = AxisSerializer(read_only=True)
    other_end = serializers.SerializerMethodField(
        help_text="Code of the claim that is the other end of the same published range"
    )
    ratio_readings = serializers.ListField(child=serializers.FloatField(), read_only=True)
    strategies = serializers.SerializerMethodField()
    missing_strategies = serializers.SerializerMethodField()
    devices = DeviceSerializer(many=True, read_only=True)
    models = ModelSerializer(many=True, read_only=True)
    second_reading = SecondReadingSerializer(read_only=True, allow_null=True, default=None)
    remarks = RemarkSerializer(many=True, read_only=True)
    former_rules = FormerRuleSerializer(many=True, read_only=True)
    certainty = CertaintySerializer(source="*", read_only=True)
    certainty_why = CertaintyWhySerializer(source="*", read_only=True)
    outcome = FirstOutcomeSerializer(source="*", read_only=True, allow_null=True)
    outcome_in_words = serializers.SerializerMethodField()
    outcomes = serializers.SerializerMethodField()

    class Meta:
        model = Claim
        fields = (
            "code",
            *CLAIM_FIELDS,
            "axis",
            "plotted",
            "other_end",
            "other_plotted",
            "phase",
            "part",
            "pattern",
            "percentile",
            "job",
            "task",
            "benchmark",
            "baseline_kind",
            "ratio",
            "ratio_rule",
            "ratio_how",
            "ratio_readings",
            "derivable_ratio",
            "scope",
            "strategies",
            "missing_strategies",
            "why",
            "confidence",
            "second_reading",
            "note",
            "devices",
            "hardware_alternatives",
            "hardware_fewest",
            "hardware_most",
            "hardware_note",
            "models",
            "remarks",
            "testable",
            "study",
            "measure",
            "rule",
            "rule_written",
            "rule_blind",
            "former_rules",
            "certainty",
            "certainty_why",
            "outcome",
            "outcome_in_words",
            "outcomes",
        )
        read_only_fields = fields

    @extend_schema_field(serializers.CharField(allow_null=True))
    def get_other_end(self, claim: Claim) -> str | None:
        return f"{claim.publication.key}-{claim.other_end.position}" if claim.other_end else None

    def get_strategies(self, claim: Claim) -> list[str]:
        """Slugs of the strategies that the claim is an effect of, the first read first."""
        return [one.strategy.slug for one in claim.attributions.all() if one.counted]

    def get_missing_strategies(self, claim: Claim) -> list[str]:
        """Slugs of what it is an effect of too, counted nowhere."""
        return [one.strategy.slug for one in claim.attributions.all() if not one.counted]

    def get_outcome_in_words(self, claim: Claim) -> str:
        """What came of it here with its reason, or why there is none; each where runs conflict."""
        return standing_of(claim).in_words

    @extend_schema_field(OutcomeSerializer(many=True))
    def get_outcomes(self, claim: Claim) -> Any:
        """What stands for it on each class of hardware."""
        return OutcomeSerializer(standing_of(claim).outcomes, many=True).data


class ClaimSerializer(ClaimFactsSerializer):
    """A claim with everything known of it, and the publication that makes it."""

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
    membership = serializers.CharField(source="publication.membership", read_only=True)
    in_review = serializers.BooleanField(source="publication.in_review", read_only=True)
    classes = serializers.SlugRelatedField[Any](
        "slug",
        source="publication.classes",
        many=True,
        read_only=True,
        help_text="Of the publication",
    )
    page = Page()

    class Meta:
        model = Claim
        fields = (
            "code",
            "publication",
            "title",
            "year",
            "published_year",
            "membership",
            "in_review",
            "classes",
            *ClaimFactsSerializer.Meta.fields[1:],
            "page",
        )
        read_only_fields = fields
