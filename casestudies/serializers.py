"""How studies, runs and measurements are written in the API, and how a run is asked for."""

from typing import Any, get_args

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.plumbing import ResolvedComponent
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from casestudies.choices import Device
from casestudies.lab.catalogue import STUDIES
from casestudies.lab.contract import QUICK, Kind, Setting, Study, Variant, VariantRole
from casestudies.lab.metrics import Better, Evidence, Metric, Objective
from casestudies.lab.result import LARGEST_SEED
from casestudies.models import Measurement, Run
from casestudies.run_command import command_line
from casestudies.runs.starting import models_for
from casestudies.studies.results import answered_claims
from reviewapp.rest.records import Address, Page, Record
from taxonomy.api import PublicationClaimSerializer
from taxonomy.choices import Status

MEASURED = ("metric", "variant", "settings", "value", "unit", "n", "spread")


class RunMeasurementSerializer(serializers.ModelSerializer[Measurement]):
    """The median of `n` values of one metric; `spread` is their interquartile range.

    `settings` are the study's conditions under which it was measured, by name.
    """

    settings = serializers.DictField(read_only=True)

    class Meta:
        model = Measurement
        fields = MEASURED
        read_only_fields = fields


class MeasurementSerializer(RunMeasurementSerializer):
    """A measurement with its run: what was asked for, on what hardware, from which commit."""

    run_label = serializers.CharField(source="run.label", read_only=True)
    study = serializers.CharField(source="run.study", read_only=True)
    preset = serializers.CharField(source="run.preset", read_only=True)
    device = serializers.CharField(source="run.device", read_only=True)
    hardware = serializers.CharField(source="run.hardware", read_only=True)
    finished = serializers.DateTimeField(source="run.finished", read_only=True)
    seed = serializers.IntegerField(source="run.seed", read_only=True)
    parameters = serializers.DictField(source="run.parameters", read_only=True)
    commit = serializers.CharField(source="run.commit", read_only=True, allow_null=True)
    environment = serializers.DictField(source="run.environment", read_only=True)
    page = Page(source="run.get_absolute_url")

    class Meta:
        model = Measurement
        fields = (
            *MEASURED,
            "run",
            "run_label",
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
    label = serializers.CharField(read_only=True)  # type: ignore[assignment]
    parameters = serializers.DictField(read_only=True)
    owner = serializers.SlugRelatedField[Any](
        "username", read_only=True, allow_null=True, help_text="Who started it"
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
            "reference",
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
    environment = serializers.DictField(read_only=True)
    measurements = RunMeasurementSerializer(many=True, read_only=True)
    series = CurveSerializer(many=True, read_only=True)

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
    claim = PublicationClaimSerializer(allow_null=True)
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


class NewRunSerializer(serializers.Serializer[Any]):
    """A run that somebody asks for."""

    study = serializers.ChoiceField(list(STUDIES))
    preset = serializers.CharField(default=QUICK, max_length=50, trim_whitespace=False)
    parameters = serializers.DictField(
        default=dict, help_text="What differs from the preset, by the study's schema"
    )
    seed = WholeNumber(default=0, min_value=0, max_value=LARGEST_SEED)
    device = serializers.ChoiceField(Device.choices, default=Device.CPU)
    model = serializers.CharField(
        default="", allow_blank=True, max_length=100, help_text="Name of an offered model"
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Refuse keys that nothing reads: a misspelt one would be a run of something else."""
        unknown = set(self.initial_data) - set(self.fields)
        if unknown:
            raise serializers.ValidationError({key: ["There is no such key."] for key in unknown})
        return attrs


class NewRunDescription(OpenApiSerializerExtension):
    """Describes a new run by its study, which has presets and parameters of its own."""

    target_class = NewRunSerializer

    def map_serializer(self, auto_schema: Any, direction: Any) -> dict[str, Any]:
        """Return that it is a run of one of the studies; each is a component that has its name."""
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
            }
            properties = {**common["properties"], **own}
            description = f"A run of the study {study.name}; what is left out has its default."
            schema = {**common, "description": description, "properties": properties}
            closed = {**schema, "additionalProperties": False}
            runs[study.slug] = _component(auto_schema, f"New{name}Run", closed)
        mapping = {slug: run["$ref"] for slug, run in runs.items()}
        return {
            "description": common["description"],
            "required": ["study"],
            "oneOf": list(runs.values()),
            "discriminator": {"propertyName": "study", "mapping": mapping},
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
