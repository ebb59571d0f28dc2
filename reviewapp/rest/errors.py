"""One shape for every error of the API: {"error": {"code", "message", "fields"}}."""

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import JsonResponse
from django.utils.text import Truncator
from rest_framework.exceptions import ParseError, ValidationError
from rest_framework.renderers import JSONRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

from reviewapp.edge.unavailable import database_unavailable
from reviewapp.rest.exceptions import Unavailable, UnknownKeys
from reviewapp.rest.reading import MOST_NAMED, said_of_unknown
from reviewapp.ui.errors import LONGEST_MESSAGE, InvalidForm

ADDRESSES = "/api/"  # what an address begins with whose errors have this shape
NO_SUCH_KEY = "There is no such key."
NOT_UNDERSTOOD = "The request could not be understood."

SCHEMA = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "properties": {
                "code": {"type": "string", "description": "What kind of error, for programs"},
                "message": {"type": "string", "description": "What was wrong, for people"},
                "fields": {
                    "type": "object",
                    "additionalProperties": {"type": "array", "items": {"type": "string"}},
                    "description": "The messages by the key of the address or of the body",
                },
            },
        }
    },
}


def handle(exception: Exception, context: dict[str, Any]) -> Response | None:
    """Return the answer to an error of the request; None for an error of the site."""
    if isinstance(exception, InvalidForm):
        exception = ValidationError(exception.fields)
    elif isinstance(exception, BadRequest | SuspiciousOperation):
        exception = ParseError(NOT_UNDERSTOOD)
    elif database_unavailable(exception):
        exception = Unavailable()
    response = exception_handler(exception, context)
    if response is not None:
        response.data = {"error": _body(exception, response)}
        # Whatever was asked for, an error is JSON.
        context["request"].accepted_renderer = JSONRenderer()
        context["request"].accepted_media_type = JSONRenderer.media_type
    return response


def not_understood() -> JsonResponse:
    """Return the answer to a request that was refused before it came to a view."""
    error = {"code": ParseError.default_code, "message": NOT_UNDERSTOOD}
    return JsonResponse({"error": error}, status=ParseError.status_code)


def _body(exception: Exception, response: Response) -> dict[str, Any]:
    if isinstance(exception, UnknownKeys):
        fields = {_short(key): [NO_SUCH_KEY] for key in exception.unknown[:MOST_NAMED]}
        message = said_of_unknown(exception.unknown, exception.known)
        return {"code": exception.default_code, "message": message, "fields": fields}
    if not isinstance(exception, ValidationError):
        detail = response.data["detail"]
        return {"code": detail.code, "message": _short(detail)}
    by_field = dict(_flat(response.data))
    messages = [
        f"{name}: {message}" if name else message
        for name, several in by_field.items()
        for message in several
    ]
    body = {"code": exception.default_code, "message": _short(" ".join(messages))}
    by_field.pop("", None)
    return {**body, "fields": by_field} if by_field else body


def _flat(detail: Any, name: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the messages under the dotted name of their field, "" for those of no field."""
    if isinstance(detail, dict):
        for key, inner in detail.items():
            parts = [name] if key in ("non_field_errors", "__all__") else [name, _short(key)]
            yield from _flat(inner, ".".join(filter(None, parts)))
    else:
        yield name, [_short(message) for message in detail]


def _short(text: str) -> str:
    return Truncator(text).chars(LONGEST_MESSAGE)
