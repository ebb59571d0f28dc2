"""The review's PRISMA flow in the API."""

from typing import Any, get_args

from django import forms
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from reviewapp.corpus.prisma.checks import Result
from reviewapp.corpus.prisma.flow import VARIANTS, Origin, Stage, Unit
from reviewapp.corpus.prisma.forms import PrismaOptions
from reviewapp.corpus.prisma.queries import diagram_of_review
from reviewapp.rest.endpoint import Endpoint
from reviewapp.ui.errors import cleaned_or_400


class PartSerializer(serializers.Serializer[Any]):
    """A named number; null where only the name is reported."""

    label = serializers.CharField()  # type: ignore[assignment]
    n = serializers.IntegerField(allow_null=True)

    def to_representation(self, part: tuple[str, int | None]) -> dict[str, Any]:
        """Return the pair by name."""
        return dict(zip(self.fields, part, strict=True))


class FlowValueSerializer(serializers.Serializer[Any]):
    """A number of the flow; null when it is neither reported nor follows from what is."""

    key = serializers.CharField()
    box = serializers.CharField()
    stage = serializers.ChoiceField(get_args(Stage))
    unit = serializers.ChoiceField(get_args(Unit))
    label = serializers.CharField()  # type: ignore[assignment]
    n = serializers.IntegerField(allow_null=True)
    items = PartSerializer(many=True)
    origin = serializers.ChoiceField(get_args(Origin))
    grade = serializers.CharField(help_text="How well a source supports it; empty if none does")
    note = serializers.CharField(help_text="The equation of a derived number, or its source")


class FlowCheckSerializer(serializers.Serializer[Any]):
    """A relation between numbers of the flow, and whether it holds."""

    code = serializers.CharField()
    statement = serializers.CharField()
    result = serializers.ChoiceField(get_args(Result))
    detail = serializers.CharField()
    strength = serializers.CharField()
    missing = serializers.ListField(child=serializers.CharField())


class NoticeSerializer(serializers.Serializer[Any]):
    """What was assumed in reading a file; the line and row are null and empty for the whole."""

    line = serializers.IntegerField(allow_null=True)
    row = serializers.CharField()
    text = serializers.CharField()


class PrismaSerializer(serializers.Serializer[Any]):
    """The flow in one of the official templates."""

    template = serializers.ChoiceField(list(VARIANTS), source="variant.slug")
    title = serializers.CharField()
    rows = FlowValueSerializer(many=True)
    checks = FlowCheckSerializer(many=True)
    notices = NoticeSerializer(
        many=True, help_text="Of a flow that was read from a file; the review's own has none"
    )


class Prisma(Endpoint):
    """The PRISMA 2020 flow of the review.

    Every number has its origin: reported by a source (with a grade), derived from reported ones
    (with the equation), or not reported. The checks say which sums hold.
    """

    examples = {"GET": "?variant=new-v1"}

    def fields(self) -> dict[str, forms.Field]:
        """Return the key of the address that the page of the flow has too."""
        return {"variant": PrismaOptions.base_fields["variant"]}

    @extend_schema(responses=PrismaSerializer)
    def get(self, request: Request) -> Response:
        # The form's other keys are those of an image.
        variant = {"variant": request.query_params.get("variant", "")}
        options = cleaned_or_400(PrismaOptions(variant))
        return Response(PrismaSerializer(diagram_of_review(options)).data)
