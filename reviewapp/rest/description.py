"""The API's description in OpenAPI, made from its views, forms and serializers."""

from collections.abc import Iterable
from typing import Any

from django import forms
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter
from rest_framework.permissions import SAFE_METHODS

from reviewapp.rest import errors
from reviewapp.rest.pages import OF_EVERY_LIST
from reviewapp.rest.reading import Slugs

ERRORS = {
    "400": "A value that cannot be",
    "401": "A token that is missing or not valid",
    "403": "An account that may not do this",
    "404": "No such thing, or no such page",
    "406": "A format that there is not",
    "409": "A run that has ended already, or one that no machine here can carry out",
    "413": "A body that is too large",
    "415": "A body that is not JSON",
    "429": "Too many requests, or too many runs waiting",
    "503": "A database that cannot serve just now",
}


# What an error says in its header.
WAIT = {"schema": {"type": "integer"}, "description": "Seconds to wait, where they are known"}
HEADERS: dict[str, dict[str, Any]] = {
    "401": {"headers": {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}},
    "429": {"headers": {"Retry-After": WAIT}},
    "503": {"headers": {"Retry-After": WAIT}},
}

# What no text has: a database cannot hold it.
WITHOUT_NUL = r"^[^\x00]*$"
SLUG = "^[-a-zA-Z0-9_]+$"


class Description(AutoSchema):
    """Describes a view: its docstring begins with a summary, its form has the keys."""

    def get_summary(self) -> str:
        """Return the first line of the docstring."""
        return super().get_description().partition("\n")[0].rstrip(".")

    def get_description(self) -> str:  # type: ignore[override]
        """Return the rest of the docstring."""
        return super().get_description().partition("\n")[2].strip()

    def get_override_parameters(self) -> list[Any]:
        """Return the keys of the address that the view's form reads."""
        own = super().get_override_parameters()
        if self.method != "GET":
            return own
        view: Any = self.view
        return [*own, *(_parameter(*pair) for pair in view.fields().items())]

    def get_auth(self) -> list[dict[str, Any]]:
        """Return that who writes needs a token, and who reads none."""
        token = [way for way in super().get_auth() if way]
        return [*token, {}] if self.method in SAFE_METHODS else token

    def get_extensions(self) -> dict[str, Any]:
        """Return an example of the request, for the page that shows the API to people."""
        example = getattr(self.view, "examples", {}).get(self.method)
        return {"x-example": example} if example else {}


def _parameter(name: str, field: forms.Field) -> OpenApiParameter:
    description = str(field.help_text or field.label or "")
    return OpenApiParameter(name, _schema(field), description=description)


def _schema(field: forms.Field) -> dict[str, Any]:
    """Return the JSON schema of what a form's field accepts."""
    if isinstance(field, forms.ModelMultipleChoiceField):
        known: Any = field.queryset
        names = known.values_list(field.to_field_name, flat=True)
        return {"type": "array", "items": _one_of(names)}
    if isinstance(field, Slugs):
        return {"type": "array", "items": {"type": "string", "pattern": SLUG}}
    if isinstance(field, forms.MultipleChoiceField):
        return {"type": "array", "items": _one_of(_values(field))}
    if isinstance(field, forms.ChoiceField):
        return _one_of(_values(field))
    if isinstance(field, forms.IntegerField | forms.FloatField):
        kind = "integer" if not isinstance(field, forms.FloatField) else "number"
        bounds = {"minimum": field.min_value, "maximum": field.max_value}
        return {"type": kind, **{k: v for k, v in bounds.items() if v is not None}}
    pattern = SLUG if isinstance(field, forms.SlugField) else WITHOUT_NUL
    return {"type": "string", "pattern": pattern, "maxLength": getattr(field, "max_length", None)}


def _values(field: forms.ChoiceField) -> list[str]:
    choices: Any = field.choices
    return [value for value, _ in choices if value]


def _one_of(values: Iterable[str]) -> dict[str, Any]:
    # Before a review is loaded there are none, and a list of none is no schema.
    known = list(values)
    return {"type": "string", "enum": known} if known else {"type": "string"}


def complete(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """Return the description with the errors that every operation may answer, and CSV as text."""
    result["components"]["schemas"]["Error"] = errors.SCHEMA
    for path, operations in result["paths"].items():
        for method, operation in operations.items():
            _add_errors(operation, reads=method == "get", one="{" in path)
            _add_formats(operation)
    without_ids: dict[str, Any] = _without("x-spec-enum-id", result)
    return without_ids


def _add_errors(operation: dict[str, Any], *, reads: bool, one: bool) -> None:
    """Add the errors of an operation that reads or writes, on one thing or on all of its kind."""
    codes = {"400", "401", "406", "429", "503"} | operation["responses"].keys()
    codes |= {"404"} if reads or one else set()
    codes |= set() if reads else {"403"}
    codes |= {"413", "415"} if "requestBody" in operation else set()
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for code in codes & ERRORS.keys():
        error = {"description": ERRORS[code], "content": body}
        operation["responses"][code] = error | HEADERS.get(code, {})
    operation["responses"] = dict(sorted(operation["responses"].items()))


def _add_formats(operation: dict[str, Any]) -> None:
    parameters = operation.get("parameters", [])
    parameters.sort(key=lambda parameter: parameter["name"] in OF_EVERY_LIST)
    for parameter in parameters:
        if parameter["in"] == "query":
            parameter["allowEmptyValue"] = True
        if parameter["name"] == "format":
            parameter["description"] = "CSV has all rows; an Accept header chooses as well"
    for response in operation["responses"].values():
        if "text/csv" in response.get("content", {}):
            response["content"]["text/csv"] = {"schema": {"type": "string"}}


def _without(key: str, value: Any) -> Any:
    """Return the JSON value without the key, which only the library uses."""
    if isinstance(value, dict):
        return {name: _without(key, inner) for name, inner in value.items() if name != key}
    return [_without(key, inner) for inner in value] if isinstance(value, list) else value
