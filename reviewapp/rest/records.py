"""How records are written in the API: null for what no source reports, and where to read on."""

from typing import Any, TypeVar

from django.db.models import Field, Model
from django.urls import reverse
from rest_framework import serializers

M = TypeVar("M", bound=Model)


class Answer(serializers.ModelSerializer[M]):
    """A row of the database as it stands in answers: nobody sends one."""

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        """Return the fields, all of them only to be read."""
        fields = super().get_fields()
        for field in fields.values():
            field.read_only, field.required = True, False
        return fields


class Record(Answer[M]):
    """A row of the database; a text that may be empty there is null here when it is."""

    def build_standard_field(
        self, field_name: str, model_field: "Field[Any, Any]"
    ) -> tuple[type[serializers.Field], dict[str, Any]]:
        """Return the field and its options, allowing null where the text may be empty."""
        kind, options = super().build_standard_field(field_name, model_field)
        may_be_empty = model_field.blank and model_field.empty_strings_allowed
        return kind, {**options, "allow_null": True} if may_be_empty else options

    def to_representation(self, instance: M) -> dict[str, Any]:
        """Return the record."""
        record = super().to_representation(instance)
        return {name: None if value == "" else value for name, value in record.items()}


class Page(serializers.URLField):
    """The address of the page that shows the same to people."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"source": "get_absolute_url", "read_only": True, **options})

    def to_representation(self, value: str) -> str:
        """Return the whole address."""
        address: str = self.context["request"].build_absolute_uri(value)
        return address


class Address(Page):
    """The address of the thing in the API; the source is what `view` takes."""

    def __init__(self, view: str, *, source: str) -> None:
        super().__init__(source=source)
        self.view = view

    def to_representation(self, value: Any) -> str:
        """Return the whole address."""
        return super().to_representation(reverse(self.view, args=[value]))
