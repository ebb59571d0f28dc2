"""How studies, runs and measurements are written in the API, and how a run is asked for."""

import re
from typing import Any, ClassVar, get_args

from django.core.exceptions import ValidationError as InvalidTag
from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from casestudies.choices import Device
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import QUICK, Kind, Setting, Study, Variant, VariantRole
from casestudies.lab.metrics import Better, Evidence, Metric, Objective
from casestudies.lab.result import LARGEST_SEED
from casestudies.models import (
    LONGEST_NOTE,
    LONGEST_TAG,
    MOST_TAGS,
    Measurement,
    Run,
    Sweep,
)
from casestudies.run_command import command_line
from casestudies.runs.annotating import IN_NOTE, IN_TAG, normalised
from casestudies.runs.starting import models_for
from casestudies.runs.sweeping import FEWEST_VALUES, MOST_VALUES
from casestudies.studies.results import answered_claims
from reviewapp.rest.records import Address, Answer, Page, Record
from taxonomy.choices import Origin, Status
from taxonomy.claims.records import StatedClaimSerializer

MEASURED = ("metric", "variant", "settings", "value", "unit", "n", "spread")


class RunMeasurementSerializer(Answer[Measurement]):
    """The median of `n` values of one metric; `spread` is their interquartile range.

    `settings` are the study's conditions under which it was measured, by name.
    """

    settings = serializers.DictField()

    class Meta:
        model = Measurement
        fields = MEASURED
        read_only_fields = fields


class MeasurementSerializer(RunMeasurementSerializer):
    """A measurement with its run: what was asked for, on what hardware, from which commit."""

    run_label = serializers.CharField(source="run.label")
    run_origin = serializers.ChoiceField(
        Origin.choices, source="run.origin", help_text="Where its run was made"
    )
    study = serializers.CharField(source="run.study")
    preset = serializers.CharField(source="run.preset")
    device = serializers.CharField(source="run.device")
    hardware = serializers.CharField(source="run.hardware")
    finished = serializers.DateTimeField(source="run.finished")
    seed = serializers.IntegerField(source="run.seed")
    parameters = serializers.DictField(source="run.parameters")
    commit = serializers.CharField(source="run.commit", allow_null=True)
    environment = serializers.DictField(source="run.environment")
    page = Page(source="run.get_absolute_url")

    class Meta:
        model = Measurement
        fields = (
            *MEASURED,
            "run",
            "run_label",
            "run_origin",
            "study",
            "preset",
            "parameters",
            "seed",
            "device",
            "hardware",
            "commit",
            "finished",
            "environment",
            "page",
        )
        read_only_fields = fields


class RunSerializer(Record[Run]):
    """A run as it stands; null is what it has not got, or not yet."""

    url = Address("api-run", source="pk")
    label = serializers.CharField()  # type: ignore[assignment]
    parameters = serializers.DictField()
    owner = serializers.SlugRelatedField[Any](
        "username", read_only=True, allow_null=True, help_text="Who started it"
    )
    origin = serializers.ChoiceField(Origin.choices, help_text="Where it was made")
    contributor = serializers.CharField(
        source="contribution.contributor",
        default=None,
        allow_null=True,
        help_text="Who contributed it: it was not measured by this site",
    )
    accepted = serializers.BooleanField(
        source="contribution.is_accepted",
        default=None,
        allow_null=True,
        help_text="Of a contributed run: whether it was accepted, so that it may decide",
    )
    tags = serializers.ListField(child=serializers.CharField())
    sweep = serializers.IntegerField(
        source="sweep_id", allow_null=True, help_text="Number of its sweep"
    )
    page = Page()

    class Meta:
        model = Run
        fields: tuple[str, ...] = (
            "id",
            "label",
            "study",
            "preset",
            "parameters",
            "seed",
            "device",
            "model",
            "state",
            "origin",
            "reference",
            "contributor",
            "accepted",
            "owner",
            "created",
            "started",
            "finished",
            "cancel_asked",
            "done",
            "stage",
            "step",
            "hardware",
            "verdict",
            "error",
            "note",
            "tags",
            "sweep",
            "url",
            "page",
        )
        read_only_fields = fields


class SweepSerializer(Record[Sweep]):
    """Runs that were asked for together and differ in one parameter.

    `values` are those of the parameter, each of a run; null is what there is not.
    """

    values = serializers.ListField()
    runs = serializers.PrimaryKeyRelatedField[Any](many=True, read_only=True)
    owner = serializers.SlugRelatedField[Any](
        "username", read_only=True, allow_null=True, help_text="Who started it"
    )
    unfinished = serializers.IntegerField(help_text="How many of its runs have not ended")
    succeeded = serializers.IntegerField(help_text="How many of its runs have a result")
    url = Address("api-sweep", source="pk")
    page = Page()

    class Meta:
        model = Sweep
        fields: tuple[str, ...] = (
            "id",
            "study",
            "preset",
            "parameter",
            "values",
            "runs",
            "unfinished",
            "succeeded",
            "owner",
            "created",
            "note",
            "url",
            "page",
        )
        read_only_fields = fields


class CurveSerializer(serializers.Serializer[Any]):
    """The points (x, y) of one variant in a chart of the study."""

    name = serializers.CharField()
    variant = serializers.CharField()
    settings = serializers.DictField()
    points = serializers.ListField(child=serializers.ListField(child=serializers.FloatField()))


class RunDetailSerializer(RunSerializer):
    """A run with its result."""

    command = serializers.SerializerMethodField()
    environment = serializers.DictField()
    measurements = RunMeasurementSerializer(many=True)
    series = CurveSerializer(many=True)

    class Meta(RunSerializer.Meta):
        fields = (*RunSerializer.Meta.fields, "command", "environment", "measurements", "series")
        read_only_fields = fields

    def get_command(self, run: Run) -> str | None:
        """What to type to repeat the run; null when its study has changed since."""
        return command_line(run)


class MetricSerializer(serializers.Serializer[Metric]):
    """What a study measures, in which unit, and how."""

    name = serializers.CharField()
    unit = serializers.CharField()
    direction = serializers.ChoiceField(get_args(Better))
    objective = serializers.ChoiceField(get_args(Objective), allow_null=True)
    evidence = serializers.ChoiceField(get_args(Evidence))
    relative_to = serializers.CharField(help_text="What a ratio divides by; empty for others")
    how = serializers.CharField()


class PresetSerializer(serializers.Serializer[Any]):
    """Values of parameters, and about how many minutes they take on two CPU cores."""

    minutes = serializers.FloatField()
    values = serializers.DictField()


class VariantSerializer(serializers.Serializer[Variant]):
    """One of the things that a study holds against each other, and its role."""

    name = serializers.CharField()
    meaning = serializers.CharField()
    role = serializers.ChoiceField(get_args(VariantRole))


class SettingSerializer(serializers.Serializer[Setting]):
    """A condition under which variants are measured more than once."""

    name = serializers.CharField()
    meaning = serializers.CharField()
    unit = serializers.CharField()


class StudySerializer(serializers.Serializer[Study]):
    """What a study declares."""

    slug = serializers.CharField()
    name = serializers.CharField()
    title = serializers.CharField()
    kind = serializers.ChoiceField(
        get_args(Kind), help_text="Run, replay of events with measured costs, or formula"
    )
    summary = serializers.CharField()
    limits = serializers.CharField(help_text="What a machine like this cannot show")
    publications = serializers.ListField(
        child=serializers.CharField(), help_text="Keys, the main one first"
    )
    strategies = serializers.ListField(child=serializers.CharField(), help_text="Their slugs")
    presets = serializers.DictField(child=PresetSerializer())
    parameters = serializers.SerializerMethodField()
    metrics = MetricSerializer(many=True)
    variants = VariantSerializer(many=True)
    settings = SettingSerializer(many=True)
    url = Address("api-study", source="slug")

    def get_parameters(self, study: Study) -> dict[str, Any]:
        """The JSON schema of what may be set."""
        return study.parameters.model_json_schema()


class NumberSerializer(serializers.Serializer[Any]):
    """A number that an outcome rests on."""

    name = serializers.CharField()
    value = serializers.FloatField()
    unit = serializers.CharField()


class AnsweredClaimSerializer(serializers.Serializer[Any]):
    """A claim of a publication and its standing outcome; null is what there is not."""

    claim_id = serializers.CharField(source="answer.claim")
    claim = StatedClaimSerializer(allow_null=True)
    rule = serializers.CharField(source="claim.rule", default="")
    rule_written = serializers.DateField(source="claim.rule_written", default=None, allow_null=True)
    rule_blind = serializers.BooleanField(source="claim.rule_blind", default=None, allow_null=True)
    status = serializers.ChoiceField(Status.choices)
    reason = serializers.CharField(help_text="Why there is no more to say; may be empty")
    numbers = NumberSerializer(source="outcome.numbers", many=True, default=list)
    run = serializers.IntegerField(source="run.pk", default=None, allow_null=True)
    run_label = serializers.CharField(source="run.label", default=None, allow_null=True)


class StudyDetailSerializer(StudySerializer):
    """What a study declares, and how the claims that it answers stand beside its runs."""

    answers = serializers.SerializerMethodField()

    @extend_schema_field(AnsweredClaimSerializer(many=True))
    def get_answers(self, study: Study) -> Any:
        """Each claim that the study answers, with its standing outcome."""
        claims = answered_claims(study)
        return AnsweredClaimSerializer(claims, many=True, context=self.context).data


class WholeNumber(serializers.IntegerField):
    """An integer that is one in JSON, not digits in a text."""

    def to_internal_value(self, data: Any) -> int:
        """Return the number; raise ValidationError."""
        if not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class Text(serializers.Field):
    """A text that is one in JSON, not a number; trimmed, and maybe empty."""

    pattern: str
    longest: int
    default_error_messages: ClassVar[dict[str, Any]] = {
        "invalid": "Not a text.",
        "too_long": "A text of {n} characters, of at most {most}.",
        "hidden": "It has characters that are not allowed here, such as those that nobody sees.",
    }

    def to_internal_value(self, data: Any) -> str:
        """Return the text; raise ValidationError."""
        if not isinstance(data, str):
            self.fail("invalid")
        if len(data) > self.longest:
            self.fail("too_long", n=len(data), most=self.longest)
        text = data.strip()
        if not re.fullmatch(self.pattern, text):
            self.fail("hidden")
        return text

    def to_representation(self, value: str) -> str:
        """Return the text."""
        return value


@extend_schema_field({"type": "string", "pattern": IN_NOTE, "maxLength": LONGEST_NOTE})
class NoteText(Text):
    """A note as it is sent."""

    pattern, longest = IN_NOTE, LONGEST_NOTE


@extend_schema_field({"type": "string", "pattern": IN_TAG, "maxLength": LONGEST_TAG})
class TagText(Text):
    """A tag as it is sent; an empty one is as none."""

    pattern, longest = IN_TAG, LONGEST_TAG


class TagList(serializers.ListField):
    """Tags as they are sent; trimmed, in lower case and each once they are kept."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=TagText(), max_length=MOST_TAGS, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        """Return the tags as they are kept; raise ValidationError."""
        if isinstance(data, list) and len(data) > MOST_TAGS:
            raise serializers.ValidationError(
                f"These are {len(data)} tags, of at most {MOST_TAGS}."
            )
        try:
            return normalised(super().to_internal_value(data))
        except InvalidTag as error:
            raise serializers.ValidationError(error.messages) from None


class Closed(serializers.Serializer[Any]):
    """What is sent, which has no keys but its own."""

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse keys that nothing reads: a misspelt one would be a wish that nobody hears."""
        unknown = set(self.initial_data) - set(self.fields)
        if unknown:
            raise serializers.ValidationError({key: ["There is no such key."] for key in unknown})
        return attrs


class AnnotationSerializer(Closed):
    """What is to be changed; a key that is left out keeps what the run has."""

    note = NoteText(required=False)
    tags = TagList(required=False)


class AnnotationDescription(OpenApiSerializerExtension):
    """Describes that an annotation has no other keys."""

    target_class = AnnotationSerializer

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return the schema, closed."""
        schema = super().map_serializer(auto_schema, direction)
        return {**schema, "additionalProperties": False}


class NewRunSerializer(Closed):
    """A run that somebody asks for."""

    study = serializers.ChoiceField(list(STUDIES))
    preset = serializers.CharField(default=QUICK, max_length=50, trim_whitespace=False)
    parameters = serializers.DictField(
        default=dict, help_text="What differs from the preset, by the study's schema"
    )
    seed = WholeNumber(default=0, min_value=0, max_value=LARGEST_SEED)
    device = serializers.ChoiceField(Device.choices, default=Device.CPU)
    note = NoteText(default="", help_text="What it is for, as plain text")
    tags = TagList(default=list, help_text="By which runs can be found")
    model = serializers.CharField(
        default="", allow_blank=True, max_length=100, help_text="Name of an offered model"
    )


class NewSweepSerializer(NewRunSerializer):
    """A sweep that somebody asks for: a run for each value of one parameter."""

    vary = serializers.DictField(
        child=serializers.ListField(),
        help_text="The parameter that varies, and the list of its values",
    )
    note = NoteText(default="", help_text="What the sweep is for, as plain text")
    tags = TagList(default=list, help_text="Those of each of its runs")

    def validate_vary(self, vary: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Refuse more or fewer parameters than one."""
        if len(vary) != 1:
            raise serializers.ValidationError("One parameter varies: name it, with its values.")
        return vary


class NewRunDescription(OpenApiSerializerExtension):
    """Describes a new run by its study, which has presets and parameters of its own."""

    target_class = NewRunSerializer
    called = "Run"
    summary = "A run of the study {}; what is left out has its default."
    required: tuple[str, ...] = ("study",)

    def own(self, study: Study) -> dict[str, Any]:
        """Return what only this study's component has, beside preset and parameters."""
        return {}

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return that it is of one of the studies; each is a component that has its name."""
        common = super().map_serializer(auto_schema, direction)
        runs = {}
        for study in STUDIES.values():
            name = study.slug.replace("-", " ").title().replace(" ", "")
            parameters = _component(auto_schema, f"{name}Parameters", _parameters_of(study))
            own = {
                "study": {"type": "string", "enum": [study.slug]},
                "preset": {"type": "string", "enum": list(study.presets), "default": QUICK},
                "parameters": {"allOf": [parameters], "default": {}},
                "model": {**common["properties"]["model"], "enum": ["", *models_for(study)]},
                **self.own(study),
            }
            properties = {**common["properties"], **own}
            description = self.summary.format(study.name)
            schema = {**common, "description": description, "properties": properties}
            closed = {**schema, "additionalProperties": False}
            runs[study.slug] = _component(auto_schema, f"New{name}{self.called}", closed)
        mapping = {slug: run["$ref"] for slug, run in runs.items()}
        return {
            "description": common["description"],
            "required": list(self.required),
            "oneOf": list(runs.values()),
            "discriminator": {"propertyName": "study", "mapping": mapping},
        }


class NewSweepDescription(NewRunDescription):
    """Describes a new sweep by its study: for each parameter what its values may be."""

    target_class = NewSweepSerializer
    called = "Sweep"
    summary = "A sweep of the study {}: a run for each value of one parameter."
    required = ("study", "vary")

    def own(self, study: Study) -> dict[str, Any]:
        """Return that one of the parameters varies, with a list of values of its type."""
        lists = {
            name: {
                "type": "array",
                "items": schema,
                "minItems": FEWEST_VALUES,
                "maxItems": MOST_VALUES,
                "uniqueItems": True,
            }
            for name, schema in _parameters_of(study)["properties"].items()
        }
        return {
            "vary": {
                "type": "object",
                "description": "The parameter that varies, and the list of its values",
                "properties": lists,
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            }
        }


def _parameters_of(study: Study) -> dict[str, Any]:
    """Return the schema of what differs from a preset; the defaults are then the preset's."""
    hidden = ("default", "title")
    return {
        "type": "object",
        "description": f"What differs from the preset of {study.name}.",
        "properties": {
            name: {key: value for key, value in schema.items() if key not in hidden}
            for name, schema in study.schemas.items()
        },
        "additionalProperties": False,
    }


def _component(auto_schema: Any, name: str, schema: dict[str, Any]) -> dict[str, str]:
    """Give the schema an entry of its own and return the reference to it."""
    component = ResolvedComponent(name, ResolvedComponent.SCHEMA, schema, name)
    auto_schema.registry.register_on_missing(component)
    reference: dict[str, str] = component.ref
    return reference
