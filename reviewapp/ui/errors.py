"""Turn a form that does not validate into a 400 page that says why."""

from typing import Any

from django import forms
from django.core.exceptions import BadRequest
from django.utils.text import Truncator

LONGEST_MESSAGE = 300  # a wrong value that it repeats may be of any length


class InvalidForm(BadRequest):
    """A form that does not validate; `fields` has the messages by the name of the field."""

    def __init__(self, message: str, fields: dict[str, list[str]]) -> None:
        super().__init__(message)
        self.fields = fields


def cleaned_or_400(form: forms.Form) -> dict[str, Any]:
    """Return the form's cleaned data; raise InvalidForm with its messages when it is invalid."""
    if form.is_valid():
        return form.cleaned_data
    messages = [
        str(message) if field == "__all__" else f"“{field}”: {message}"
        for field, errors in form.errors.items()
        for message in errors
    ]
    fields = {
        field: [Truncator(str(message)).chars(LONGEST_MESSAGE) for message in errors]
        for field, errors in form.errors.items()
    }
    raise InvalidForm(Truncator(" ".join(messages)).chars(LONGEST_MESSAGE), fields)
